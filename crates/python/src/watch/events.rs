//! What happens to requests, one event after the other, for the inspect listener: a ring of fixed size that the loop's thread
//! writes and any thread may read, without a lock.
//!
//! Nothing is written until somebody looks ([`Events::open`]). Of many requests a sample is traced, each of them from its
//! first event to its last; how many is told with the events.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use super::moment::Moment;

/// The ring, as the loop's thread and its readers share it.
#[derive(Debug, Default)]
pub(crate) struct Events {
    is_open: AtomicBool,
    /// Of so many requests one is traced.
    every: AtomicU64,
    /// The number of the next event.
    next: AtomicU64,
    slots: OnceLock<Box<[Slot]>>,
}

/// A seqlock: `sequence` is odd while the words are being written, and names the event afterwards.
#[derive(Debug, Default)]
struct Slot {
    sequence: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// An event as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Moment,
    pub(crate) request: u64,
    pub(crate) what: What,
}

/// What has happened to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Its head is complete: "GET /items/3", shortened if it is long.
    Received(String),
    /// The place of its route is known.
    Found(usize),
    StepBegan,
    StepEnded,
    /// It wants something to be run on a thread.
    ThreadWanted,
    /// The thread is done with it, and the loop knows.
    ThreadRan {
        began: Moment,
        ended: Moment,
    },
    /// The response has its status.
    Answers(u16),
    /// The response is complete.
    Answered,
    /// Nothing of it runs any more.
    Ended,
}

/// What a reader gets: the events since `since`, or those that are left of them.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Event>,
    /// From where to go on.
    pub(crate) next: u64,
    /// Events that were overwritten before they could be read.
    pub(crate) missed: u64,
}

impl Events {
    /// From now on events are written.
    pub(crate) fn open(&self) {
        self.slots.get_or_init(|| (0..SLOTS).map(|_| Slot::default()).collect());
        self.is_open.store(true, Ordering::Release);
    }

    pub(crate) fn close(&self) {
        self.is_open.store(false, Ordering::Release);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Of so many requests one is traced.
    pub(crate) fn every(&self) -> u64 {
        self.every.load(Ordering::Relaxed).max(1)
    }

    /// On the loop's thread alone.
    pub(crate) fn write(&self, at: Moment, request: u64, what: &Written<'_>) {
        let Some(slots) = self.slots.get() else { return };
        let number = self.next.load(Ordering::Relaxed);
        let slot = &slots[place(number)];
        slot.sequence.store(number * 2 + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let (kind, first, second) = what.words();
        let set = |word: usize, value: u64| slot.words[word].store(value, Ordering::Relaxed);
        set(0, at.number());
        set(1, request);
        set(2, kind);
        if let Written::Received(method, target) = what {
            let mut text = [0; TEXT];
            let length = write_line(&mut text, method, target);
            for (word, bytes) in text.chunks_exact(8).enumerate().take(length.div_ceil(8)) {
                set(HEAD + 1 + word, u64::from_ne_bytes(bytes.try_into().expect("eight bytes")));
            }
            set(HEAD, length as u64);
        } else {
            set(HEAD, first);
            set(HEAD + 1, second);
        }
        slot.sequence.store(number * 2 + 2, Ordering::Release);
        self.next.store(number + 1, Ordering::Release);
    }

    /// The number of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// On any thread.
    pub(crate) fn read(&self, since: u64) -> Batch {
        let next = self.next();
        let Some(slots) = self.slots.get() else { return Batch::default() };
        let first = since.max(next.saturating_sub(slots.len() as u64)).min(next);
        let mut batch = Batch { events: Vec::new(), next, missed: first.saturating_sub(since) };
        for number in first..next {
            match slots[place(number)].read(number) {
                Some(event) => batch.events.push(event),
                None => batch.missed += 1,
            }
        }
        batch
    }
}

/// An event as it is written, without an allocation.
pub(crate) enum Written<'a> {
    /// Method and target.
    Received(&'a str, &'a str),
    Found(usize),
    StepBegan,
    StepEnded,
    ThreadWanted,
    ThreadRan(Moment, Moment),
    Answers(u16),
    Answered,
    Ended,
}

impl Written<'_> {
    fn words(&self) -> (u64, u64, u64) {
        match self {
            Written::Received(..) => (1, 0, 0),
            Written::Found(place) => (2, *place as u64, 0),
            Written::StepBegan => (3, 0, 0),
            Written::StepEnded => (4, 0, 0),
            Written::ThreadWanted => (5, 0, 0),
            Written::ThreadRan(began, ended) => (6, began.number(), ended.number()),
            Written::Answers(status) => (7, u64::from(*status), 0),
            Written::Answered => (8, 0, 0),
            Written::Ended => (9, 0, 0),
        }
    }
}

impl Slot {
    /// The event of that number, if it is here still, and was while it was being read.
    fn read(&self, number: u64) -> Option<Event> {
        let expected = number * 2 + 2;
        if self.sequence.load(Ordering::Acquire) != expected {
            return None;
        }
        let words: [u64; WORDS] = std::array::from_fn(|word| self.words[word].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        if self.sequence.load(Ordering::Relaxed) != expected {
            return None;
        }
        let (first, second) = (words[HEAD], words[HEAD + 1]);
        let what = match words[2] {
            1 => {
                let bytes: Vec<u8> = words[HEAD + 1..].iter().flat_map(|word| word.to_ne_bytes()).collect();
                let length = usize::try_from(first).unwrap_or(TEXT).min(TEXT);
                What::Received(String::from_utf8_lossy(&bytes[..length]).into_owned())
            }
            2 => What::Found(usize::try_from(first).ok()?),
            3 => What::StepBegan,
            4 => What::StepEnded,
            5 => What::ThreadWanted,
            6 => What::ThreadRan { began: Moment::from_number(first), ended: Moment::from_number(second) },
            7 => What::Answers(u16::try_from(first).ok()?),
            8 => What::Answered,
            _ => What::Ended,
        };
        Some(Event { at: Moment::from_number(words[0]), request: words[1], what })
    }
}

/// Which requests are traced: all while they are few, otherwise one of so many, and that changes with their number.
#[derive(Debug)]
pub(super) struct Sampler {
    window: Cell<Moment>,
    requests: Cell<u64>,
    traced: Cell<u64>,
}

impl Sampler {
    pub(super) fn new() -> Sampler {
        Sampler { window: Cell::new(Moment::NONE), requests: Cell::new(0), traced: Cell::new(0) }
    }

    /// Whether the request that is received now is traced.
    pub(super) fn takes(&self, events: &Events, now: Moment, serial: u64) -> bool {
        if now.since(self.window.get()) >= WINDOW {
            let wanted = self.requests.get().div_ceil(TRACED_IN_A_WINDOW).max(1).next_power_of_two();
            events.every.store(wanted, Ordering::Relaxed);
            self.window.set(now);
            self.requests.set(0);
            self.traced.set(0);
        }
        self.requests.set(self.requests.get() + 1);
        let every = events.every();
        if !serial.is_multiple_of(every) {
            return false;
        }
        self.traced.set(self.traced.get() + 1);
        if self.traced.get() > TRACED_IN_A_WINDOW {
            // More than in the window before: not only from the next one on.
            events.every.store(every * 2, Ordering::Relaxed);
            self.traced.set(0);
        }
        true
    }
}

fn place(number: u64) -> usize {
    (number % SLOTS as u64) as usize
}

/// Method and target with a space between, and an ellipsis where there is more than fits. Gives the length.
fn write_line(text: &mut [u8; TEXT], method: &str, target: &str) -> usize {
    let mut length = 0;
    for bytes in [method.as_bytes(), b" ", target.as_bytes()] {
        for byte in bytes {
            if length == TEXT {
                text[TEXT - 3..].copy_from_slice("…".as_bytes());
                return TEXT;
            }
            text[length] = *byte;
            length += 1;
        }
    }
    length
}

/// Enough for the busiest tenth of a second that is traced.
const SLOTS: usize = 1 << 14;
/// Of each event: when, of which request, what.
const HEAD: usize = 3;
const TEXT: usize = 80;
const WORDS: usize = HEAD + 1 + TEXT / 8;
const WINDOW: u64 = 100_000_000;
const TRACED_IN_A_WINDOW: u64 = 50;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn at(number: u64) -> Moment {
        Moment::from_number(number)
    }

    #[test]
    fn what_is_written_is_read() {
        let events = Events::default();
        events.open();
        events.write(at(5), 1, &Written::Received("GET", "/items/3"));
        events.write(at(6), 1, &Written::ThreadRan(at(2), at(3)));
        events.write(at(7), 1, &Written::Answers(404));
        let batch = events.read(0);
        assert_eq!((batch.next, batch.missed), (3, 0));
        let what: Vec<_> = batch.events.into_iter().map(|event| event.what).collect();
        let ran = What::ThreadRan { began: at(2), ended: at(3) };
        assert_eq!(what, [What::Received("GET /items/3".to_owned()), ran, What::Answers(404)]);
        assert!(events.read(3).events.is_empty());
    }

    #[test]
    fn a_long_line_is_shortened() {
        let events = Events::default();
        events.open();
        events.write(at(1), 1, &Written::Received("GET", &"/long".repeat(50)));
        let What::Received(line) = events.read(0).events.remove(0).what else { unreachable!("it was written") };
        assert!(line.starts_with("GET /long/long") && line.ends_with('…') && line.len() <= TEXT);
    }

    #[test]
    fn what_was_overwritten_is_counted() {
        let events = Events::default();
        events.open();
        for number in 0..SLOTS as u64 + 10 {
            events.write(at(number + 1), number, &Written::StepBegan);
        }
        let batch = events.read(3);
        assert_eq!(batch.missed, 7);
        assert_eq!(batch.events.first().expect("the rest is there").request, 10);
    }

    #[test]
    fn a_reader_never_sees_half_an_event() {
        let events = Arc::new(Events::default());
        events.open();
        let writer = events.clone();
        let thread = std::thread::spawn(move || {
            for number in 1..300_000 {
                writer.write(at(number), number, &Written::ThreadRan(at(number), at(number)));
            }
        });
        let mut next = 0;
        while !thread.is_finished() {
            let batch = events.read(next.max(events.next().saturating_sub(100)));
            next = batch.next;
            for event in batch.events {
                let number = event.at;
                assert_eq!(event.request, number.number());
                assert_eq!(event.what, What::ThreadRan { began: number, ended: number });
            }
        }
        thread.join().expect("the writer does not panic");
    }

    #[test]
    fn of_many_requests_a_sample_is_taken() {
        let (events, sampler) = (Events::default(), Sampler::new());
        let traced = |second: u64, requests: u64| {
            (0..requests).filter(|n| sampler.takes(&events, at(1 + second * 1_000_000_000 + n), *n)).count()
        };
        assert_eq!(traced(1, 20), 20, "all while they are few");
        let many = traced(2, 5000);
        assert!(many < 500, "{many} are not many more than {TRACED_IN_A_WINDOW}");
        let again = traced(3, 5000);
        assert!(again <= TRACED_IN_A_WINDOW as usize, "{again}");
        traced(4, 10);
        assert_eq!(traced(5, 10), 10, "and all again later");
    }
}
