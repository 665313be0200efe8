//! Who answers a request: what a path and a method find among the plans of an application.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use super::{Plan, Plans};
use crate::plan::mount::Mount;
use crate::plan::router::Found;

/// Who answers a request.
pub(crate) enum Destination<'t, 'p> {
    Plan(&'t Arc<Plan>, Vec<&'p str>),
    /// 404 as FastAPI's default has it.
    NotFound,
    /// 405, with the value of `Allow`.
    MethodNotAllowed(&'t str),
    /// A redirect to this path.
    Redirect(String),
    /// What is mounted there, with the parameters of the mount's path and what follows it.
    Mount(&'t Arc<Mount>, Vec<&'p str>),
    /// FastAPI's own code, and why.
    Stock(&'t str),
}

/// What a request's head says of its body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Nothing,
    Bytes(u64),
    Unknown,
}

impl Sent {
    /// `has_body`: as whoever frames the body says.
    pub(crate) fn new(headers: &HeaderMap, has_body: bool) -> Sent {
        if !has_body {
            return Sent::Nothing;
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        length.filter(|_| !headers.contains_key(TRANSFER_ENCODING)).map_or(Sent::Unknown, Sent::Bytes)
    }

    fn keeps_to(self, limit: Option<u64>) -> bool {
        match (self, limit) {
            (Sent::Nothing, _) | (_, None) => true,
            (Sent::Bytes(length), Some(limit)) => length <= limit,
            (Sent::Unknown, Some(_)) => false,
        }
    }
}

impl Plans {
    /// Whether a request's body keeps to the limit around all routes; else nothing there has its say undisturbed.
    pub(crate) fn admits(&self, sent: Sent) -> bool {
        sent.keeps_to(self.body_limit)
    }

    /// `path`: as scopes have it behind the root path.
    pub(crate) fn find<'p>(&self, method: &str, path: &'p str, sent: Sent) -> Destination<'_, 'p> {
        if !path.starts_with('/') || path.contains('\n') {
            return Destination::Stock("an unusual path");
        }
        if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            // Scopes have it in upper case.
            return Destination::Stock("an unusual method");
        }
        match self.router.find(method, path) {
            Found::Route(place, parameters) => match &self.plans[place] {
                Some(plan) if sent.keeps_to(plan.body_limit) => Destination::Plan(plan, parameters),
                Some(_) => Destination::Stock(TOO_LARGE),
                None => match &self.mounts[place] {
                    Some(mount) if sent.keeps_to(mount.body_limit) => Destination::Mount(mount, parameters),
                    Some(_) => Destination::Stock(TOO_LARGE),
                    None => Destination::Stock(self.reason(place)),
                },
            },
            Found::Method(place) => match &self.allow[place] {
                Some(allow) if self.default_not_allowed => Destination::MethodNotAllowed(allow),
                _ => Destination::Stock("405"),
            },
            Found::Nothing => self.otherwise(method, path, sent),
            Found::Unknown => Destination::Stock("a path that is not indexed"),
        }
    }

    /// Who serves a WebSocket; see [`Plans::find`].
    pub(crate) fn find_websocket<'p>(&self, path: &'p str) -> Destination<'_, 'p> {
        if !path.starts_with('/') || path.contains('\n') {
            return Destination::Stock("an unusual path");
        }
        match self.sockets.find("", path) {
            Found::Route(place, parameters) => match (&self.plans[place], &self.mounts[place]) {
                (Some(plan), _) => Destination::Plan(plan, parameters),
                (None, Some(mount)) => Destination::Mount(mount, parameters),
                (None, None) => Destination::Stock(self.reason(place)),
            },
            Found::Unknown => Destination::Stock("a path that is not indexed"),
            Found::Method(_) | Found::Nothing => Destination::Stock("no such WebSocket"),
        }
    }

    fn reason(&self, place: usize) -> &str {
        self.reasons[place].as_deref().unwrap_or("not compiled")
    }

    /// For a path that no route matches: a redirect to the path with a slash more or less, or 404.
    fn otherwise(&self, method: &str, path: &str, sent: Sent) -> Destination<'_, 'static> {
        if let Some(other) = other_path(path) {
            match self.router.find(method, &other) {
                Found::Nothing => {}
                Found::Route(..) | Found::Method(_) if self.redirects && sent == Sent::Nothing => {
                    return Destination::Redirect(other);
                }
                _ => return Destination::Stock("a redirect"),
            }
        }
        if self.default_not_found { Destination::NotFound } else { Destination::Stock("404") }
    }
}

/// The path with a slash more or less at its end, which a router redirects to if it knows that.
fn other_path(path: &str) -> Option<String> {
    match path {
        "/" => None,
        _ if path.ends_with('/') => Some(path.trim_end_matches('/').to_owned()),
        _ => Some(format!("{path}/")),
    }
}

/// Why a request is handed over whose head does not promise that its body keeps to a limit.
pub(crate) const TOO_LARGE: &str = "a body that may be larger than its limit";
