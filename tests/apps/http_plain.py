"""A bare ASGI application for tests of HTTP: what it does is in the path."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import Any

# What the application has seen, for /seen.
seen: dict[str, Any] = {"disconnected": 0, "accepted": 0, "read": 0, "waiting": 0}
# What requests wait for until /go opens it; the query names it, so that tests that share a server do not meet.
gates: defaultdict[bytes, asyncio.Event] = defaultdict(asyncio.Event)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close"})
        return
    if scope["type"] != "http":
        raise RuntimeError("no lifespan is served here")
    handler = globals().get("path_" + scope["path"].strip("/").replace("-", "_"), path_)
    await handler(scope, receive, send)


async def answer(send: Any, body: bytes | str = b"ok", status: int = 200, headers: Any = ()) -> None:
    body = body.encode() if isinstance(body, str) else body
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            seen["disconnected"] += 1
            raise ConnectionError("the client left")
        body += message["body"]
        if not message["more_body"]:
            return body


async def path_(scope: Any, receive: Any, send: Any) -> None:
    await answer(send)


async def path_seen(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, json.dumps(seen))


async def path_go(scope: Any, receive: Any, send: Any) -> None:
    """Lets those go on who wait at the gate that the query names."""
    gates[scope["query_string"]].set()
    await answer(send)


async def path_echo(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, await read_body(receive))


async def path_two_readers(scope: Any, receive: Any, send: Any) -> None:
    """Two that wait for the body at the same time."""
    messages = await asyncio.gather(receive(), receive())
    await answer(send, repr([(message["body"], message["more_body"]) for message in messages]))


async def path_tolerant(scope: Any, receive: Any, send: Any) -> None:
    """As /echo, for clients of which a body that breaks off is expected."""
    try:
        body = await read_body(receive)
    except ConnectionError:
        await answer(send, "incomplete", 400)
    else:
        await answer(send, body)


async def path_slow(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0.1)
    await answer(send, "slow")


async def path_wait(scope: Any, receive: Any, send: Any) -> None:
    """Answers after /go."""
    seen["waiting"] += 1
    await gates[scope["query_string"]].wait()
    await answer(send, "waited")


async def path_chunks(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(3):
        await send({"type": "http.response.body", "body": b"chunk %d;" % number, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


async def path_stream(scope: Any, receive: Any, send: Any) -> None:
    """Sends its first part at once and the second after /go."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    await gates[scope["query_string"]].wait()
    await send({"type": "http.response.body", "body": b"second", "more_body": True})
    await send({"type": "http.response.body"})


async def path_late_body(scope: Any, receive: Any, send: Any) -> None:
    """Starts its response, and gives it a body after /go."""
    await send({"type": "http.response.start", "status": 201, "headers": []})
    seen["waiting"] += 1
    await gates[scope["query_string"]].wait()
    await send({"type": "http.response.body", "body": b"late"})


async def path_declared(scope: Any, receive: Any, send: Any) -> None:
    """Announces five bytes and sends none; the query is the status."""
    status = int(scope["query_string"] or 200)
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b""})


async def path_answer(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the headers of its query: `name=value` joined by `&`."""
    pairs = [pair.partition(b"=") for pair in scope["query_string"].split(b"&") if pair]
    await send({"type": "http.response.start", "status": 200, "headers": [(name, value) for name, _, value in pairs]})
    await send({"type": "http.response.body", "body": b"ok", "more_body": True})
    await send({"type": "http.response.body"})


async def path_large_headers(scope: Any, receive: Any, send: Any) -> None:
    """As many headers, and as long a value, as the query says: `count&length`."""
    count, length = map(int, scope["query_string"].split(b"&"))
    headers = [(b"x-%d" % number, b"y" * length) for number in range(count)]
    await answer(send, headers=headers)


async def path_refuse(scope: Any, receive: Any, send: Any) -> None:
    """Answers without having read the body."""
    await answer(send, "no", 403)


async def path_status(scope: Any, receive: Any, send: Any) -> None:
    status = int(scope["query_string"])
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"a body"})


async def path_until_disconnect(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    seen["disconnected"] += 1


async def path_endless(scope: Any, receive: Any, send: Any) -> None:
    """Sends until the client has left; counts what `send()` has accepted."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    seen["accepted"] = 0
    gone = asyncio.ensure_future(until_disconnect(receive))
    while not gone.done():
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        seen["accepted"] += 65536
        await asyncio.sleep(0)
    seen["disconnected"] += 1


async def until_disconnect(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def path_unread(scope: Any, receive: Any, send: Any) -> None:
    """Does not read its body until /go."""
    seen["waiting"] += 1
    await gates[scope["query_string"]].wait()
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            seen["disconnected"] += 1
            return
        size += len(message["body"])
        if not message["more_body"]:
            await answer(send, str(size))
            return


async def path_count(scope: Any, receive: Any, send: Any) -> None:
    """Counts the bytes of its body."""
    size = 0
    seen["read"] = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            seen["disconnected"] += 1
            return
        size += len(message["body"])
        seen["read"] = size
        if not message["more_body"]:
            await answer(send, str(size))
            return


async def path_hints(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]})
    await answer(send, "hinted")


async def path_trailers(scope: Any, receive: Any, send: Any) -> None:
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"trailer", b"x-sum, x-more")], "trailers": True}
    )
    await send({"type": "http.response.body", "body": b"body"})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [(b"x-more", b"2")]})


async def path_pathsend(scope: Any, receive: Any, send: Any) -> None:
    path = scope["query_string"].decode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        await send({"type": "http.response.pathsend", "path": path})
    except Exception as error:
        await send({"type": "http.response.body", "body": f"{type(error).__name__}: {error}".encode()})


async def path_pathsend_announced(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
    await send({"type": "http.response.pathsend", "path": scope["query_string"].decode()})


async def path_raise(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("before the answer")


async def path_raise_started(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ValueError("after the start, before a body")


async def path_raise_late(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ValueError("after the answer began")


async def path_nothing(scope: Any, receive: Any, send: Any) -> None:
    return None


async def path_half(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


async def path_try(scope: Any, receive: Any, send: Any) -> None:
    """Sends the messages of its body (JSON); what each attempt came to is among what is seen."""
    outcomes = []
    for message in json.loads(await read_body(receive)):
        if "body" in message:
            message["body"] = message["body"].encode()
        for key in ("headers", "links"):
            if key in message:
                message[key] = [_encoded(entry) for entry in message[key]]
        try:
            await send(message)
            outcomes.append(None)
        except Exception as error:
            outcomes.append(f"{type(error).__name__}: {error}")
    seen["outcomes"] = outcomes


def _encoded(entry: Any) -> Any:
    return entry.encode() if isinstance(entry, str) else tuple(part.encode() for part in entry)


async def path_scope(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, repr({key: value for key, value in scope.items() if key != "state"}))
