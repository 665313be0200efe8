//! Compiled FastAPI: what happens to a request that matches a route whose handling is known beforehand.
//!
//! `overdrive.compiler` reads an application's routes and describes each that it fully understands ([`spec`]). Here a
//! description becomes a [`table::Plan`], a request finds it ([`router`]) and goes through it ([`call`]). Whatever is unusual
//! takes FastAPI's own way, through ASGI, as long as nothing of the user's has run for it; after that the plan itself does
//! what FastAPI would do.

mod arguments;
pub(crate) mod asgi;
mod body;
pub(crate) mod call;
mod deliver;
mod exits;
mod file;
mod form;
pub(crate) mod input;
mod invoke;
mod item;
mod json;
pub(crate) mod layers;
pub(crate) mod mount;
mod node;
mod observed;
mod observer;
mod overrides;
mod query;
pub(crate) mod redirect;
mod reply;
mod request;
mod respond;
mod router;
pub(crate) mod runtime;
pub(crate) mod socket;
mod spec;
mod stream;
pub(crate) mod table;
mod telemetry;
mod value;
pub(crate) mod wire;

pub(crate) use reply::Reply;
pub(crate) use request::{Converted, UNCONVERTIBLE, convert_path, route_path};
