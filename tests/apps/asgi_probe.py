"""A bare ASGI application that reports what it sees and what its calls come to; the path names the experiment."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import sys
from typing import Any

events: list[str] = []
listening = asyncio.Event()
request_var: contextvars.ContextVar[str] = contextvars.ContextVar("request_var", default="unset")
lifespan_var: contextvars.ContextVar[str] = contextvars.ContextVar("lifespan_var", default="unset")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        lifespan_var.set("set in lifespan")
        if os.environ.get("NEST_ASYNCIO"):
            import nest_asyncio

            # Before any nested run: the iteration of the loop that is under way is not patched yet.
            nest_asyncio.apply(asyncio.get_running_loop())
        await receive()
        scope["state"]["shared"] = []
        scope["state"]["plain"] = 1
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    name = scope["type"] + "_" + scope["path"].strip("/").replace("-", "_")
    await globals()[name](scope, receive, send)


async def answer(send: Any, value: Any) -> None:
    body = (value if isinstance(value, str) else json.dumps(value)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def attempt(send: Any, message: Any) -> str | None:
    """None when it worked, else the exception."""
    try:
        await send(message)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


async def http_events(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, events)


async def http_scope(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, repr({**scope, "state": sorted(scope["state"])}))


async def http_types(scope: Any, receive: Any, send: Any) -> None:
    kinds = {key: type(value).__name__ for key, value in scope.items()}
    pair = scope["headers"][0]
    kinds["header"] = [type(part).__name__ for part in (scope["headers"], pair, *pair)]  # type: ignore[assignment]
    await answer(send, kinds)


async def http_state(scope: Any, receive: Any, send: Any) -> None:
    """The state is copied, what it holds is shared."""
    scope["state"]["shared"].append(1)
    scope["state"]["plain"] += 1
    scope["state"]["new"] = True
    await answer(send, {"shared": len(scope["state"]["shared"]), "plain": scope["state"]["plain"]})


body_wanted: list[asyncio.Event] = []


async def http_head_first(scope: Any, receive: Any, send: Any) -> None:
    """Begins an answer, and goes on with it when it is told to."""
    body_wanted.append(asyncio.Event())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-first", b"yes")]})
    await body_wanted[-1].wait()
    await send({"type": "http.response.body", "body": b"at last"})


async def http_go_on(scope: Any, receive: Any, send: Any) -> None:
    for event in body_wanted:
        event.set()
    await answer(send, len(body_wanted))


async def http_context(scope: Any, receive: Any, send: Any) -> None:
    before = request_var.get()
    request_var.set(scope["query_string"].decode())
    await asyncio.sleep(0)
    await answer(send, {"before": before, "after": request_var.get(), "lifespan": lifespan_var.get()})


async def http_task(scope: Any, receive: Any, send: Any) -> None:
    task = asyncio.current_task()
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
    shown = repr(task)
    async with asyncio.TaskGroup() as group:
        inner = group.create_task(asyncio.sleep(0, "inner"))
    try:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(5)
        timed_out = False
    except TimeoutError:
        timed_out = True
    await answer(
        send,
        {
            "is_task": isinstance(task, asyncio.Task),
            "same": task is asyncio.current_task(),
            "held": task in asyncio.all_tasks(),
            "repr": shown,
            "inner": inner.result(),
            "timed_out": timed_out,
        },
    )


async def http_anyio(scope: Any, receive: Any, send: Any) -> None:
    import anyio
    from anyio import to_thread

    with anyio.move_on_after(0) as at_once:
        await anyio.sleep(5)
    with anyio.move_on_after(0.01) as later:
        await receive()
        await receive()
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 5)
        group.cancel_scope.cancel()
    threaded = await to_thread.run_sync(lambda: 42)
    await answer(send, {"at_once": at_once.cancelled_caught, "later": later.cancelled_caught, "threaded": threaded})


async def http_create_task(scope: Any, receive: Any, send: Any) -> None:
    """`receive` and `send` as the coroutines of tasks."""
    first = await asyncio.create_task(receive())
    try:
        await asyncio.wait_for(receive(), 0.01)
        waited = False
    except TimeoutError:
        waited = True
    waiting = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    waiting.cancel()
    body = json.dumps({"first": first["type"], "waited": waited}).encode()
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
    await asyncio.create_task(send(start))
    await asyncio.gather(send({"type": "http.response.body", "body": body}))


async def http_lost(scope: Any, receive: Any, send: Any) -> None:
    """Cancels a `receive()` again and again while the body comes in; every byte must arrive all the same."""
    size = 0
    more = True
    while more:
        try:
            message = await asyncio.wait_for(receive(), 0.0005)
        except TimeoutError:
            continue
        size += len(message["body"])
        more = message["more_body"]
    await answer(send, {"size": size})


async def http_after(scope: Any, receive: Any, send: Any) -> None:
    """What `receive` and `send` do once the response is complete."""
    await receive()
    await answer(send, "done")
    again = await receive()
    late = await attempt(send, {"type": "http.response.body", "body": b"late"})
    events.append(f"{again['type']} / {late}")


async def http_out_of_order(scope: Any, receive: Any, send: Any) -> None:
    start = {"type": "http.response.start", "status": 200, "headers": [(b"x-ok", b"1")]}
    outcomes = {
        "body first": await attempt(send, {"type": "http.response.body", "body": b""}),
        "no type": await attempt(send, {}),
        "no dict": await attempt(send, "http.response.start"),
        "type no str": await attempt(send, {"type": 1}),
        "unknown": await attempt(send, {"type": "http.response.other"}),
        "websocket": await attempt(send, {"type": "websocket.send", "text": "x"}),
        "no status": await attempt(send, {"type": "http.response.start"}),
        "status no int": await attempt(send, {**start, "status": "200"}),
        "status 99": await attempt(send, {**start, "status": 99}),
        "status 101": await attempt(send, {**start, "status": 101}),
        "header no bytes": await attempt(send, {**start, "headers": [("x", "y")]}),
        "header no pair": await attempt(send, {**start, "headers": [(b"x",)]}),
        "header with newline": await attempt(send, {**start, "headers": [(b"x", b"a\r\nset-cookie: b")]}),
        "header name with space": await attempt(send, {**start, "headers": [(b"a b", b"c")]}),
        "headers no list": await attempt(send, {**start, "headers": 1}),
        "content-length no number": await attempt(send, {**start, "headers": [(b"content-length", b"x")]}),
    }
    ok = await attempt(send, start)
    outcomes["second start"] = await attempt(send, start)
    outcomes["body no bytes"] = await attempt(send, {"type": "http.response.body", "body": "text"})
    events.append("out of order: " + str(ok))
    body = json.dumps(outcomes).encode()
    await send({"type": "http.response.body", "body": memoryview(body[:10]), "more_body": True})
    await send({"type": "http.response.body", "body": bytearray(body[10:])})
    outcomes["after the end"] = await attempt(send, {"type": "http.response.body"})
    events.append("after the end: " + str(outcomes["after the end"]))


async def http_lengths(scope: Any, receive: Any, send: Any) -> None:
    """Bodies that do not have their announced length."""
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
    await send(start)
    if scope["query_string"] == b"longer":
        first = await attempt(send, {"type": "http.response.body", "body": b"123", "more_body": True})
        second = await attempt(send, {"type": "http.response.body", "body": b"456"})
    else:
        first = await attempt(send, {"type": "http.response.body", "body": b"123", "more_body": True})
        second = await attempt(send, {"type": "http.response.body", "body": b""})
    events.append(f"{first} / {second}")


async def http_gone(scope: Any, receive: Any, send: Any) -> None:
    """Sends to a client that has left, at any stage: no error, as ASGI before 2.4 has it."""
    while (await receive())["type"] != "http.disconnect":
        pass
    again = (await receive())["type"]
    outcomes = [
        await attempt(send, {"type": "http.response.start", "status": 200, "headers": []}),
        await attempt(send, {"type": "http.response.body", "body": b"x" * 1000000, "more_body": True}),
        await attempt(send, {"type": "http.response.body", "body": b"x"}),
    ]
    events.append(f"gone: {again} {outcomes}")


async def http_concurrent(scope: Any, receive: Any, send: Any) -> None:
    """Two tasks receive, a third sends."""
    body, gone = await receive(), asyncio.ensure_future(receive())
    other = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    await answer(send, body["type"])
    events.append(f"concurrent: {(await gone)['type']} {(await other)['type']}")


async def http_factory(scope: Any, receive: Any, send: Any) -> None:
    """Sets a task factory; the requests after this one go through it."""
    loop = asyncio.get_running_loop()

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        events.append("factory")
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(None if loop.get_task_factory() else factory)
    await answer(send, "set")


async def http_nested(scope: Any, receive: Any, send: Any) -> None:
    """Runs the loop inside a handler, as nest_asyncio lets people do, until another request was answered meanwhile."""
    loop = asyncio.get_running_loop()

    async def until_other() -> None:
        while "nested other" not in events:  # noqa: ASYNC110 - the loop is to turn, not to sleep
            await asyncio.sleep(0.001)

    loop.run_until_complete(until_other())
    await answer(send, "nested")


async def http_nested_other(scope: Any, receive: Any, send: Any) -> None:
    events.append("nested other")
    await answer(send, "other")


async def http_exit(scope: Any, receive: Any, send: Any) -> None:
    if scope["query_string"] == b"late":
        await asyncio.sleep(0)
    sys.exit(7)


async def http_chain(scope: Any, receive: Any, send: Any) -> None:
    """Suspends a few times between receiving and sending."""
    await receive()
    for _ in range(10):
        await asyncio.sleep(0)
    await answer(send, "chained")


class Callable:
    """Not a coroutine function, and its result is an awaitable that is no coroutine."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        assert asyncio.current_task() is not None, "called inside the request's task"
        return Awaitable(app(scope, receive, send))


class Awaitable:
    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine

    def __await__(self) -> Any:
        return self.coroutine.__await__()


awaitable_app = Callable()


# WebSockets.


async def websocket_echo(scope: Any, receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
    events.append(f"disconnect {message['code']} {message['reason']!r}")


async def websocket_scope(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": repr({**scope, "state": sorted(scope["state"])})})
    await send({"type": "websocket.close"})


async def websocket_accept(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    headers = [(b"x-extra", b"1"), (b"set-cookie", b"a=b")]
    await send({"type": "websocket.accept", "subprotocol": "two", "headers": headers})
    await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
    events.append(f"after close {(await receive())['code']}")


async def websocket_reject(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 4000})


async def websocket_deny(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    headers = [(b"x-why", b"no ticket")]
    await send({"type": "websocket.http.response.start", "status": 402, "headers": headers})
    if scope["query_string"]:
        await send({"type": "websocket.http.response.body", "body": b"pay ", "more_body": True})
        await asyncio.sleep(0)
    else:
        await send({"type": "websocket.http.response.body", "body": b"pay ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"first"})
    events.append(f"denied {(await receive())['type']}")


async def websocket_return(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if scope["query_string"] == b"accepted":
        await send({"type": "websocket.accept"})


async def websocket_raise(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if scope["query_string"] == b"accepted":
        await send({"type": "websocket.accept"})
    raise ValueError("in the websocket")


async def websocket_out_of_order(scope: Any, receive: Any, send: Any) -> None:
    outcomes = {"send before accept": await attempt(send, {"type": "websocket.send", "text": "x"})}
    await receive()
    outcomes["http"] = await attempt(send, {"type": "http.response.start", "status": 200})
    outcomes["no subprotocol"] = await attempt(send, {"type": "websocket.accept", "subprotocol": "a b"})
    events.append("handshake alive")
    outcomes["accept"] = await attempt(send, {"type": "websocket.accept"})
    outcomes["accept twice"] = await attempt(send, {"type": "websocket.accept"})
    outcomes["nothing"] = await attempt(send, {"type": "websocket.send"})
    outcomes["both"] = await attempt(send, {"type": "websocket.send", "text": "x", "bytes": b"x"})
    outcomes["text no str"] = await attempt(send, {"type": "websocket.send", "text": b"x"})
    outcomes["bad code"] = await attempt(send, {"type": "websocket.close", "code": 1005})
    await send({"type": "websocket.send", "text": json.dumps(outcomes)})
    await send({"type": "websocket.close"})
    events.append("after close: " + str(await attempt(send, {"type": "websocket.send", "text": "x"})))


async def websocket_send_to_gone(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        pass
    outcome = await attempt(send, {"type": "websocket.send", "text": "x"})
    events.append(f"gone {message['code']}: {outcome}")


async def websocket_flood(scope: Any, receive: Any, send: Any) -> None:
    """Sends to a client that does not read; counts what was accepted."""
    await receive()
    await send({"type": "websocket.accept"})
    for number in range(2000):
        await send({"type": "websocket.send", "bytes": b"x" * 65536})
        events[:] = [f"flooded {number}"]
    await send({"type": "websocket.close"})


async def websocket_deaf(scope: Any, receive: Any, send: Any) -> None:
    """Accepts, and reads nothing until it is told to by another request."""
    await receive()
    await send({"type": "websocket.accept"})
    await listening.wait()
    count = 0
    while (message := await receive())["type"] != "websocket.disconnect":
        count += 1
        if message.get("text") == "last":
            await send({"type": "websocket.send", "text": str(count)})


async def http_listen(scope: Any, receive: Any, send: Any) -> None:
    listening.set()
    await answer(send, "ok")


async def websocket_cancelled(scope: Any, receive: Any, send: Any) -> None:
    """Gives up waiting for a message again and again; none may be lost by that."""
    await receive()
    await send({"type": "websocket.accept"})
    got = []
    while len(got) < 50:
        try:
            got.append((await asyncio.wait_for(receive(), 0.0005))["text"])
        except TimeoutError:
            continue
    await send({"type": "websocket.send", "text": json.dumps(got)})


async def websocket_never(scope: Any, receive: Any, send: Any) -> None:
    """Waits for the client to leave before it decides."""
    await receive()
    events.append(f"undecided {(await receive())['code']}")


async def websocket_pour(scope: Any, receive: Any, send: Any) -> None:
    """Sends for as long as anybody takes it."""
    await receive()
    await send({"type": "websocket.accept"})
    outcome = None
    while outcome is None:
        outcome = await attempt(send, {"type": "websocket.send", "bytes": b"x" * 65536})
    events.append(f"poured {outcome}")


async def websocket_late(scope: Any, receive: Any, send: Any) -> None:
    """Accepts when it is told to, and echoes one message."""
    await receive()
    await listening.wait()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": (await receive())["text"]})


async def websocket_told(scope: Any, receive: Any, send: Any) -> None:
    """Prints what ended it, for a server that cannot be asked any more."""
    await receive()
    await send({"type": "websocket.accept"})
    message = await receive()
    print(f"told {message['type']} {message['code']}", flush=True)


async def websocket_stubborn(scope: Any, receive: Any, send: Any) -> None:
    """Does not look whether anybody is there."""
    await receive()
    await send({"type": "websocket.accept"})
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("cancelled at last", flush=True)
        raise


async def websocket_answer(scope: Any, receive: Any, send: Any) -> None:
    """Answers each message, whoever is there, and lets pass what `send` raises."""
    await receive()
    await send({"type": "websocket.accept"})
    await listening.wait()
    events.append("answering")
    while True:
        await receive()
        await send({"type": "websocket.send", "text": "answer"})
