//! The limit: axum on one thread, with the answer of `apps/asgi_json.py`.
//!
//! Usage: `axum-json PORT`

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("usage: axum-json PORT")?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, Router::new().route("/", get(hello))).await?;
    Ok(())
}

async fn hello() -> Json<Value> {
    Json(json!({"message": "Hello, World!"}))
}
