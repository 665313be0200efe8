//! What passes from the application's side to the connection's.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::Response;
use overdrive_http::ResponseBody;

use super::Exchange;
use crate::asgi::websocket::Session;

/// What the connection waits for.
pub(crate) enum Answer {
    Http(Rc<Exchange>),
    WebSocket(Rc<Session>),
}

impl Future for Answer {
    type Output = Response<ResponseBody>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = match &*self {
            Answer::Http(exchange) => &exchange.answer,
            Answer::WebSocket(session) => session.answer(),
        };
        slot.poll(cx)
    }
}

/// Where the application's side leaves a response for the connection's.
#[derive(Default)]
pub(in crate::asgi) struct AnswerSlot {
    response: RefCell<Option<Response<ResponseBody>>>,
    waker: RefCell<Option<Waker>>,
}

impl AnswerSlot {
    pub(in crate::asgi) fn put(&self, response: Response<ResponseBody>) {
        *self.response.borrow_mut() = Some(response);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(in crate::asgi) fn is_empty(&self) -> bool {
        self.response.borrow().is_none()
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Response<ResponseBody>> {
        match self.response.take() {
            Some(response) => Poll::Ready(response),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
