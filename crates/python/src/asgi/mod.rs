//! The ASGI bridge: scopes, messages, and what lies between a connection and the application's coroutine.

pub(crate) mod access;
pub(crate) mod app;
pub(crate) mod http;
pub(crate) mod message;
pub(crate) mod open_websocket;
pub(crate) mod route;
pub(crate) mod scope;
pub(crate) mod settings;
pub(crate) mod side_channel;
pub(crate) mod through;
pub(crate) mod websocket;
