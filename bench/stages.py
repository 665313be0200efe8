"""The stages of a request in overdrive, by the functions and source files that do them; for `callgrind.by_stage`.

The first rule that matches counts. Inlined code keeps its own source file in the symbols, so that scope building is
told from hyper even where the compiler made one function of both. Generic code (the standard library, PyO3, the maps of
the `http` crate, the interpreter) is in no rule: its cost goes to the stage that calls it.
"""

from __future__ import annotations

from callgrind import Return, Rule

LOOP = "event loop"
REACTOR = "reactor"
SOCKETS = "socket reads and writes"
PARSE = "hyper: parse the head"
ENCODE = "hyper: encode the answer"
HYPER = "hyper: connection state"
HTTP = "connection, limits, body"
SCOPE = "scope"
TASK = "task"
APPLICATION = "application"
MESSAGES = "send and receive"
GUARDS = "guards and routes"
INPUT = "arguments"
PLAN = "plan"
ANSWER = "answer"
ACCESS = "access log"

MEANING = {
    LOOP: "uvloop or asyncio: waits for the descriptor, calls the engine",
    REACTOR: "harvests readiness, keeps the run queue, polls connections",
    SOCKETS: "buffers and system calls (without the kernel's own work)",
    PARSE: "request line and headers, by httparse, into `http` types",
    HYPER: "keep-alive, dispatch, what the connection waits for",
    HTTP: "what overdrive checks and counts around hyper",
    SCOPE: "the ASGI scope, made and freed",
    TASK: "context, `asyncio.Task` and its coroutine: made, stepped, ended, freed",
    APPLICATION: "your code, in the interpreter",
    GUARDS: "whether the plans still hold, and which one the path belongs to",
    INPUT: "parameters, bodies and dependencies, with pydantic's validators",
    PLAN: "the plan's own steps, made, driven and freed",
    ANSWER: "from what the endpoint returned to headers and bytes, with pydantic's serializer",
    MESSAGES: "`send()` and `receive()`: reads the dicts, checks their order, makes the answer",
    ACCESS: "the access line, where it is on",
    ENCODE: "status line and headers, into the write buffer",
}

RULES = (
    Rule(ACCESS, file=r"/python/src/asgi/access\.rs$"),
    Rule(
        APPLICATION, function=r"RequestCoroutine::__pymethod_(__next__|send|throw)", file=r"/python/src/host/ffi\.rs$"
    ),
    # Coroutines of the user's are stepped there; what the plan calls directly belongs to the stage that calls it.
    Rule(APPLICATION, function=r"steps::Baton::", file=r"/python/src/host/ffi\.rs$"),
    Rule(APPLICATION, function=r"^_overdrive::host::ffi::send$"),
    Rule(GUARDS, file=r"/python/src/plan/(table|router)\.rs$"),
    Rule(INPUT, file=r"/python/src/plan/(arguments|input|body|query|value|request)\.rs$"),
    Rule(ANSWER, file=r"/python/src/plan/(respond|reply|json|wire)\.rs$"),
    Rule(PLAN, file=r"/python/src/(plan/|host/steps\.rs)"),
    Rule(PLAN, function=r"drop_in_place<_overdrive::(plan::|host::steps)"),
    Rule(SCOPE, function=r"drop_in_place<_overdrive::asgi::http::HttpRequestCall>"),
    Rule(SCOPE, file=r"/python/src/asgi/scope\.rs$"),
    # The call into the bridge is inlined into hyper's dispatcher, and so is PyO3 there.
    Rule(SCOPE, function=r"^<hyper::.*recv_msg", file=r"/pyo3(-ffi)?-[^/]*/src/"),
    Rule(TASK, function=r"asgi::app::Bridge::spawn|HttpRequestCall as .*::Request>::call"),
    Rule(TASK, function=r"drop_in_place<_overdrive::host::coroutine::RequestCoroutine>"),
    # Steps the task that waits for a message.
    Rule(TASK, function=r"asgi::websocket::Session as .*Deferred"),
    Rule(
        MESSAGES,
        function=r"^<?_overdrive::(asgi::(http|message|websocket|open_websocket|settings)|host::(awaitable|call_site))::",
    ),
    Rule(
        MESSAGES,
        file=r"/python/src/(asgi/(http|message|websocket|open_websocket|settings)|host/(awaitable|call_site))\.rs$",
    ),
    Rule(SCOPE, file=r"/python/src/asgi/app\.rs$"),
    Rule(REACTOR, function=r"^<?_overdrive::engine::"),
    Rule(REACTOR, file=r"/python/src/(engine\.rs$|host/loop_bound\.rs$)"),
    Rule(TASK, file=r"/python/src/host/"),
    Rule(SOCKETS, file=r"/reactor/src/(stream|io)\.rs$|/crates/http/src/transport\.rs$"),
    Rule(REACTOR, file=r"/crates/reactor/src/"),
    Rule(PARSE, file=r"/httparse-[^/]*/src/"),
    Rule(ENCODE, function=r"^<?hyper::.*(write_head|encode|poll_write|poll_flush)"),
    Rule(PARSE, file=r"/hyper-[^/]*/src/proto/h1/role\.rs$"),
    Rule(HYPER, file=r"/hyper-[^/]*/src/"),
    Rule(HTTP, file=r"/crates/http/src/"),
)

RETURNS = (
    Return(r"_overdrive::(plan|host::steps)::", TASK),
    Return(r"_overdrive::engine::", LOOP),
    Return(r"_overdrive::host::coroutine::RequestCoroutine", TASK),
    Return(r"_overdrive::(asgi::(http|websocket)::\w*Channel|host::(awaitable|stop_iteration)::)", APPLICATION),
    Return(r"_overdrive::(asgi::open_websocket|host::call_site)::", APPLICATION),
    Return(r"overdrive_http::websocket::connection::WebSocket::send", MESSAGES),
)
