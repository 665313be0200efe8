//! The same answers as `bench/apps/bare.py`, from axum on one thread: what a core can do without Python.
//!
//! Takes the port to listen on as its only argument.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Json, Query};
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::serve::ListenerExt;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

const CHUNK: usize = 64 * 1024;

fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("usage: axum-peer PORT");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(serve(port));
}

async fn serve(port: u16) {
    let app = Router::new()
        .route("/json", get(json))
        .route("/echo", any(echo))
        .route("/upload", post(upload))
        .route("/download", get(download));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true); // as the ASGI servers do; a stream that is gone needs none
    });
    axum::serve(listener, app).await.expect("accepting works");
}

#[derive(Serialize)]
struct Done {
    message: &'static str,
}

async fn json() -> Json<Done> {
    Json(Done { message: "done" })
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(repeat)
}

async fn repeat(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let sent = match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message).await,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn upload(body: Body) -> String {
    let mut received = 0;
    let mut chunks = body.into_data_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        received += chunk.len();
    }
    received.to_string()
}

#[derive(Deserialize)]
struct Size {
    bytes: usize,
}

async fn download(Query(size): Query<Size>) -> Body {
    let chunk = Bytes::from(vec![b'x'; CHUNK]);
    let whole = std::iter::repeat_n(chunk.clone(), size.bytes / CHUNK);
    let rest = (size.bytes % CHUNK != 0).then(|| chunk.slice(..size.bytes % CHUNK));
    Body::from_stream(futures_util::stream::iter(whole.chain(rest).map(Ok::<_, std::convert::Infallible>)))
}
