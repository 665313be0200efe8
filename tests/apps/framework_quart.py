"""What tests/test_frameworks.py asks of every framework, on Quart."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator

from quart import Quart, Response, jsonify, request, send_file, websocket

app = Quart(__name__)


@app.before_serving
async def open_state() -> None:
    app.config["OPENED"] = "at startup"


@app.after_serving
async def say_goodbye() -> None:
    print("the application was shut down")


@app.get("/who")
async def who() -> Response:
    return jsonify(framework="quart")


@app.get("/greet/<name>")
async def greet(name: str) -> Response:
    return Response(f"Hello, {name}{request.args.get('mark', '.')}", mimetype="text/plain")


@app.post("/total")
async def total() -> Response:
    return jsonify(total=sum(await request.get_json()))


@app.route("/digest", methods=["POST", "PUT"])
async def digest() -> Response:
    request.max_content_length = None
    size, sha256 = 0, hashlib.sha256()
    async for chunk in request.body:
        size += len(chunk)
        sha256.update(chunk)
    return jsonify(size=size, sha256=sha256.hexdigest())


@app.get("/count")
async def count() -> Response:
    lines = int(request.args["lines"])

    async def written() -> AsyncIterator[str]:
        for number in range(lines):
            yield f"line {number}\n"

    return Response(written(), mimetype="text/plain")


@app.get("/endless")
async def endless() -> Response:
    async def written() -> AsyncIterator[str]:
        try:
            while True:
                yield "still here\n"
                await asyncio.sleep(0.02)
        finally:
            print("the endless stream ended")

    response = Response(written(), mimetype="text/plain")
    response.timeout = None  # Quart ends a response after a minute otherwise.
    return response


@app.get("/cookies")
async def cookies() -> Response:
    response = Response()
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return response


@app.delete("/nothing")
async def nothing() -> Response:
    return Response(status=204)


@app.get("/state")
async def state() -> Response:
    return jsonify(opened=app.config["OPENED"])


@app.get("/thread")
def on_thread() -> Response:
    return jsonify(main_thread=threading.current_thread() is threading.main_thread())


@app.get("/file")
async def file() -> Response:
    return await send_file(__file__)


@app.get("/fail")
async def fail() -> Response:
    raise RuntimeError("failed on purpose")


@app.get("/fail-late")
async def fail_late() -> Response:
    async def written() -> AsyncIterator[str]:
        yield "so far, so good\n"
        raise RuntimeError("failed late, on purpose")

    return Response(written(), mimetype="text/plain")


@app.websocket("/ws/echo")
async def echo() -> None:
    await websocket.accept(subprotocol="chat" if "chat" in websocket.requested_subprotocols else None)
    try:
        while (message := await websocket.receive()) != "close":
            await websocket.send(message)
        await websocket.close(4001, "as you wish")
    except asyncio.CancelledError:
        # How Quart tells of a client that has left; it keeps the close code to itself.
        print("the client closed")
        raise


@app.websocket("/ws/deny")
async def deny() -> tuple[str, int, dict[str, str]]:
    return "who are you?", 401, {"www-authenticate": "Bearer"}
