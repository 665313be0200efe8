"""Starlette's `BaseHTTPMiddleware`, and with it `@app.middleware("http")`, without anyio's streams and task groups.

What dispatch functions and applications see of it is what they see of Starlette's: the application runs in a task of
its own, in a copy of the context that `call_next` is called in, within a cancel scope. Its messages come through one at
a time, so a stream goes no faster than it is read. What it does after its answer waits until the answer is out. If the
dispatch function raises, or is cancelled, the application is cancelled and waited for.

What differs is what that costs: the task begins at once, what is known as a whole is handed over as a whole, and the
cancel scope is made when the application first waits: until then nobody could cancel it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

import anyio
from anyio._backends._asyncio import CancelScope, _task_states
from anyio.lowlevel import checkpoint_if_cancelled
from starlette.middleware.base import BaseHTTPMiddleware, _CachedRequest, _StreamingResponse
from starlette.requests import Request
from starlette.responses import Response

from overdrive._overdrive import HttpChannel, request_part
from overdrive.compiler import known
from overdrive.compiler.planned import Planned

App = Callable[[Any, Any, Any], Awaitable[None]]
Message = MutableMapping[str, Any]
Result = TypeVar("Result")

# As anyio names it, from where Starlette starts it.
TASK = "starlette.middleware.base.BaseHTTPMiddleware.__call__.<locals>.call_next.<locals>.coro"
EAGER = sys.version_info >= (3, 12)
# For mypy, which checks for Python 3.11.
_EagerTask: Any = asyncio.Task
_swap_current_task: Any = getattr(asyncio.tasks, "_swap_current_task", None)


CALL = "starlette.middleware.base:BaseHTTPMiddleware.__call__"
STOCK_CALL = BaseHTTPMiddleware.__call__
# Empty for most applications; then no task is in a scope.
_states: dict[Any, Any] = vars(_task_states)["data"]


class _OwnScope(CancelScope):
    """A cancel scope of ours, which an application runs in."""

    __slots__ = ()


def make_native(middleware: Any) -> None:
    """Gives an object of `BaseHTTPMiddleware`, or of a class that only dispatches, our way of being called."""
    kind = type(middleware)
    if (
        type(kind) is type
        and issubclass(kind, BaseHTTPMiddleware)
        and kind.__call__ is STOCK_CALL
        and not any("__init_subclass__" in vars(base) for base in kind.__mro__[:-1])
    ):
        # An object without room for attributes of its own, say, is left alone.
        with contextlib.suppress(TypeError):
            middleware.__class__ = _native(kind)


async def _call(self: Any, scope: Any, receive: Any, send: Any) -> None:
    stock: Any = type(self).__mro__[1].__call__
    if scope["type"] != "http" or stock is not STOCK_CALL or _is_confined():
        await stock(self, scope, receive, send)
        return
    request = _CachedRequest(scope, receive, send)
    passage = Passage(self.app, request, send)
    try:
        response = await self.dispatch_func(request, passage.call_next)
        if not await passage.send_whole(response, send):
            await response(scope, request.wrapped_receive, send)
        passage.answered()
        if passage.tasks:
            await passage.join()
    except (asyncio.CancelledError, GeneratorExit):
        await passage.abandon()
        raise
    except BaseException as error:
        await passage.abandon()
        # As it comes out of a task group, for those who look at what it came from.
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        try:
            raise BaseExceptionGroup("unhandled errors in a TaskGroup", [error]) from None
        except BaseExceptionGroup:
            raise error from cause
    finally:
        passage.close()
    if passage.error is not None and not passage.error_raised:
        raise passage.error


def _is_confined() -> bool:
    """Whether we run within a cancel scope that an application would have to be in, too, or on no loop of asyncio's."""
    if asyncio._get_running_loop() is None:
        return True
    if not _states:
        return False
    task = asyncio.current_task()
    state = _task_states.get(task) if task is not None else None
    return state is not None and state.cancel_scope is not None and type(state.cancel_scope) is not _OwnScope


_natives: dict[type, type] = {}


def _native(kind: type) -> type:
    """A class that differs from `kind` in how it is called alone."""
    if kind not in _natives:
        names = {"__slots__": (), "__call__": _call, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
        _natives[kind] = type(kind)(kind.__name__, (kind,), names)
    return _natives[kind]


def _is_direct(app: Any) -> bool:
    return type(app) is Planned or type(app).__call__ is _call


class Passage:
    """One request on its way through a middleware: `call_next`, and the messages of the application it calls."""

    __slots__ = (
        "_abandoned",
        "_app",
        "_begun",
        "_closed",
        "_ended",
        "_expected",
        "_has_whole",
        "_messages",
        "_outer_send",
        "_reader",
        "_request",
        "_scope",
        "_scopes",
        "_sent",
        "_stream",
        "_waiting_for_sent",
        "error",
        "error_raised",
        "tasks",
    )

    def __init__(self, app: App, request: _CachedRequest, send: Any) -> None:
        self._app = app
        self._request = request
        self._outer_send = send
        # What the application has sent and nobody has read, with whoever waits for its being read.
        self._messages: deque[tuple[Message, asyncio.Future[bool] | None]] = deque()
        self._reader: asyncio.Future[Message] | None = None
        self._begun = False
        # A message will be read as soon as the application's first step is over.
        self._expected = False
        self._has_whole = False
        self._ended = False
        self._closed = False
        self._abandoned = False
        self._sent = False
        self._waiting_for_sent: list[asyncio.Future[None]] = []
        self._stream: AsyncGenerator[Any, None] | None = None
        # Of the application that the first call runs; None while it has not waited.
        self._scope: CancelScope | None = None
        self._scopes: list[CancelScope] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.error: Exception | None = None
        self.error_raised = False

    async def call_next(self, request: Request) -> Response:
        """What the dispatch function calls: the application's response, as soon as it has begun."""
        if not self._start():
            await asyncio.sleep(0)
        info = None
        while True:
            try:
                message = await self._read()
            except anyio.EndOfStream:
                if (error := self.error) is not None:
                    self.error_raised = True
                    # Without what was raised here in its context.
                    raise error from error.__cause__ or error.__context__
                raise RuntimeError("No response returned.") from None
            if message["type"] == "http.response.debug":
                info = message["info"]
            elif message["type"] == "http.response.early_hint":
                await self._outer_send(message)
            else:
                break
        assert message["type"] == "http.response.start"
        self._stream = self._body()
        response = _StreamingResponse.__new__(_StreamingResponse)
        # As its `__init__`, but for the headers, which would be made to be replaced.
        response.info = info
        response.body_iterator = self._stream
        response.status_code = message["status"]
        response.media_type = None
        response.background = None
        # To Starlette 1.9 an answer must have them.
        wants_headers = "headers" not in message and known.behaves(CALL) == "wants-headers"
        response.raw_headers = message["headers"] if wants_headers else message.get("headers", [])
        return response

    async def send_whole(self, response: Any, send: Any) -> bool:
        """Sends the application's own response at once, to those who cannot tell. False if it has to send itself."""
        if (
            not self._has_whole
            or type(response) is not _StreamingResponse
            or response.body_iterator is not self._stream
            or len(self._messages) != 1
            or response.info is not None
            or response.background is not None
            or not any(name == b"content-length" for name, _ in response.raw_headers)
        ):
            return False
        start = {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        if type(send) is Sender:
            if self.tasks or not send.whole(start, self._messages[0][0]):
                return False
            self._messages.clear()
            return True
        if type(getattr(send, "__self__", None)) is not HttpChannel:
            return False
        body, _ = self._messages.popleft()
        await send(start)
        await send(body)
        return True

    def answered(self) -> None:
        """The answer is out, whoever gave it: the application may go on."""
        self._sent = True
        for waiting in self._waiting_for_sent:
            if not waiting.done():
                waiting.set_result(None)
        self._close_reading()

    async def join(self) -> None:
        """Waits for the application to end, which a cancellation then reaches."""
        cancelled = None
        while self.tasks:
            try:
                await asyncio.wait(self.tasks)
            except asyncio.CancelledError as error:
                cancelled = error
                for scope in self._scopes:
                    scope.cancel()
        if cancelled is not None:
            raise cancelled

    async def abandon(self) -> None:
        """Cancels the application, and waits for it."""
        if self.tasks:
            self._abandoned = True
            for scope in self._scopes:
                scope.cancel()
            await self.join()

    def close(self) -> None:
        """Nothing goes through any more."""
        # It refers to us, as we to it: together we would be garbage.
        self._stream = None
        self._ended = True
        self._close_reading()

    def _start(self) -> bool:
        """Runs the application; false if it was run before.

        A second call finds what the first has left behind; its application begins at the loop's next turn.
        """
        first, self._begun = not self._begun, True
        self._expected = first
        loop = asyncio.get_running_loop()
        if not first:
            task = loop.create_task(self._run_in_scope(), name=TASK)
        elif EAGER and loop.get_task_factory() is None:
            task = _begin(self._run(), TASK)
            if not task.done():
                self._scope = _scope_around(task, loop)
                self._scopes.append(self._scope)
        else:
            task = _begin(self._run_in_scope(), TASK)
        if task.done():
            if not task.cancelled():
                task.result()
            return first
        self.tasks.append(task)
        task.add_done_callback(self.tasks.remove)
        return first

    async def _run_in_scope(self) -> None:
        with _OwnScope() as scope:
            self._scopes.append(scope)
            if self._abandoned:
                scope.cancel()
            await self._run_app()

    async def _run(self) -> None:
        """The same, within `_scope` as soon as there is one."""
        try:
            await self._run_app()
        except BaseException as error:
            if self._scope is None or not self._scope.__exit__(type(error), error, error.__traceback__):
                raise
        else:
            if self._scope is not None:
                self._scope.__exit__(None, None, None)

    async def _run_app(self) -> None:
        try:
            scope = self._request.scope
            await request_part(self._app(scope, self._receive, Sender(self, _is_direct(self._app))), scope)
        except Exception as error:
            self.error = error
        finally:
            # Starlette's application waits for its answer to be out, and others may send until then.
            if not self._has_whole:
                self._end_sending()

    async def _receive(self) -> Message:
        if self._sent:
            return {"type": "http.disconnect"}
        # A task of its own: what it waits in may be cancelled by us, and by nobody else.
        task = _begin(self._request.wrapped_receive(), "overdrive.receive")
        if not task.done():
            either = asyncio.get_running_loop().create_future()
            self._waiting_for_sent.append(either)
            task.add_done_callback(lambda _: None if either.done() else either.set_result(None))
            try:
                await either
            finally:
                self._waiting_for_sent.remove(either)
                if not task.done():
                    task.cancel()
            if self._sent:
                # By then most have taken notice of their cancellation.
                await asyncio.sleep(0)
                if not task.done():
                    await asyncio.wait([task])
                return {"type": "http.disconnect"}
        # Starlette leaves a task group here: who asks within a cancelled scope does not get the message.
        await checkpoint_if_cancelled()
        return task.result()

    async def _until_sent(self) -> None:
        if not self._sent:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting_for_sent.append(waiting)
            try:
                await waiting
            finally:
                self._waiting_for_sent.remove(waiting)

    def whole(self, start: Message, body: Message) -> bool:
        """Takes an answer as a whole. False if it has to come message by message."""
        if self._ended or self._closed or self._messages:
            return False
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(start)
        elif self._expected:
            self._messages.append((start, None))
        else:
            return False
        self._expected = False
        self._has_whole = True
        self._messages.append((body, None))
        return True

    async def put(self, message: Message) -> None:
        """Hands a message over; returns when it is read."""
        # As anyio's streams do first: whoever reads is likely to be waiting then.
        await asyncio.sleep(0)
        if self._ended:
            raise anyio.ClosedResourceError
        if self._closed:
            raise anyio.BrokenResourceError
        if self._reader is not None and not self._reader.done():
            self._expected = False
            self._reader.set_result(message)
        elif self._expected:
            self._expected = False
            self._messages.append((message, None))
        else:
            read = asyncio.get_running_loop().create_future()
            entry = (message, read)
            self._messages.append(entry)
            try:
                was_read = await read
            except BaseException:
                if entry in self._messages:
                    self._messages.remove(entry)
                raise
            if not was_read:
                raise anyio.BrokenResourceError

    async def until_answered(self) -> None:
        """Waits until the answer is out."""
        await self._until_sent()

    async def _read(self) -> Message:
        if self._closed:
            raise anyio.ClosedResourceError
        if self._messages:
            message, read = self._messages.popleft()
            if read is not None and not read.done():
                read.set_result(True)
            return message
        if self._ended:
            raise anyio.EndOfStream
        self._reader = asyncio.get_running_loop().create_future()
        try:
            return await self._reader
        finally:
            self._reader = None

    async def _body(self) -> AsyncGenerator[Any, None]:
        while True:
            if not self._has_whole:
                # As anyio's streams do before they look, which lets the application wait for us, not us for it.
                await asyncio.sleep(0)
            try:
                message = await self._read()
            except anyio.EndOfStream:
                break
            if message["type"] == "http.response.pathsend":
                yield message
                break
            assert message["type"] == "http.response.body", f"Unexpected message: {message}"
            if body := message.get("body", b""):
                yield body
            if not message.get("more_body", False):
                break

    def _end_sending(self) -> None:
        self._ended = True
        if self._reader is not None and not self._reader.done():
            self._reader.set_exception(anyio.EndOfStream())

    def _close_reading(self) -> None:
        self._closed = True
        while self._messages:
            _, read = self._messages.popleft()
            if read is not None and not read.done():
                read.set_result(False)


class Sender:
    """`send` for the application.

    is_direct: it is plans that send, or one of us; no middleware in between has anything to do afterwards.
    """

    __slots__ = ("is_direct", "passage")

    def __init__(self, passage: Passage, is_direct: bool) -> None:
        self.passage = passage
        self.is_direct = is_direct

    async def __call__(self, message: Message) -> None:
        """Hands a message over; the last one is sent when the answer is out."""
        try:
            await self.passage.put(message)
        except anyio.BrokenResourceError:
            # The answer is out already.
            return
        kind = message["type"]
        if kind == "http.response.pathsend" or (kind == "http.response.body" and not message.get("more_body", False)):
            await self.passage.until_answered()

    def whole(self, start: Message, body: Message) -> bool:
        """Takes an answer as a whole, where nothing is left to be done after it. False if it has to be sent."""
        return self.is_direct and self.passage.whole(start, body)


def _scope_around(task: asyncio.Task[None], loop: asyncio.AbstractEventLoop) -> CancelScope:
    """A scope that a task, which has begun and waits, is in from now on, around those that it is in already."""
    state = _task_states.pop(task, None)
    scope = _OwnScope()
    running = _swap_current_task(loop, task)
    try:
        scope.__enter__()
    finally:
        _swap_current_task(loop, running)
    if state is None:
        return scope
    _task_states[task] = state
    outermost = state.cancel_scope
    if outermost is None:
        state.cancel_scope = scope
        return scope
    while outermost._parent_scope is not None:
        outermost = outermost._parent_scope
    # As if it had been entered within ours.
    outermost._parent_scope = scope
    scope._child_scopes.add(outermost)
    scope._tasks.discard(task)
    return scope


def _begin(run: Coroutine[Any, Any, Result], name: str) -> asyncio.Task[Result]:
    """A task in a copy of the context, which makes its first step here where that can be had."""
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    if EAGER and loop.get_task_factory() is None:
        task: asyncio.Task[Result] = _EagerTask(run, loop=loop, name=name, context=context, eager_start=True)
        return task
    return loop.create_task(run, name=name, context=context)
