"""See `framework_bare`: in Litestar."""

from collections.abc import AsyncIterator

from litestar import Litestar, MediaType, Request, Response, WebSocket, get, post, route, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.response import Stream


@route("/hello", http_method=["GET", "HEAD"], media_type=MediaType.TEXT)
async def hello(request: Request) -> Response[str]:
    body = f"hello {request.query_params.get('name', 'world')}"
    return Response(None if request.method == "HEAD" else body)  # type: ignore[arg-type]


@post("/echo", media_type=MediaType.TEXT, status_code=200)
async def echo(request: Request) -> bytes:
    return await request.body()


@post("/count", media_type=MediaType.TEXT, status_code=200)
async def count(request: Request) -> str:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return str(size)


@get("/stream")
async def stream() -> Stream:
    async def lines() -> AsyncIterator[str]:
        for number in range(3):
            yield f"line {number}\n"

    return Stream(lines(), media_type="text/plain")


@get("/fail")
async def fail() -> None:
    raise RuntimeError("on purpose")


@websocket("/ws")
async def ws(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while (text := await socket.receive_text()) != "bye":
            await socket.send_text(text)
    except WebSocketDisconnect:
        return
    await socket.close(4000)


app = Litestar([hello, echo, count, stream, fail, ws])
