//! A server in Rust alone: an async handler, a blocking one, and a WebSocket echo.
//!
//!     cargo run -p overdrive-http --example handlers
//!     curl http://127.0.0.1:8000/async      # waits a second without holding anybody up
//!     curl http://127.0.0.1:8000/blocking   # computes on a thread of its own

use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use overdrive_http::{Address, Application, Message, RequestBody, ResponseBody, Server, Settings, Upgrade};
use overdrive_reactor::{Handle, Reactor, channel};

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(&address)?;
    let reactor = Reactor::new()?;
    let server = Server::new(Rc::new(Handlers(reactor.handle())), reactor.handle(), Settings::default());
    server.listen(&listener)?;
    println!("http://{}", listener.local_addr()?);
    reactor.block_on(std::future::pending::<()>());
    Ok(())
}

struct Handlers(Handle);

impl Application for Handlers {
    type Connection = ();
    type Answer = Pin<Box<dyn Future<Output = Response<ResponseBody>>>>;

    fn connected(&self, _peer: Address, _local: Address) {}

    fn request(&self, _: &(), request: Request<RequestBody>) -> Self::Answer {
        let handle = self.0.clone();
        Box::pin(async move {
            match request.uri().path() {
                "/" => Response::new(ResponseBody::full("try /async, /blocking, or a WebSocket\n")),
                "/async" => {
                    handle.sleep(Duration::from_secs(1)).await;
                    Response::new(ResponseBody::full("a second later\n"))
                }
                "/blocking" => Response::new(ResponseBody::full(format!("{}\n", on_a_thread(count_primes).await))),
                _ => {
                    let mut response = Response::new(ResponseBody::full("not here\n"));
                    *response.status_mut() = StatusCode::NOT_FOUND;
                    response
                }
            }
        })
    }

    fn websocket(&self, _: &(), _: Request<()>, upgrade: Upgrade) -> Self::Answer {
        let (response, socket) = upgrade.accept(None, HeaderMap::new()).expect("no subprotocol, none that is invalid");
        self.0.spawn(async move {
            while let Ok(message) = socket.receive().await {
                match message {
                    Message::Text(text) => socket.send_text(text.as_str()),
                    Message::Binary(data) => socket.send_binary(&data),
                }
            }
        });
        Box::pin(async { response })
    }
}

/// Runs what blocks where it holds nobody up.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, mut receiver) = channel();
    thread::spawn(move || sender.send(work()));
    receiver.receive().await.expect("the thread sends before it ends")
}

fn count_primes() -> usize {
    (2..200_000_u32).filter(|number| (2..).take_while(|d| d * d <= *number).all(|d| number % d != 0)).count()
}
