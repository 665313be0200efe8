//! Reads files for response bodies on a few threads of its own, as the disk would block the loop.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use overdrive_reactor::{Receiver, Sender, channel};

/// One file, read piece by piece with one piece of read-ahead.
pub(crate) struct FileReader {
    file: Arc<File>,
    offset: u64,
    /// Pieces asked for and not received.
    outstanding: usize,
    ended: bool,
    sender: Sender<io::Result<Bytes>>,
    receiver: Receiver<io::Result<Bytes>>,
}

impl FileReader {
    pub(crate) fn new(file: File) -> FileReader {
        let (sender, receiver) = channel();
        FileReader { file: Arc::new(file), offset: 0, outstanding: 0, ended: false, sender, receiver }
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        while self.outstanding < READ_AHEAD {
            let job = Job { file: self.file.clone(), offset: self.offset, answer: self.sender.clone() };
            self.offset += PIECE as u64;
            self.outstanding += 1;
            submit(job);
        }
        match self.receiver.poll_receive(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => unreachable!("the reader holds a sender itself"),
            Poll::Ready(Some(Ok(piece))) => {
                self.outstanding -= 1;
                self.ended = piece.len() < PIECE;
                Poll::Ready(Some(Ok(piece)).filter(|piece| !piece.as_ref().is_ok_and(Bytes::is_empty)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.ended = true;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

struct Job {
    file: Arc<File>,
    offset: u64,
    answer: Sender<io::Result<Bytes>>,
}

impl Job {
    fn run(self) {
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        while filled < PIECE {
            match self.file.read_at(&mut piece[filled..], self.offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let _ = self.answer.send(Err(error));
                    return;
                }
            }
        }
        piece.truncate(filled);
        // An error: the response was given up meanwhile.
        let _ = self.answer.send(Ok(piece.into()));
    }
}

/// Pieces of one file are read in order, as each file stays with one thread.
fn submit(job: Job) {
    static THREADS: OnceLock<Vec<Mutex<mpsc::Sender<Job>>>> = OnceLock::new();
    let threads = THREADS.get_or_init(|| (0..READERS).map(|_| Mutex::new(start_reader())).collect());
    let place = Arc::as_ptr(&job.file) as usize / 64 % READERS;
    let sender = threads[place].lock().expect("no code panics while holding it");
    if let Err(mpsc::SendError(job)) = sender.send(job) {
        let _ = job.answer.send(Err(io::Error::other("no thread could be started to read files")));
    }
}

fn start_reader() -> mpsc::Sender<Job> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let run = move || jobs.into_iter().for_each(Job::run);
    // Without a thread the channel is closed, and `submit` says so.
    let _ = thread::Builder::new().name("overdrive-file".into()).stack_size(128 * 1024).spawn(run);
    sender
}

const PIECE: usize = 256 * 1024;
const READ_AHEAD: usize = 2;
const READERS: usize = 4;
