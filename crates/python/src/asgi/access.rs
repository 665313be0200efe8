//! The access log.
//!
//! A line through `logging` costs several times what the request does. While the access logger has its default handler,
//! whose output is known, lines are formatted here and written by a thread, in batches; as soon as it has anything else,
//! each line goes through `logging` at its own price. `overdrive.logging.fast_access_stream` decides, ten times a second.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write;
use std::os::fd::RawFd;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use pyo3::prelude::*;

use crate::host::ffi::with_descriptor;

/// One engine's access log.
pub(crate) struct AccessLog {
    logger: Py<PyAny>,
    /// `overdrive.logging.fast_access_stream`
    find_stream: Py<PyAny>,
    checked: Cell<Option<Instant>>,
    direct: RefCell<Option<Direct>>,
}

/// What a line is made from.
pub(crate) struct Entry<'a> {
    /// `host:port`, empty for a Unix socket.
    pub(crate) client: &'a str,
    pub(crate) method: &'a str,
    /// The decoded path, root path included.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    /// "1.1"
    pub(crate) version: &'a str,
    pub(crate) status: StatusCode,
    pub(crate) phrase: &'a str,
}

impl AccessLog {
    pub(crate) fn new(py: Python<'_>) -> PyResult<AccessLog> {
        let logger = py.import("logging")?.call_method1("getLogger", ("overdrive.access",))?.unbind();
        let find_stream = py.import("overdrive.logging")?.getattr("fast_access_stream")?.unbind();
        Ok(AccessLog { logger, find_stream, checked: Cell::new(None), direct: RefCell::default() })
    }

    pub(crate) fn log(&self, py: Python<'_>, entry: &Entry<'_>, now: Instant) {
        if let Err(error) = self.try_log(py, entry, now) {
            error.write_unraisable(py, None);
        }
    }

    /// Writes what is left and ends the thread.
    pub(crate) fn close(&self) {
        self.direct.take();
    }

    fn try_log(&self, py: Python<'_>, entry: &Entry<'_>, now: Instant) -> PyResult<()> {
        if self.checked.get().is_none_or(|checked| now.duration_since(checked) >= RECHECK) {
            self.checked.set(Some(now));
            self.check(py)?;
        }
        if let Some(direct) = &*self.direct.borrow() {
            direct.write(entry);
            return Ok(());
        }
        let path = quoted(entry.path);
        let path = match entry.query {
            Some(query) if !query.is_empty() => format!("{path}?{query}"),
            _ => path.to_string(),
        };
        let arguments =
            ("%s - \"%s %s HTTP/%s\" %d", entry.client, entry.method, path, entry.version, entry.status.as_u16());
        self.logger.bind(py).call_method1(pyo3::intern!(py, "info"), arguments)?;
        Ok(())
    }

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let found: Option<(RawFd, bool)> = self.find_stream.bind(py).call1((self.logger.bind(py),))?.extract()?;
        let current = self.direct.borrow().as_ref().map(|direct| (direct.fd, direct.colors));
        if found != current {
            // The old one first: its destructor writes what it has, so that the order of lines stays.
            self.direct.take();
            let direct = found.and_then(|(fd, colors)| Direct::open(fd, colors));
            self.direct.replace(direct);
        }
        Ok(())
    }
}

/// Lines on their way to a descriptor.
struct Direct {
    fd: RawFd,
    colors: bool,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    filled: Condvar,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Lines that found no room, as nobody reads the other end.
    lost: usize,
    closed: bool,
}

impl Direct {
    /// `None` when the descriptor is closed or no thread can be had: then `logging` has its way.
    fn open(fd: RawFd, colors: bool) -> Option<Direct> {
        if fd < 0 {
            return None;
        }
        let file = File::from(with_descriptor(fd, |fd| fd.try_clone_to_owned()).ok()?);
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let writer = thread::Builder::new()
            .name("overdrive-access-log".into())
            .stack_size(128 * 1024)
            .spawn(move || write_batches(&theirs, file))
            .ok()?;
        Some(Direct { fd, colors, shared, writer: Some(writer) })
    }

    fn write(&self, entry: &Entry<'_>) {
        let mut buffer = self.shared.buffer.lock().expect("no code panics while holding it");
        if buffer.bytes.len() > BUFFER_LIMIT {
            buffer.lost += 1;
            return;
        }
        let was_empty = buffer.bytes.is_empty();
        format_line(&mut buffer.bytes, entry, self.colors);
        if was_empty {
            self.shared.filled.notify_one();
        }
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.shared.buffer.lock().expect("no code panics while holding it").closed = true;
        self.shared.filled.notify_one();
        if let Some(writer) = self.writer.take() {
            // It may hang on a pipe that nobody reads; then so did `logging`.
            let _ = writer.join();
        }
    }
}

fn write_batches(shared: &Shared, mut file: File) {
    loop {
        let mut buffer = shared.buffer.lock().expect("no code panics while holding it");
        while buffer.bytes.is_empty() && !buffer.closed {
            buffer = shared.filled.wait(buffer).expect("no code panics while holding it");
        }
        if !buffer.closed {
            // Lets a batch come together: a wake-up and a write for each line would cost more than the line.
            drop(buffer);
            thread::sleep(BATCH);
            buffer = shared.buffer.lock().expect("no code panics while holding it");
        }
        let closed = buffer.closed;
        let mut bytes = std::mem::take(&mut buffer.bytes);
        let lost = std::mem::take(&mut buffer.lost);
        drop(buffer);
        if lost > 0 {
            let _ = writeln!(bytes, "WARNING:  {lost} access log lines were dropped, as nobody reads the log");
        }
        // Without a reader there is nobody to tell.
        let _ = file.write_all(&bytes);
        if closed {
            return;
        }
    }
}

/// The line that `overdrive.logging.AccessFormatter` would make.
fn format_line(line: &mut Vec<u8>, entry: &Entry<'_>, colors: bool) {
    let Entry { client, method, path, query, version, status, phrase } = entry;
    let path = quoted(path);
    let (question, query) = match query {
        Some(query) if !query.is_empty() => ("?", *query),
        _ => ("", ""),
    };
    let code = status.as_u16();
    let written = if colors {
        let color = match code {
            100..=199 => "\x1b[97m",
            200..=299 => "\x1b[32m",
            300..=399 => "\x1b[33m",
            400..=499 => "\x1b[31m",
            _ => "\x1b[91m",
        };
        writeln!(
            line,
            "\x1b[32mINFO\x1b[0m:     {client} - \"\x1b[1m{method} {path}{question}{query} HTTP/{version}\x1b[0m\" \
             {color}{code} {phrase}\x1b[0m"
        )
    } else {
        writeln!(line, "INFO:     {client} - \"{method} {path}{question}{query} HTTP/{version}\" {code} {phrase}")
    };
    written.expect("writing into memory does not fail");
}

/// As Python's `urllib.parse.quote` with its default `safe`.
pub(super) fn quoted(path: &str) -> PercentEncode<'_> {
    utf8_percent_encode(path, QUOTED)
}

const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b'/');
const RECHECK: Duration = Duration::from_millis(100);
const BATCH: Duration = Duration::from_millis(10);
const BUFFER_LIMIT: usize = 4 << 20;
