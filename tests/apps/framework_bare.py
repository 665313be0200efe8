"""The application of the framework tests, as bare ASGI. The other `framework_*` modules are the same in their frameworks.

GET /hello?name=, POST /echo (the body back), POST /count (its size, read in pieces), GET /stream (three lines), GET /missing
(404), GET /fail (500), HEAD /hello, and a WebSocket /ws that echoes and closes with 4000 when told "bye".
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        if scope["path"] != "/ws":
            return await send({"type": "websocket.close"})
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            if message.get("text") == "bye":
                return await send({"type": "websocket.close", "code": 4000})
            await send({"type": "websocket.send", "text": message["text"]})
        return None
    if scope["type"] != "http":
        raise RuntimeError(scope["type"])
    path, status, body = scope["path"], 200, b""
    if path == "/hello":
        name = parse_qs(scope["query_string"].decode()).get("name", ["world"])[0]
        body = f"hello {name}".encode()
    elif path in ("/echo", "/count"):
        size, more = 0, True
        while more:
            message = await receive()
            body, size, more = body + message["body"], size + len(message["body"]), message["more_body"]
        body = body if path == "/echo" else str(size).encode()
    elif path == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"line %d\n" % number, "more_body": True})
        return await send({"type": "http.response.body"})
    elif path == "/fail":
        raise RuntimeError("on purpose")
    else:
        status, body = 404, b"not here"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    return await send({"type": "http.response.body", "body": body})
