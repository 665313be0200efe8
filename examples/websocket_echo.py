"""A WebSocket that sends back what it receives, text as text and bytes as bytes, until the client leaves.

    overdrive websocket_echo:app --app-dir examples
    python -m websockets ws://localhost:8000/echo

Then type lines; Ctrl+D ends.
"""

from fastapi import FastAPI, WebSocket

app = FastAPI(title="WebSocket echo")


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    """One client's conversation; each client has its own, all on one thread."""
    await socket.accept()
    while (message := await socket.receive())["type"] == "websocket.receive":
        if (text := message.get("text")) is not None:
            await socket.send_text(text)
        else:
            await socket.send_bytes(message["bytes"])
