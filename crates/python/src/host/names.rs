//! Strings that the hot path looks up, made once.

use pyo3::prelude::*;
use pyo3::types::PyString;

macro_rules! names {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// Interned strings by their use.
        pub(crate) struct Names { $(pub(crate) $name: Py<PyString>),* }

        impl Names {
            pub(crate) fn new(py: Python<'_>) -> Names {
                Names { $($name: PyString::intern(py, $text).unbind()),* }
            }
        }
    };
}

names! {
    application_state = "application_state",
    asgi = "asgi",
    body = "body",
    bytes = "bytes",
    client = "client",
    client_state = "client_state",
    code = "code",
    context = "context",
    eager_start = "eager_start",
    extensions = "extensions",
    headers = "headers",
    http_version = "http_version",
    links = "links",
    loop_ = "loop",
    method = "method",
    more_body = "more_body",
    more_trailers = "more_trailers",
    own_receive = "_receive",
    own_send = "_send",
    path = "path",
    query_string = "query_string",
    raise_on_disconnect = "_raise_on_disconnect",
    raw_path = "raw_path",
    reason = "reason",
    receive = "receive",
    root_path = "root_path",
    scheme = "scheme",
    send = "send",
    server = "server",
    state = "state",
    status = "status",
    subprotocol = "subprotocol",
    subprotocols = "subprotocols",
    text = "text",
    trailers = "trailers",
    type_ = "type",
    http = "http",
    websocket = "websocket",
    ws = "ws",
    http_1_0 = "1.0",
    http_1_1 = "1.1",
    http_request = "http.request",
    http_disconnect = "http.disconnect",
    websocket_connect = "websocket.connect",
    websocket_receive = "websocket.receive",
    websocket_disconnect = "websocket.disconnect",
}
