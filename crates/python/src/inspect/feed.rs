//! From a worker to its supervisor: news as lines of JSON, over one end of a pair of sockets each.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use overdrive_reactor::Sender;

use super::gather::{Gatherer, PERIOD};
use super::listener::Message;
use super::model::News;
use crate::watch::Shared;

/// The thread that tells the supervisor, in a worker.
pub(super) struct Feed {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Feed {
    pub(super) fn start(stream: UnixStream, watch: Arc<Shared>) -> std::io::Result<Feed> {
        // A supervisor that does not read is in trouble, and must not take its workers along.
        stream.set_write_timeout(Some(PATIENCE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("overdrive-inspect".to_owned()).spawn(move || {
            let mut gatherer = Gatherer::new(watch);
            while !stopped.load(Ordering::Relaxed) && tell(&stream, &gatherer.news()).is_ok() {
                std::thread::park_timeout(PERIOD);
            }
        })?;
        Ok(Feed { stop, thread })
    }

    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        let _ = self.thread.join();
    }
}

fn tell(mut stream: &UnixStream, news: &News) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(news)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Hears a worker, in the supervisor, on a thread of its own that ends with the worker. Gives what ends it earlier.
pub(super) fn hear(stream: UnixStream, key: u64, number: u32, messages: Sender<Message>) -> std::io::Result<Ear> {
    // The thread's own, until it ends.
    let reading = Arc::new(());
    let ear = Ear(stream.try_clone()?, reading.clone());
    std::thread::Builder::new().name("overdrive-inspect-worker".to_owned()).spawn(move || {
        let _reading = reading;
        if messages.send(Message::Joined(key, number)).is_err() {
            return;
        }
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(Ok(news)) = line.map(|line| serde_json::from_slice(&line)) else { break };
            if messages.send(Message::News(key, Box::new(news))).is_err() {
                return;
            }
        }
        // A listener that is gone has nobody to forget.
        let _ = messages.send(Message::Left(key));
    })?;
    Ok(ear)
}

/// The supervisor's end of a pair. Dropped, the thread that reads from it ends.
pub(super) struct Ear(UnixStream, Arc<()>);

impl Ear {
    /// Whether the worker's end may still say something.
    pub(super) fn is_open(&self) -> bool {
        Arc::strong_count(&self.1) > 1
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        // Closed by the other side already, most often.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

const PATIENCE: Duration = Duration::from_secs(2);
