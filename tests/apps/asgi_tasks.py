"""Applications that do to their tasks, loops and contexts what applications do; the path names the experiment."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import json
import os
import sys
import threading
import time
import weakref
from collections import defaultdict
from typing import Any

events: list[str] = []
gates: defaultdict[bytes, asyncio.Event] = defaultdict(asyncio.Event)
# Futures of which only the waiting request has a reference.
lonely: weakref.WeakSet[asyncio.Future[bytes]] = weakref.WeakSet()
waiting: set[asyncio.Task[Any]] = set()
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        if os.environ.get("EAGER_TASKS"):
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        if os.environ.get("FAILING_FACTORY"):
            asyncio.get_running_loop().set_task_factory(failing_factory)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await globals()["path_" + scope["path"].strip("/").replace("-", "_")](scope, receive, send)


def failing_factory(loop: Any, coroutine: Any, **options: Any) -> Any:
    """Fails for requests alone, so that the server itself can go on."""
    if getattr(getattr(coroutine, "cr_code", None), "co_filename", __file__) != __file__:
        return asyncio.Task(coroutine, loop=loop, **options)
    coroutine.close()
    raise ValueError("no tasks today")


async def answer(send: Any, value: Any = "ok") -> None:
    body = (value if isinstance(value, str) else json.dumps(value)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def path_events(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, events)


async def path_go(scope: Any, receive: Any, send: Any) -> None:
    variable.set("set by the one who opens")
    gates[scope["query_string"]].set()
    await answer(send)


async def path_wait(scope: Any, receive: Any, send: Any) -> None:
    events.append("waiting")
    task = asyncio.current_task()
    assert task is not None
    waiting.add(task)
    try:
        await gates[scope["query_string"]].wait()
    finally:
        waiting.discard(task)
    await answer(send, variable.get())


async def path_stack(scope: Any, receive: Any, send: Any) -> None:
    """What a debugger sees of a request that waits."""
    (task,) = waiting
    coroutine: Any = task.get_coro()
    printed = io.StringIO()
    task.print_stack(file=printed)
    await answer(
        send,
        {
            "stack": printed.getvalue(),
            "code": coroutine.cr_code.co_name,
            "frame": coroutine.cr_frame.f_code.co_name,
            "awaits": coroutine.cr_await is not None,
            "running": coroutine.cr_running,
            "is_coroutine": asyncio.iscoroutine(coroutine),
            "repr": repr(task),
        },
    )


async def path_lonely(scope: Any, receive: Any, send: Any) -> None:
    """Waits for a future that nobody else has a strong reference to."""
    future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    lonely.add(future)
    events.append("lonely")
    await answer(send, (await future).decode())


async def path_collect(scope: Any, receive: Any, send: Any) -> None:
    """Collects, and then lets the lonely go on, if they are still there."""
    gc.collect()
    found = list(lonely)
    for future in found:
        future.set_result(b"found")
    await answer(send, str(len(found)))


async def path_cancel_self(scope: Any, receive: Any, send: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    await answer(send)


async def path_cancelled(scope: Any, receive: Any, send: Any) -> None:
    raise asyncio.CancelledError


async def path_group(scope: Any, receive: Any, send: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fail("in a group"))
    await answer(send)


async def fail(message: str) -> None:
    raise ValueError(message)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for this")

    __repr__ = __str__


async def path_unprintable(scope: Any, receive: Any, send: Any) -> None:
    raise Unprintable


async def path_stop_iteration(scope: Any, receive: Any, send: Any) -> None:
    raise StopIteration(1)


async def path_by_hand(scope: Any, receive: Any, send: Any) -> None:
    """Drives what `receive()` gives by itself where nothing has to be waited for, and keeps what it ends with."""
    kept: list[StopIteration] = []
    body, more = b"", True
    while more:
        await asyncio.sleep(0.01 * (len(kept) % 2))  # now in the engine's run, and now in a callback of the loop's
        waiting = receive()
        try:
            if type(waiting).__name__ == "Ready":
                waiting.__next__()
            message = await waiting
        except StopIteration as end:
            kept.append(end)
            message = end.value
        body, more = body + message["body"], message["more_body"]
    held = b"".join(end.value["body"] for end in kept)
    await answer(send, str([len(kept) > 1, len(set(map(id, kept))) == len(kept), held == body]))


async def path_generator_exit(scope: Any, receive: Any, send: Any) -> None:
    raise GeneratorExit


async def path_deep(scope: Any, receive: Any, send: Any) -> None:
    await path_deep(scope, receive, send)


async def path_interrupt(scope: Any, receive: Any, send: Any) -> None:
    if scope["query_string"] == b"late":
        await asyncio.sleep(0)
    raise KeyboardInterrupt


async def path_thread(scope: Any, receive: Any, send: Any) -> None:
    """Is woken from a thread while the loop may have nothing else to do, and then sends."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    thread = threading.Thread(target=lambda: (time.sleep(0.001), loop.call_soon_threadsafe(event.set)))
    thread.start()
    await event.wait()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(3):
        await asyncio.to_thread(time.sleep, 0)
        await send({"type": "http.response.body", "body": b"part;", "more_body": True})
    await send({"type": "http.response.body"})
    thread.join()


async def path_foreign_receive(scope: Any, receive: Any, send: Any) -> None:
    """As a2wsgi does: the call is made in a thread, what it gives runs on the loop."""
    loop = asyncio.get_running_loop()

    def elsewhere() -> bytes:
        body = b""
        while True:
            message = asyncio.run_coroutine_threadsafe(receive(), loop).result(10)
            body += message["body"]
            if not message["more_body"]:
                break
        start = {"type": "http.response.start", "status": 200, "headers": []}
        asyncio.run_coroutine_threadsafe(send(start), loop).result(10)
        return body

    body = await asyncio.to_thread(elsewhere)
    await send({"type": "http.response.body", "body": body})


async def path_context(scope: Any, receive: Any, send: Any) -> None:
    before = variable.get()
    variable.set(scope["query_string"].decode())
    if before == "unset":
        await asyncio.sleep(0)
    await answer(send, before)


async def path_background(scope: Any, receive: Any, send: Any) -> None:
    """Goes on after it has answered."""
    await answer(send)
    await gates[scope["query_string"]].wait()
    events.append("background done")


async def path_impatient(scope: Any, receive: Any, send: Any) -> None:
    """Gives up each `send()` that takes long; what was accepted must still be whole."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    given_up = 0
    for number in range(200):
        part = b"%04d" % number * 16_384
        try:
            await asyncio.wait_for(send({"type": "http.response.body", "body": part, "more_body": True}), 0.001)
        except TimeoutError:
            given_up += 1
            if given_up == 5:
                break
    events.append(f"given up {given_up}")
    await send({"type": "http.response.body", "body": b"end"})


def sync_app(scope: Any, receive: Any, send: Any) -> Any:
    """Not a coroutine function; raises, or returns what cannot be awaited."""
    if scope["type"] == "lifespan":
        return app(scope, receive, send)
    match scope["path"]:
        case "/raise":
            raise ValueError("not even a coroutine")
        case "/stop-iteration":
            raise StopIteration
        case "/none":
            return None
        case "/number":
            return 1
        case _:
            return path_go({**scope, "query_string": b""}, receive, send)


class SyncCallable:
    """Hides from a server that `sync_app` is no ASGI 2 application."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await sync_app(scope, receive, send)


callable_app = SyncCallable()

if sys.version_info < (3, 12) and os.environ.get("EAGER_TASKS"):
    raise RuntimeError("eager tasks came with Python 3.12")
