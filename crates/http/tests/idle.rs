//! What an idle connection holds, counted by the allocator: a test of its own, as nothing else may allocate meanwhile.

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::{Ready, ready};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::thread;
use std::time::Duration;

use http::{Request, Response};
use overdrive_http::{Address, Application, RequestBody, ResponseBody, Server, Settings, Upgrade};
use overdrive_reactor::Reactor;

static LIVE: AtomicIsize = AtomicIsize::new(0);

struct Counting;

// SAFETY: passes everything on to the system's allocator, and counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Hello;

impl Application for Hello {
    type Connection = ();
    type Answer = Ready<Response<ResponseBody>>;

    fn connected(&self, _: Address, _: Address) {}

    fn request(&self, _: &(), _: Request<RequestBody>) -> Self::Answer {
        ready(Response::new(ResponseBody::full("hello")))
    }

    fn websocket(&self, _: &(), _: Request<()>, _: Upgrade) -> Self::Answer {
        ready(Response::new(ResponseBody::empty()))
    }
}

#[test]
fn an_idle_connection_gives_its_buffers_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let reactor = Reactor::new().unwrap();
        let settings = Settings { keep_alive: Duration::from_secs(600), ..Settings::default() };
        let server = Server::new(Rc::new(Hello), reactor.handle(), settings);
        server.listen(&listener).unwrap();
        reactor.block_on(std::future::pending::<()>());
    });
    let connect = || {
        let mut client = TcpStream::connect(address).unwrap();
        exchange(&mut client);
        client
    };
    let mut clients = Vec::with_capacity(COUNT);
    let warm = connect();
    let before = LIVE.load(Ordering::Relaxed);
    clients.extend((0..COUNT).map(|_| connect()));
    let held = |what: &str, limit: isize| {
        // The connections are parked one after the other; a few seconds is far more than that takes.
        let each = || (LIVE.load(Ordering::Relaxed) - before) / COUNT as isize;
        for _ in 0..500 {
            if each() < limit {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{what}: {} bytes a connection", each());
    };
    held("after one request", LIMIT);
    clients.iter_mut().for_each(exchange);
    held("after another", LIMIT);
    drop(clients);
    // What is left is room in tables, for the next ones.
    held("when all are closed", 256);
    drop(warm);
}

fn exchange(client: &mut TcpStream) {
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut answer = [0; 1000];
    let mut filled = 0;
    while !answer[..filled].ends_with(b"hello") {
        filled += client.read(&mut answer[filled..]).unwrap();
    }
}

const COUNT: usize = 200;
/// Bytes, beside what the kernel holds.
const LIMIT: isize = 1536;
