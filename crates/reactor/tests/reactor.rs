//! The reactor as its host sees it: one descriptor, a schedule hook, a budget.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use overdrive_reactor::{Address, Deferred, Reactor, Stream, channel};

const BUDGET: Duration = Duration::from_millis(1);

/// A host loop as asyncio is one: callbacks in order, the reactor's descriptor among its readers.
struct Host {
    reactor: Rc<Reactor>,
    scheduled: Rc<Cell<u32>>,
}

impl Host {
    fn new() -> Host {
        let reactor = Rc::new(Reactor::new().unwrap());
        let scheduled = Rc::new(Cell::new(0));
        let count = scheduled.clone();
        reactor.on_schedule(move || count.set(count.get() + 1));
        Host { reactor, scheduled }
    }

    fn is_readable(&self, timeout: Duration) -> bool {
        let mut poll = libc::pollfd { fd: self.reactor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid `pollfd`.
        unsafe { libc::poll(&raw mut poll, 1, timeout.as_millis() as i32) > 0 }
    }

    /// One iteration: readers first, then what was scheduled. False when nothing happened within a second.
    fn iterate(&self) -> bool {
        let timeout = if self.scheduled.get() > 0 { Duration::ZERO } else { Duration::from_secs(1) };
        let deadline = self.reactor.next_deadline();
        let timeout = deadline.map_or(timeout, |at| timeout.min(at.saturating_duration_since(Instant::now())));
        let readable = self.is_readable(timeout + Duration::from_millis(1));
        if readable {
            self.reactor.harvest().unwrap();
        }
        if deadline.is_some_and(|at| at <= Instant::now()) {
            self.reactor.request_run();
        }
        let scheduled = self.scheduled.take();
        assert!(scheduled <= 1, "one run at a time");
        if scheduled == 1 {
            self.reactor.run(BUDGET);
        }
        readable || scheduled == 1
    }

    fn iterate_until(&self, mut done: impl FnMut() -> bool) {
        while !done() {
            assert!(self.iterate(), "nothing happens any more");
        }
    }
}

/// A connected pair: the reactor's end and the test's.
fn pair(reactor: &Reactor) -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ours = listener.accept().unwrap().0;
    (reactor.handle().connect(ours).unwrap(), theirs)
}

async fn read(stream: &Stream) -> Vec<u8> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    poll_fn(|cx| stream.poll_read_slice(cx, &mut buffer).map(|read| read.unwrap().to_vec())).await
}

async fn write_all(stream: &Stream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, bytes)).await.unwrap();
        bytes = &bytes[written..];
    }
}

#[test]
fn harvesting_leaves_the_descriptor_unreadable_and_runs_nothing() {
    let host = Host::new();
    let (ours, mut theirs) = pair(&host.reactor);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sink = seen.clone();
    host.reactor.handle().spawn(async move {
        let data = read(&ours).await;
        sink.borrow_mut().extend(data);
    });
    host.iterate_until(|| host.scheduled.get() == 0);
    while host.is_readable(Duration::ZERO) {
        host.reactor.harvest().unwrap();
    }
    host.scheduled.take();
    host.reactor.run(BUDGET);
    theirs.write_all(b"hello").unwrap();
    assert!(host.is_readable(Duration::from_secs(5)));
    host.reactor.harvest().unwrap();
    assert!(!host.is_readable(Duration::ZERO), "the events were taken");
    assert!(seen.borrow().is_empty(), "nothing runs in harvest");
    assert_eq!(host.scheduled.take(), 1, "a run was asked for, once");
    host.reactor.run(BUDGET);
    assert_eq!(*seen.borrow(), b"hello");
}

#[test]
fn a_wake_outside_of_any_call_asks_for_a_run() {
    let host = Host::new();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let polls = Rc::new(Cell::new(0));
    let (slot, count) = (waker.clone(), polls.clone());
    host.reactor.handle().spawn(poll_fn(move |cx| {
        count.set(count.get() + 1);
        *slot.borrow_mut() = Some(cx.waker().clone());
        if count.get() < 3 { Poll::Pending } else { Poll::Ready(()) }
    }));
    host.scheduled.take();
    host.reactor.run(BUDGET);
    for expected in [2, 3] {
        let waker = waker.borrow().clone().unwrap();
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(host.scheduled.take(), 1, "one run for any number of wakes");
        host.reactor.run(BUDGET);
        assert_eq!(polls.get(), expected);
    }
    assert_eq!(host.reactor.tasks(), 0);
}

#[test]
fn a_budget_stop_asks_for_another_run_and_loses_no_event() {
    let host = Host::new();
    let done = Rc::new(Cell::new(0));
    let mut peers = Vec::new();
    for _ in 0..20 {
        let (ours, theirs) = pair(&host.reactor);
        let done = done.clone();
        host.reactor.handle().spawn(async move {
            let data = read(&ours).await;
            let start = Instant::now();
            while start.elapsed() < BUDGET * 2 {}
            write_all(&ours, &data).await;
            done.set(done.get() + 1);
        });
        peers.push(theirs);
    }
    host.iterate_until(|| host.scheduled.get() == 0);
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.write_all(&[number as u8]).unwrap();
    }
    while !host.is_readable(Duration::from_millis(1)) {}
    host.reactor.harvest().unwrap();
    host.scheduled.take();
    let before = done.get();
    host.reactor.run(BUDGET);
    assert!(done.get() - before <= 1, "the budget is looked at between tasks");
    host.iterate_until(|| done.get() == 20);
    for (number, peer) in peers.iter_mut().enumerate() {
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        assert_eq!(byte[0], number as u8);
    }
}

#[test]
fn deadlines_do_not_multiply_the_runs_of_a_busy_reactor() {
    let host = Host::new();
    let handle = host.reactor.handle();
    // Never out of work, and a deadline in between at every turn.
    let busy = handle.clone();
    handle.spawn(async move {
        loop {
            busy.yield_now().await;
        }
    });
    let rounds = Rc::new(Cell::new(0));
    let (count, sleeper) = (rounds.clone(), handle.clone());
    handle.spawn(async move {
        loop {
            sleeper.sleep(Duration::from_micros(1)).await;
            count.set(count.get() + 1);
        }
    });
    // `iterate` asserts that no iteration has more than one run.
    host.iterate_until(|| rounds.get() >= 50);
}

#[test]
fn a_fin_that_comes_with_data_is_seen() {
    let host = Host::new();
    let (ours, mut theirs) = pair(&host.reactor);
    theirs.write_all(b"last").unwrap();
    drop(theirs);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sink = seen.clone();
    host.reactor.handle().spawn(async move {
        let data = read(&ours).await;
        poll_fn(|cx| ours.poll_read_closed(cx)).await;
        assert!(ours.read_closed());
        let end = read(&ours).await;
        sink.borrow_mut().push((data, end));
    });
    host.iterate_until(|| !seen.borrow().is_empty());
    assert_eq!(*seen.borrow(), [(b"last".to_vec(), Vec::new())]);
}

#[test]
fn a_slow_reader_suspends_the_writer_and_loses_nothing() {
    let host = Host::new();
    let (ours, mut theirs) = pair(&host.reactor);
    let total = 8 << 20;
    let written = Rc::new(Cell::new(false));
    let flag = written.clone();
    host.reactor.handle().spawn(async move {
        let bytes: Vec<u8> = (0..total).map(|place| (place % 251) as u8).collect();
        write_all(&ours, &bytes).await;
        flag.set(true);
    });
    host.iterate_until(|| host.scheduled.get() == 0);
    assert!(!written.get(), "the socket's buffers are smaller than this");
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        all
    });
    host.iterate_until(|| written.get() && host.reactor.tasks() == 0);
    let all = reader.join().unwrap();
    assert_eq!(all.len(), total);
    assert!(all.iter().enumerate().all(|(place, byte)| *byte == (place % 251) as u8));
}

#[test]
fn wakers_work_from_other_threads() {
    let host = Host::new();
    let (sender, mut receiver) = channel();
    let sum = Rc::new(Cell::new(0));
    let result = sum.clone();
    host.reactor.handle().spawn(async move {
        while let Some(number) = receiver.receive().await {
            result.set(result.get() + number);
        }
    });
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let sender = sender.clone();
            thread::spawn(move || (0..1000).for_each(|number| sender.send(number).unwrap()))
        })
        .collect();
    drop(sender);
    host.iterate_until(|| host.reactor.tasks() == 0);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(sum.get(), 4 * 499_500);
}

#[test]
fn timers_fire_in_order_and_can_be_moved() {
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let order = Rc::new(RefCell::new(Vec::new()));
    for delay in [30_u64, 10, 20] {
        let (handle, order) = (handle.clone(), order.clone());
        reactor.handle().spawn(async move {
            handle.sleep(Duration::from_millis(delay)).await;
            order.borrow_mut().push(delay);
        });
    }
    reactor.block_on(async move {
        let start = Instant::now();
        let mut later = handle.sleep(Duration::from_millis(1));
        // Armed early, then moved: it must not fire before its new time.
        poll_fn(|cx| {
            let _ = std::pin::Pin::new(&mut later).poll(cx);
            Poll::Ready(())
        })
        .await;
        later.reset(start + Duration::from_millis(40));
        (&mut later).await;
        assert!(start.elapsed() >= Duration::from_millis(40));
        let mut sooner = handle.sleep(Duration::from_secs(3600));
        sooner.reset(Instant::now());
        sooner.await;
    });
    assert_eq!(*order.borrow(), [10, 20, 30]);
    assert_eq!(reactor.next_deadline(), None, "nothing is left behind");
}

#[test]
fn a_panic_ends_its_task_alone() {
    let reactor = Reactor::new().unwrap();
    let told = Rc::new(RefCell::new(String::new()));
    let sink = told.clone();
    reactor.on_panic(move |panic| {
        sink.borrow_mut().push_str(panic.downcast_ref::<&str>().unwrap());
    });
    reactor.handle().spawn(async { panic!("out of order") });
    let handle = reactor.handle();
    reactor.block_on(async move { handle.sleep(Duration::from_millis(1)).await });
    assert_eq!(*told.borrow(), "out of order");
    assert_eq!(reactor.tasks(), 0);
}

/// Says its name, in whatever run it is done.
struct Said(Rc<RefCell<Vec<&'static str>>>, &'static str);

impl Deferred for Said {
    fn run_deferred(&self) {
        self.0.borrow_mut().push(self.1);
    }
}

#[test]
fn queued_work_takes_its_turn_before_what_is_put_off_to_the_end() {
    let host = Host::new();
    let said = Rc::new(RefCell::new(Vec::new()));
    let handle = host.reactor.handle();
    assert!(!handle.is_running());
    let work = |name| Rc::new(Said(said.clone(), name)) as Rc<dyn Deferred>;
    handle.queue(work("first"));
    let (queued, put_off, inner, log) = (work("queued"), work("put off"), handle.clone(), said.clone());
    handle.spawn(async move {
        assert!(inner.is_running());
        inner.defer(put_off);
        inner.queue(queued);
        log.borrow_mut().push("task");
    });
    host.iterate_until(|| said.borrow().len() == 4);
    assert_eq!(*said.borrow(), ["first", "task", "queued", "put off"]);
}

#[test]
fn a_panic_of_queued_work_ends_nothing_else() {
    struct Panics;
    impl Deferred for Panics {
        fn run_deferred(&self) {
            panic!("work");
        }
    }
    let host = Host::new();
    let (said, told) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
    let count = told.clone();
    host.reactor.on_panic(move |_| count.set(count.get() + 1));
    host.reactor.handle().queue(Rc::new(Panics));
    host.reactor.handle().queue(Rc::new(Said(said.clone(), "after")));
    host.iterate_until(|| !said.borrow().is_empty());
    assert_eq!(told.get(), 1);
}

#[test]
fn a_task_may_run_the_reactor_itself() {
    let host = Host::new();
    let inner_ran = Rc::new(Cell::new(false));
    let (reactor, scheduled, flag) = (host.reactor.clone(), host.scheduled.clone(), inner_ran.clone());
    host.reactor.handle().spawn(async move {
        let inner = flag.clone();
        reactor.handle().spawn(async move { inner.set(true) });
        // As `nest_asyncio` does: the host's loop turns inside one of its callbacks.
        assert!(scheduled.take() > 0, "what is woken inside a task is scheduled, too");
        reactor.harvest().unwrap();
        reactor.run(BUDGET);
        assert!(flag.get());
    });
    host.iterate_until(|| host.reactor.tasks() == 0);
    assert!(inner_ran.get());
}

#[test]
fn who_wants_to_know_the_end_of_a_poll_is_told_once() {
    let host = Host::new();
    let told = Rc::new(RefCell::new(Vec::new()));
    let list = told.clone();
    host.reactor.on_poll_end(move |now| list.borrow_mut().push(now));
    let handle = host.reactor.handle();
    assert_eq!(handle.poll_began(), None);
    handle.want_poll_end();
    let polls = Rc::new(RefCell::new(Vec::new()));
    for wants in [true, false] {
        let (handle, polls) = (handle.clone(), polls.clone());
        host.reactor.handle().spawn(async move {
            polls.borrow_mut().push(handle.poll_began().unwrap());
            if wants {
                thread::sleep(Duration::from_millis(5));
                handle.want_poll_end();
            }
        });
    }
    // Longer than the budget is: two runs.
    host.iterate_until(|| polls.borrow().len() == 2);
    let (told, polls) = (told.borrow(), polls.borrow());
    assert_eq!(told.len(), 1, "neither outside of a poll nor unasked");
    assert!(told[0] >= polls[0] + Duration::from_millis(5) && told[0] <= polls[1]);
    assert_eq!(handle.poll_began(), None);
}

#[test]
fn a_poll_within_a_poll_leaves_the_outer_one_under_way() {
    let host = Host::new();
    let handle = host.reactor.handle();
    let (reactor, outer) = (host.reactor.clone(), handle.clone());
    let seen = Rc::new(Cell::new(None));
    let after = seen.clone();
    handle.spawn(async move {
        let began = outer.poll_began().unwrap();
        let inner = outer.clone();
        outer.spawn(async move { assert!(inner.poll_began().is_some()) });
        reactor.run(BUDGET);
        after.set(outer.poll_began().map(|now| now >= began));
    });
    host.iterate_until(|| seen.get().is_some());
    assert_eq!(seen.get(), Some(true));
}

#[test]
fn unix_and_tcp_listeners_accept() {
    let folder = std::env::temp_dir().join(format!("overdrive-reactor-{}", std::process::id()));
    let unix = UnixListener::bind(&folder).unwrap();
    let tcp = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
    let reactor = Reactor::new().unwrap();
    let (on_unix, on_tcp) = (reactor.handle().listen(&unix).unwrap(), reactor.handle().listen(&tcp).unwrap());
    let mut local = UnixStream::connect(&folder).unwrap();
    let mut remote = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let expected = remote.local_addr().unwrap();
    let path = folder.clone();
    reactor.block_on(async move {
        let (stream, peer) = poll_fn(|cx| on_unix.poll_accept(cx)).await.unwrap();
        assert_eq!(peer, Address::Unix("".into()));
        assert_eq!(stream.local_address().unwrap(), Address::Unix(path));
        write_all(&stream, b"u").await;
        let (stream, peer) = poll_fn(|cx| on_tcp.poll_accept(cx)).await.unwrap();
        assert_eq!(peer, Address::Ip(expected));
        write_all(&stream, b"t").await;
    });
    let mut byte = [0];
    local.read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"u");
    remote.read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"t");
    std::fs::remove_file(folder).unwrap();
}

#[test]
fn a_socket_that_does_not_listen_is_refused() {
    let reactor = Reactor::new().unwrap();
    let (_ours, theirs) = pair(&reactor);
    assert!(reactor.handle().listen(&theirs).is_err());
}

#[test]
fn a_forked_child_does_not_touch_the_parents_reactor() {
    let host = Host::new();
    let (ours, mut theirs) = pair(&host.reactor);
    let seen = Rc::new(Cell::new(0));
    let count = seen.clone();
    host.reactor.handle().spawn(async move { count.set(read(&ours).await.len()) });
    host.iterate_until(|| host.scheduled.get() == 0);
    theirs.write_all(b"for the parent").unwrap();
    assert!(host.is_readable(Duration::from_secs(5)));
    // SAFETY: the child only calls into the reactor, which does nothing there, and leaves without running destructors but
    // those of the streams, which are what is tested.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let _ = host.reactor.harvest();
            host.reactor.run(BUDGET);
            host.reactor.clear();
            libc::_exit(i32::from(seen.get() != 0));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        assert_eq!(status, 0, "the child has read nothing");
    }
    host.iterate_until(|| seen.get() > 0);
    assert_eq!(seen.get(), 14);
}

#[test]
fn dropping_the_reactor_drops_its_tasks_and_closes_their_sockets() {
    let reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = pair(&reactor);
    let handle = reactor.handle();
    handle.spawn(async move {
        read(&ours).await;
    });
    drop(reactor);
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    // Harmless, and forgotten at once.
    handle.spawn(async { unreachable!() });
}
