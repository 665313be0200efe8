//! What hyper calls for each request: checks the head, hands it to the application, notes when the answer is done.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use crate::application::{Application, Report};
use crate::body::{Aborted, RequestBody, ResponseBody};
use crate::server::Shared;
use crate::transport::Link;
use crate::validate::check_head;
use crate::websocket::{Handshake, Upgrade, WebSocket, is_upgrade};

/// A connection as its requests see it.
pub(crate) struct AppConnection<A: Application> {
    shared: Rc<Shared<A>>,
    link: Rc<Link>,
    pub(crate) connection: A::Connection,
    /// The WebSocket that the answer under way leads to.
    pub(crate) accepted: Rc<RefCell<Option<WebSocket>>>,
}

impl<A: Application> AppConnection<A> {
    pub(crate) fn new(shared: Rc<Shared<A>>, link: Rc<Link>, connection: A::Connection) -> AppConnection<A> {
        AppConnection { shared, link, connection, accepted: Rc::default() }
    }

    fn answer(&self, request: Request<Incoming>) -> Answer<A> {
        if let Err(reason) = check_head(&request) {
            self.shared.app.report(Report::InvalidRequest(reason));
            return Answer::Refusal(Box::new(refuse(StatusCode::BAD_REQUEST, reason, true)));
        }
        if is_upgrade(request.method(), request.headers()) {
            return match Handshake::from_request(request.method(), request.version(), request.headers()) {
                Ok(handshake) => self.websocket(request, handshake),
                Err(error) => {
                    let mut response = refuse(error.status(), error.reason(), false);
                    response.headers_mut().extend(error.headers());
                    Answer::Refusal(Box::new(response))
                }
            };
        }
        let expects_continue = request.headers().contains_key(EXPECT);
        let request = request.map(|incoming| RequestBody::new(incoming, self.link.clone(), expects_continue));
        Answer::Application(self.shared.app.request(&self.connection, request))
    }

    fn websocket(&self, request: Request<Incoming>, handshake: Handshake) -> Answer<A> {
        let upgrade =
            Upgrade::new(handshake, &self.shared.settings.websocket, self.link.clone(), self.accepted.clone());
        Answer::Application(self.shared.app.websocket(&self.connection, request.map(|_| ()), upgrade))
    }
}

/// hyper's service.
pub(crate) struct Service<A: Application>(Rc<AppConnection<A>>);

impl<A: Application> Service<A> {
    pub(crate) fn new(connection: Rc<AppConnection<A>>) -> Service<A> {
        Service(connection)
    }
}

impl<A: Application> hyper::service::Service<Request<Incoming>> for Service<A> {
    type Response = Response<TrackedBody>;
    type Error = Infallible;
    type Future = Serving<A>;

    fn call(&self, request: Request<Incoming>) -> Serving<A> {
        let link = &self.0.link;
        link.in_flight.set(true);
        link.received.set(false);
        link.answered.set(false);
        link.requests.set(link.requests.get() + 1);
        let in_flight = Some(InFlight(link.clone()));
        let connection = self.0.clone();
        match self.0.answer(request) {
            Answer::Application(answer) => Serving { connection, answer: Some(answer), refusal: None, in_flight },
            Answer::Refusal(response) => Serving { connection, answer: None, refusal: Some(response), in_flight },
        }
    }
}

enum Answer<A: Application> {
    Application(A::Answer),
    Refusal(Box<Response<ResponseBody>>),
}

pin_project! {
    /// The way to a response, with the mark that it is on its way.
    pub(crate) struct Serving<A: Application> {
        connection: Rc<AppConnection<A>>,
        #[pin]
        answer: Option<A::Answer>,
        refusal: Option<Box<Response<ResponseBody>>>,
        in_flight: Option<InFlight>,
    }
}

impl<A: Application> Future for Serving<A> {
    type Output = Result<Response<TrackedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.answer.as_pin_mut() {
            Some(answer) => ready!(answer.poll(cx)),
            None => *this.refusal.take().expect("not polled after its end"),
        };
        this.connection.shared.settings.reasons.apply(&mut response);
        let in_flight = this.in_flight.take().expect("not polled after its end");
        Poll::Ready(Ok(response.map(|body| TrackedBody { body, _in_flight: in_flight })))
    }
}

/// While it lives, its connection is not idle.
struct InFlight(Rc<Link>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(false);
        // What was read until now was this request's; should hyper hold the beginning of the next one, parking shows it.
        self.0.received.set(false);
    }
}

/// A response's body, with the mark that it is on its way.
pub(crate) struct TrackedBody {
    body: ResponseBody,
    _in_flight: InFlight,
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer of the engine's own.
fn refuse(status: StatusCode, reason: &'static str, close: bool) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(reason));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
