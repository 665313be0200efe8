//! Reads files for response bodies on a few threads of its own, as the disk would block the loop.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread;

use bytes::Bytes;
use overdrive_reactor::{Receiver, Sender, channel};

/// What is sent of a file, or beside it.
#[derive(Debug)]
pub enum FilePart {
    /// Bytes that are in no file: the heads of ranges.
    Bytes(Bytes),
    /// A range of the file, in bytes.
    Range(Range<u64>),
}

/// How the sending of a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileEnd {
    /// All of it is with the connection.
    Sent,
    /// The file ended before its parts did; the response is broken off.
    Short,
    /// It could not be read, for the reason with this number; the response is broken off.
    Failed(Option<i32>),
    /// The client has left, or [`FileStop::stop`] was called.
    Left,
}

/// Ends the sending of a file.
pub struct FileStop(Rc<Stop>);

impl FileStop {
    /// The response is broken off, unless all of it was sent.
    pub fn stop(&self) {
        self.0.is_stopped.set(true);
        let waker = self.0.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[derive(Default)]
struct Stop {
    is_stopped: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One file, read piece by piece with one piece of read-ahead.
pub(crate) struct FileReader {
    file: Arc<File>,
    /// What has not been asked for yet.
    parts: VecDeque<FilePart>,
    /// What has been asked for and not been received, in order.
    due: VecDeque<Due>,
    /// The file may end before its part.
    to_its_end: bool,
    /// Why there is nothing more to come, and the error that tells of it.
    broken: Option<(FileEnd, io::Error)>,
    /// The connection had the time to write what came before that.
    has_written: bool,
    sender: Sender<io::Result<Bytes>>,
    receiver: Receiver<io::Result<Bytes>>,
    stop: Rc<Stop>,
    /// `None` once it was told.
    on_end: Option<Box<dyn FnOnce(FileEnd)>>,
}

enum Due {
    Bytes(Bytes),
    /// This many bytes, from the thread that reads.
    Piece(usize),
}

impl FileReader {
    /// All of a file, however long it is.
    pub(crate) fn whole(file: File) -> FileReader {
        let parts = vec![FilePart::Range(0..u64::MAX)];
        let (mut reader, _) = FileReader::new(file, parts, |_| {});
        reader.to_its_end = true;
        reader
    }

    /// Parts of a file; `on_end` hears of the end, whatever it is.
    pub(crate) fn new(
        file: File,
        parts: Vec<FilePart>,
        on_end: impl FnOnce(FileEnd) + 'static,
    ) -> (FileReader, FileStop) {
        let (sender, receiver) = channel();
        let stop = Rc::new(Stop::default());
        let reader = FileReader {
            file: Arc::new(file),
            parts: parts.into(),
            due: VecDeque::new(),
            to_its_end: false,
            broken: None,
            has_written: false,
            sender,
            receiver,
            stop: stop.clone(),
            on_end: Some(Box::new(on_end)),
        };
        (reader, FileStop(stop))
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.stop.is_stopped.get() {
            self.ended(FileEnd::Left);
            return Poll::Ready(Some(Err(io::ErrorKind::Interrupted.into())));
        }
        if self.broken.is_some() && !self.has_written {
            // The error makes hyper drop what it has not written yet.
            self.has_written = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some((end, error)) = self.broken.take() {
            self.ended(end);
            return Poll::Ready(Some(Err(error)));
        }
        self.ask();
        let piece = match self.due.front_mut() {
            None => {
                self.ended(FileEnd::Sent);
                return Poll::Ready(None);
            }
            Some(Due::Bytes(bytes)) => std::mem::take(bytes),
            Some(Due::Piece(wanted)) => {
                let wanted = *wanted;
                let Poll::Ready(read) = self.receiver.poll_receive(cx) else {
                    *self.stop.waker.borrow_mut() = Some(cx.waker().clone());
                    return Poll::Pending;
                };
                match read.expect("the reader holds a sender itself") {
                    Ok(piece) if piece.len() == wanted => piece,
                    Ok(piece) if self.to_its_end => {
                        self.parts.clear();
                        self.due.clear();
                        self.ended(FileEnd::Sent);
                        return Poll::Ready(Some(Ok(piece)).filter(|piece| !piece.as_ref().is_ok_and(Bytes::is_empty)));
                    }
                    // What there is of it goes out before the end.
                    Ok(piece) => {
                        self.broken = Some((FileEnd::Short, io::ErrorKind::UnexpectedEof.into()));
                        match piece.is_empty() {
                            true => return self.poll_chunk(cx),
                            false => return Poll::Ready(Some(Ok(piece))),
                        }
                    }
                    Err(error) => {
                        self.broken = Some((FileEnd::Failed(error.raw_os_error()), error));
                        return self.poll_chunk(cx);
                    }
                }
            }
        };
        self.due.pop_front();
        if self.due.is_empty() && self.parts.is_empty() {
            // A response of known length is not asked for more.
            self.ended(FileEnd::Sent);
        }
        Poll::Ready(Some(Ok(piece)))
    }

    /// Has what comes next read, as far ahead as is allowed.
    fn ask(&mut self) {
        let mut reading = self.due.iter().filter(|due| matches!(due, Due::Piece(_))).count();
        while reading < READ_AHEAD {
            match self.parts.pop_front() {
                None => return,
                Some(FilePart::Bytes(bytes)) => self.due.push_back(Due::Bytes(bytes)),
                Some(FilePart::Range(range)) if range.is_empty() => {}
                Some(FilePart::Range(range)) => {
                    let size = (range.end - range.start).min(PIECE);
                    submit(Job { file: self.file.clone(), offset: range.start, size, answer: self.sender.clone() });
                    self.due.push_back(Due::Piece(usize::try_from(size).expect("a piece fits the memory")));
                    if range.start + size < range.end {
                        self.parts.push_front(FilePart::Range(range.start + size..range.end));
                    }
                    reading += 1;
                }
            }
        }
    }

    fn ended(&mut self, end: FileEnd) {
        if let Some(on_end) = self.on_end.take() {
            on_end(end);
        }
    }
}

impl Drop for FileReader {
    fn drop(&mut self) {
        self.ended(FileEnd::Left);
    }
}

struct Job {
    file: Arc<File>,
    offset: u64,
    size: u64,
    answer: Sender<io::Result<Bytes>>,
}

impl Job {
    fn run(self) {
        let size = usize::try_from(self.size).expect("a piece fits the memory");
        let mut piece = vec![0; size];
        let mut filled = 0;
        while filled < size {
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

const PIECE: u64 = 256 * 1024;
const READ_AHEAD: usize = 2;
const READERS: usize = 4;
