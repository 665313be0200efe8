//! The engine over real sockets, with applications in Rust.

use std::cell::RefCell;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use overdrive_http::{
    Address, Application, Message, Report, RequestBody, ResponseBody, Server, Settings, Upgrade, WebSocketSettings,
};
use overdrive_reactor::{Handle, Reactor, Sender, channel};

/// What the test's thread may ask of the server's.
enum Order {
    Drain,
    Connections(mpsc::Sender<usize>),
}

/// A server on a thread of its own, ended by `Drop`.
struct Running {
    address: SocketAddr,
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    reports: mpsc::Receiver<String>,
}

impl Running {
    fn start(settings: Settings) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (orders, mut received) = channel();
        let (reporter, reports) = mpsc::channel();
        let thread = thread::spawn(move || {
            let reactor = Reactor::new().unwrap();
            let app = Rc::new(Echo { handle: reactor.handle(), reporter });
            let server = Server::new(app, reactor.handle(), settings);
            server.listen(&listener).unwrap();
            drop(listener);
            let handle = reactor.handle();
            reactor.block_on(async move {
                while let Some(order) = received.receive().await {
                    match order {
                        Order::Drain => server.drain(),
                        Order::Connections(answer) => answer.send(server.connections()).unwrap(),
                    }
                }
                server.drain();
                while server.connections() > 0 {
                    handle.sleep(Duration::from_millis(1)).await;
                }
            });
        });
        Running { address, orders: Some(orders), thread: Some(thread), reports }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { reader: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    fn order(&self, order: Order) {
        assert!(self.orders.as_ref().unwrap().send(order).is_ok());
    }

    fn connections(&self) -> usize {
        let (sender, receiver) = mpsc::channel();
        self.order(Order::Connections(sender));
        receiver.recv().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(thread) = self.thread.take()
            && !thread::panicking()
        {
            thread.join().unwrap();
        }
    }
}

/// Answers according to the path.
struct Echo {
    handle: Handle,
    reporter: mpsc::Sender<String>,
}

type Answer = Pin<Box<dyn Future<Output = Response<ResponseBody>>>>;

impl Application for Echo {
    type Connection = RefCell<u32>;
    type Answer = Answer;

    fn connected(&self, _: Address, _: Address) -> RefCell<u32> {
        RefCell::new(0)
    }

    fn request(&self, count: &RefCell<u32>, request: Request<RequestBody>) -> Answer {
        *count.borrow_mut() += 1;
        let count = *count.borrow();
        let handle = self.handle.clone();
        Box::pin(async move {
            let (head, mut body) = request.into_parts();
            match head.uri.path() {
                "/echo" => {
                    let mut all = Vec::new();
                    while let Some(data) = body.data().await {
                        all.extend_from_slice(&data);
                    }
                    Response::new(ResponseBody::full(all))
                }
                "/slow" => {
                    handle.sleep(Duration::from_millis(50)).await;
                    Response::new(ResponseBody::full("slow"))
                }
                "/chunks" => {
                    let (sender, body) = ResponseBody::channel();
                    handle.clone().spawn(async move {
                        for number in 0..3 {
                            handle.yield_now().await;
                            sender.push(Bytes::from(format!("chunk {number};")));
                        }
                        sender.finish(None);
                    });
                    Response::new(body)
                }
                "/broken" => {
                    let (sender, body) = ResponseBody::channel();
                    sender.push(Bytes::from_static(b"half"));
                    Response::new(body)
                }
                "/refuse" => {
                    let mut response = Response::new(ResponseBody::full("no"));
                    *response.status_mut() = StatusCode::FORBIDDEN;
                    response
                }
                "/file" => {
                    Response::new(ResponseBody::file(std::fs::File::open(file!().replace("crates/http/", "")).unwrap()))
                }
                _ => Response::new(ResponseBody::full(count.to_string())),
            }
        })
    }

    fn websocket(&self, _: &RefCell<u32>, _: Request<()>, upgrade: Upgrade) -> Answer {
        let subprotocol = upgrade.subprotocols().first().cloned();
        let (response, socket) = upgrade.accept(subprotocol.as_deref(), HeaderMap::new()).unwrap();
        let reporter = self.reporter.clone();
        self.handle.spawn(async move {
            loop {
                match socket.receive().await {
                    Ok(Message::Text(text)) => socket.send_text(text.as_str()),
                    Ok(Message::Binary(data)) => socket.send_binary(&data),
                    Err(closed) => {
                        // An error: the test has seen enough.
                        let _ = reporter.send(format!("closed with {}", closed.code));
                        return;
                    }
                }
            }
        });
        Box::pin(async { response })
    }

    fn report(&self, report: Report<'_>) {
        let _ = self.reporter.send(report.to_string());
    }
}

/// A client that sees bytes.
struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    fn get(&mut self, path: &str) -> (u16, String) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        self.response()
    }

    /// The head up to the empty line, in lower case.
    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.reader.read_line(&mut head).unwrap(), 0, "the end instead of a head: {head:?}");
        }
        head.to_ascii_lowercase()
    }

    fn response(&mut self) -> (u16, String) {
        let head = self.head();
        let status = head[9..12].parse().unwrap();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|digits| digits.parse().unwrap());
        let body = match length {
            Some(length) => {
                let mut body = vec![0; length];
                self.reader.read_exact(&mut body).unwrap();
                String::from_utf8(body).unwrap()
            }
            None if head.contains("transfer-encoding: chunked") => self.chunks(),
            None => String::new(),
        };
        (status, body)
    }

    fn chunks(&mut self) -> String {
        let mut body = String::new();
        loop {
            let mut size = String::new();
            self.reader.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).unwrap();
            if size == 0 {
                return body;
            }
            body.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
        }
    }

    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).is_ok_and(|_| rest.is_empty())
    }
}

fn quick() -> Settings {
    Settings { park_after: Duration::from_millis(5), ..Settings::default() }
}

#[test]
fn a_connection_serves_many_requests_also_after_it_was_parked() {
    let server = Running::start(quick());
    let mut client = server.connect();
    for number in 1..=3 {
        assert_eq!(client.get("/"), (200, number.to_string()));
    }
    // Long enough to be parked; served all the same if it was not.
    thread::sleep(Duration::from_millis(50));
    assert_eq!(client.get("/"), (200, "4".into()));
    thread::sleep(Duration::from_millis(50));
    client.send("GET / HTTP/1.1\r\nho");
    thread::sleep(Duration::from_millis(50));
    client.send("st: a\r\n\r\n");
    assert_eq!(client.response(), (200, "5".into()));
}

#[test]
fn pipelined_requests_answer_in_order() {
    let server = Running::start(Settings::default());
    let mut client = server.connect();
    client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\nPOST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhiGET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response(), (200, "slow".into()));
    assert_eq!(client.response(), (200, "hi".into()));
    assert_eq!(client.response(), (200, "3".into()));
}

#[test]
fn bodies_go_chunked_both_ways() {
    let server = Running::start(Settings::default());
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.send("2;x=y\r\nde\r\n0\r\nt: u\r\n\r\n");
    assert_eq!(client.response(), (200, "abcde".into()));
    assert_eq!(client.get("/chunks"), (200, "chunk 0;chunk 1;chunk 2;".into()));
    assert_eq!(client.get("/"), (200, "3".into()));
}

#[test]
fn a_response_that_breaks_off_closes_the_connection_before_its_end() {
    let server = Running::start(Settings::default());
    let mut client = server.connect();
    client.send("GET /broken HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut all = String::new();
    client.reader.read_to_string(&mut all).unwrap();
    assert!(!all.ends_with("0\r\n\r\n"), "{all:?}");
}

#[test]
fn continue_is_sent_when_the_body_is_wanted() {
    let server = Running::start(Settings::default());
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(client.head(), "http/1.1 100 continue\r\n\r\n");
    client.send("ok");
    assert_eq!(client.response(), (200, "ok".into()));
    client.send("POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().0, 403);
}

#[test]
fn an_unread_body_is_dropped_and_the_connection_goes_on() {
    let server = Running::start(Settings::default());
    let mut client = server.connect();
    let size = 4 << 20;
    client.send(format!("POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n"));
    client.send(vec![b'x'; size]);
    assert_eq!(client.response(), (403, "no".into()));
    assert_eq!(client.get("/"), (200, "2".into()));
}

#[test]
fn an_unread_body_beyond_the_limit_closes_the_connection_after_the_answer() {
    let server = Running::start(Settings { discard_limit: 100_000, ..Settings::default() });
    let mut client = server.connect();
    client.send(format!("POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 1 << 30));
    let mut writer = client.stream.try_clone().unwrap();
    let flood = thread::spawn(move || while writer.write_all(&[b'x'; 10_000]).is_ok() {});
    assert_eq!(client.response(), (403, "no".into()));
    flood.join().unwrap();
}

#[test]
fn a_half_closed_client_gets_its_answer_and_the_socket_is_given_back() {
    let server = Running::start(Settings::default());
    let mut clients: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
        client.stream.shutdown(Shutdown::Write).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.response(), (200, "slow".into()));
        assert!(client.is_closed());
    }
    while server.connections() > 0 {
        thread::yield_now();
    }
}

#[test]
fn invalid_heads_are_refused_and_the_next_connection_is_served() {
    let server = Running::start(Settings::default());
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx\0: y\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ] {
        let mut client = server.connect();
        client.send(head);
        assert_eq!(client.response().0, status, "{head:?}");
        assert!(client.is_closed(), "{head:?}");
        assert!(server.reports.recv_timeout(Duration::from_secs(5)).unwrap().contains("Invalid HTTP request"));
    }
    assert_eq!(server.connect().get("/"), (200, "1".into()));
}

#[test]
fn heads_have_limits() {
    let server = Running::start(Settings { max_headers: 4, max_header_size: 1000, ..Settings::default() });
    let many: String = (0..5).map(|number| format!("x{number}: y\r\n")).collect();
    for head in [format!("host: a\r\n{many}"), format!("host: a\r\nlong: {}\r\n", "x".repeat(1000))] {
        let mut client = server.connect();
        client.send(format!("GET / HTTP/1.1\r\n{head}\r\n"));
        assert_eq!(client.response().0, 431);
        assert!(client.is_closed());
    }
}

#[test]
fn a_head_that_takes_too_long_is_answered_with_408() {
    let server = Running::start(Settings { header_read: Duration::from_millis(30), ..Settings::default() });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nho");
    assert_eq!(client.response().0, 408);
    assert!(client.is_closed());
    assert!(server.connect().is_closed(), "nothing at all is answered with nothing");
}

#[test]
fn an_idle_connection_is_closed_after_the_keep_alive_time() {
    let server = Running::start(Settings { keep_alive: Duration::from_millis(30), ..quick() });
    let mut client = server.connect();
    assert_eq!(client.get("/slow"), (200, "slow".into()));
    assert!(client.is_closed());
}

#[test]
fn draining_finishes_what_has_begun_and_closes_the_rest() {
    let server = Running::start(Settings::default());
    let (mut idle, mut busy) = (server.connect(), server.connect());
    assert_eq!(idle.get("/").0, 200);
    busy.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    while server.connections() < 2 {
        thread::yield_now();
    }
    // The request may still be on its way; it is answered, or its connection closed, but never left alone.
    thread::sleep(Duration::from_millis(10));
    server.order(Order::Drain);
    assert!(idle.is_closed());
    assert_eq!(busy.response(), (200, "slow".into()));
    assert!(busy.is_closed());
    assert!(TcpStream::connect(server.address).is_err(), "the listener is closed");
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = Running::start(Settings { max_connections: 1, ..Settings::default() });
    let mut first = server.connect();
    assert_eq!(first.get("/").0, 200);
    let mut second = server.connect();
    second.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    second.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(second.reader.fill_buf().is_err(), "not served yet");
    drop(first);
    second.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(second.response(), (200, "1".into()));
}

#[test]
fn a_file_goes_out_whole() {
    let server = Running::start(Settings::default());
    let (status, body) = server.connect().get("/file");
    assert_eq!((status, body.as_str()), (200, include_str!("http.rs")));
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A masked frame with a mask of zeros.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

fn read_frame(client: &mut Client) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    client.reader.read_exact(&mut head).unwrap();
    let mut payload = vec![0; usize::from(head[1])];
    client.reader.read_exact(&mut payload).unwrap();
    (head[0] & 0x0f, payload)
}

#[test]
fn a_websocket_echoes_and_closes() {
    let server = Running::start(Settings::default());
    let mut client = server.connect();
    // The first frame comes with the handshake.
    client.send([UPGRADE.as_bytes(), &frame(1, b"early")].concat());
    let head = client.head();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert_eq!(read_frame(&mut client), (1, b"early".to_vec()));
    client.send(frame(2, b"\0\xff"));
    assert_eq!(read_frame(&mut client), (2, b"\0\xff".to_vec()));
    client.send(frame(9, b"ping"));
    assert_eq!(read_frame(&mut client), (10, b"ping".to_vec()));
    client.send(frame(8, &1001_u16.to_be_bytes()));
    assert_eq!(read_frame(&mut client), (8, 1001_u16.to_be_bytes().to_vec()));
    assert!(client.is_closed());
    assert_eq!(server.reports.recv_timeout(Duration::from_secs(5)).unwrap(), "closed with 1001");
}

#[test]
fn a_websocket_that_does_not_answer_pings_is_closed() {
    let websocket = WebSocketSettings {
        ping_interval: Some(Duration::from_millis(20)),
        ping_timeout: Some(Duration::from_millis(20)),
        ..WebSocketSettings::default()
    };
    let server = Running::start(Settings { websocket, ..Settings::default() });
    let mut client = server.connect();
    client.send(UPGRADE);
    client.head();
    let (opcode, payload) = read_frame(&mut client);
    assert_eq!(opcode, 9);
    client.send(frame(10, &payload));
    loop {
        let (opcode, payload) = read_frame(&mut client);
        if opcode == 8 {
            assert_eq!(payload[..2], 1011_u16.to_be_bytes());
            break;
        }
    }
    assert_eq!(server.reports.recv_timeout(Duration::from_secs(5)).unwrap(), "closed with 1011");
}

#[test]
fn a_websocket_is_closed_with_1012_by_a_drain_and_1006_by_a_broken_connection() {
    let server = Running::start(Settings::default());
    let (mut kept, mut broken) = (server.connect(), server.connect());
    for client in [&mut kept, &mut broken] {
        client.send(UPGRADE);
        client.head();
    }
    drop(broken);
    assert_eq!(server.reports.recv_timeout(Duration::from_secs(5)).unwrap(), "closed with 1006");
    server.order(Order::Drain);
    let (opcode, payload) = read_frame(&mut kept);
    assert_eq!((opcode, &payload[..2]), (8, &1012_u16.to_be_bytes()[..]));
    kept.send(frame(8, &payload));
    assert!(kept.is_closed());
}
