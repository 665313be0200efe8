//! The listener's thread and what it answers.

use std::cell::RefCell;
use std::future::{Ready, ready};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::header::{X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use overdrive_http::{Address, Application, Report, RequestBody, ResponseBody, Server, Settings, Upgrade};
use overdrive_reactor::{Reactor, Receiver, Sender, channel};
use percent_encoding::percent_decode_str;

use super::gather::{Gatherer, PERIOD};
use super::hub::{Hub, json};
use super::metrics;
use super::model::News;
use super::steps;
use crate::watch::Shared;

/// What is to be shown to whom.
pub(super) struct Opening {
    pub(super) sockets: Vec<TcpListener>,
    /// Without it nothing is answered.
    pub(super) token: String,
    /// For the page's content security policy.
    pub(super) nonce: String,
    /// This process's own watch; `None` where workers have theirs.
    pub(super) watch: Option<Arc<Shared>>,
}

/// A message for the listener's thread.
pub(super) enum Message {
    /// A worker that will send its news, under a key of its own, with the number that people know it by.
    Joined(u64, u32),
    News(u64, Box<News>),
    Left(u64),
    Stop,
}

/// The thread, while it serves.
pub(super) struct Listening {
    pub(super) messages: Sender<Message>,
    thread: JoinHandle<()>,
}

impl Listening {
    pub(super) fn start(opening: Opening) -> std::io::Result<Listening> {
        let (messages, receiver) = channel();
        let thread = std::thread::Builder::new().name("overdrive-inspect".to_owned()).spawn(move || {
            if let Err(error) = serve(opening, receiver) {
                eprintln!("The inspect listener has ended: {error}");
            }
        })?;
        Ok(Listening { messages, thread })
    }

    /// Closes the listener, and waits until its thread has ended.
    pub(super) fn stop(self) {
        // A thread that has ended already has nothing left to hear.
        let _ = self.messages.send(Message::Stop);
        let _ = self.thread.join();
    }
}

fn serve(opening: Opening, mut messages: Receiver<Message>) -> std::io::Result<()> {
    let reactor = Reactor::new()?;
    let handle = reactor.handle();
    let hub = Rc::new(RefCell::new(Hub::default()));
    let page = page(&opening.nonce);
    let inspection = Rc::new(Inspection { hub: hub.clone(), token: opening.token, nonce: opening.nonce, page });
    let server = Server::new(inspection, handle.clone(), Settings { max_connections: 200, ..Settings::default() });
    for socket in &opening.sockets {
        server.listen(socket)?;
    }
    if let Some(watch) = opening.watch {
        let (hub, handle) = (hub.clone(), handle.clone());
        hub.borrow_mut().join(OWN, 1);
        let mut gatherer = Gatherer::new(watch);
        reactor.handle().spawn(async move {
            loop {
                let news = gatherer.news();
                hub.borrow_mut().tell(OWN, news);
                handle.sleep(PERIOD).await;
            }
        });
    }
    reactor.block_on(async move {
        while let Some(message) = messages.receive().await {
            match message {
                Message::Joined(key, number) => hub.borrow_mut().join(key, number),
                Message::News(key, news) => hub.borrow_mut().tell(key, *news),
                Message::Left(key) => hub.borrow_mut().leave(key),
                Message::Stop => return,
            }
        }
    });
    reactor.clear();
    Ok(())
}

/// The application that the listener serves.
struct Inspection {
    hub: Rc<RefCell<Hub>>,
    token: String,
    nonce: String,
    page: bytes::Bytes,
}

impl Application for Inspection {
    type Connection = ();
    type Answer = Ready<Response<ResponseBody>>;

    fn connected(&self, _peer: Address, _local: Address) {}

    fn request(&self, _: &(), request: Request<RequestBody>) -> Self::Answer {
        ready(self.answer(&request))
    }

    fn websocket(&self, _: &(), request: Request<()>, _: Upgrade) -> Self::Answer {
        ready(if self.admits(&request) { missing() } else { refusal() })
    }

    fn report(&self, _: Report<'_>) {
        // Whoever sends nonsense here hears of it; the operator's log is about the application.
    }
}

impl Inspection {
    fn answer<B>(&self, request: &Request<B>) -> Response<ResponseBody> {
        if !self.admits(request) {
            return refusal();
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "Only GET is answered here.\n");
            // RFC 9110, section 15.5.6
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let query = Query(request.uri().query().unwrap_or(""));
        let worker = query.number("worker");
        let hub = self.hub.borrow();
        let last = query.number("last").unwrap_or(usize::MAX);
        let steps = || hub.steps(worker, &query.text("only"), last);
        let ok = StatusCode::OK;
        match request.uri().path() {
            "/" => self.page(),
            "/events" => text(ok, JSON, hub.events(query.number("since").unwrap_or(0), last, worker)),
            "/stalls" => text(ok, JSON, hub.stalls(worker)),
            "/routes" => text(ok, JSON, hub.routes(worker)),
            "/numbers" => text(ok, JSON, hub.numbers(query.number("since").unwrap_or(0.0), worker)),
            "/report" => text(ok, PLAIN, hub.report(worker) + "\n"),
            "/steps" => text(ok, JSON, json(&steps())),
            "/steps.csv" => text(ok, CSV, steps::csv(&steps())),
            "/metrics" => text(ok, METRICS, metrics::text(hub.chosen(worker))),
            _ => missing(),
        }
    }

    fn page(&self) -> Response<ResponseBody> {
        let mut response = text(StatusCode::OK, HTML, self.page.clone());
        let policy = format!(
            "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'",
            self.nonce
        );
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).expect("a nonce is ASCII"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        response
    }

    /// Whether a request has the token, in its query or as a bearer's.
    fn admits<B>(&self, request: &Request<B>) -> bool {
        let in_query =
            Query(request.uri().query().unwrap_or("")).get("token").is_some_and(|given| self.is_token(given));
        let bearer = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let in_header = bearer
            .and_then(|value| value.split_once(' '))
            .is_some_and(|(scheme, given)| scheme.eq_ignore_ascii_case("bearer") && self.is_token(given.trim()));
        in_query | in_header
    }

    /// Takes as long whatever the first difference is, so that nobody finds the token letter by letter.
    fn is_token(&self, given: &str) -> bool {
        let (given, token) = (given.as_bytes(), self.token.as_bytes());
        let different = given.iter().zip(token).fold(0, |different, (one, other)| different | (one ^ other));
        std::hint::black_box(different) == 0 && given.len() == token.len()
    }
}

/// The query of an address.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> String {
        let encoded = self.get(name).unwrap_or("").replace('+', " ");
        percent_decode_str(&encoded).decode_utf8_lossy().into_owned()
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<bytes::Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn missing() -> Response<ResponseBody> {
    let known = "Not here. There are /, /events, /stalls, /routes, /numbers, /steps, /report and /metrics.\n";
    text(StatusCode::NOT_FOUND, PLAIN, known)
}

fn refusal() -> Response<ResponseBody> {
    let advice = "The token is missing or wrong. The address with the right one is in the server's log, in the line that \
                  begins with \"Inspect\"; programs may send it as \"Authorization: Bearer TOKEN\".\n";
    text(StatusCode::FORBIDDEN, PLAIN, advice)
}

/// The page, in one piece: it needs nothing from elsewhere.
fn page(nonce: &str) -> bytes::Bytes {
    let page = include_str!("page/index.html").replace("{{nonce}}", nonce);
    page.replace("{{style}}", include_str!("page/style.css")).replace("{{script}}", &SCRIPTS.concat()).into()
}

const SCRIPTS: [&str; 6] = [
    include_str!("page/data.js"),
    include_str!("page/timeline.js"),
    include_str!("page/detail.js"),
    include_str!("page/tables.js"),
    include_str!("page/charts.js"),
    include_str!("page/main.js"),
];
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// The key of this process's own watch.
const OWN: u64 = 0;
const CSV: &str = "text/csv; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    fn inspection() -> Inspection {
        Inspection { hub: Rc::default(), token: "secret".to_owned(), nonce: String::new(), page: bytes::Bytes::new() }
    }

    fn request(target: &str, authorization: &str) -> Request<()> {
        Request::get(target).header(AUTHORIZATION, authorization).body(()).expect("it is valid")
    }

    #[test]
    fn the_token_is_asked_for() {
        let inspection = inspection();
        for (target, authorization, expected) in [
            ("/events", "", StatusCode::FORBIDDEN),
            ("/nowhere", "", StatusCode::FORBIDDEN),
            ("/events?token=secre", "", StatusCode::FORBIDDEN),
            ("/events?token=secrets", "", StatusCode::FORBIDDEN),
            ("/events?token=", "Bearer ", StatusCode::FORBIDDEN),
            ("/events?token=secret", "", StatusCode::OK),
            ("/events?since=0&token=secret", "", StatusCode::OK),
            ("/events", "bearer secret", StatusCode::OK),
            ("/events", "Basic secret", StatusCode::FORBIDDEN),
            ("/nowhere", "Bearer secret", StatusCode::NOT_FOUND),
        ] {
            assert_eq!(
                inspection.answer(&request(target, authorization)).status(),
                expected,
                "{target} {authorization}"
            );
        }
    }
}
