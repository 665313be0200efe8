//! One large body up or down a single connection, checked to the byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Failure;

/// Written and read at once. Larger ones leave the processor's cache, smaller ones cost more system calls.
const BLOCK: usize = 256 * 1024;

/// Longest wait for the server to move; a transfer that hangs is a failure, not a long measurement.
const STALLED: Duration = Duration::from_secs(30);

/// Sends `bytes` bytes to `/upload`, whose answer must be their number in digits.
pub(crate) fn upload(address: SocketAddr, bytes: u64) -> Result<String, Failure> {
    let mut stream = connect(address)?;
    let block = vec![b'x'; BLOCK];
    let started = Instant::now();
    write!(
        stream,
        "POST /upload HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {bytes}\r\n\r\n"
    )?;
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        stream.write_all(&block[..now])?;
        left -= now as u64;
    }
    let mut reader = BufReader::with_capacity(BLOCK, stream);
    let mut answer = Answer::read_head(&mut reader)?;
    let mut counted = String::new();
    while answer.block(|data| counted.push_str(&String::from_utf8_lossy(data)))? {}
    if counted != bytes.to_string() {
        return Err(format!("the server counted {counted:?} of {bytes} bytes").into());
    }
    Ok(result(bytes, started.elapsed()))
}

/// Fetches `/download?bytes=…` and counts what comes.
pub(crate) fn download(address: SocketAddr, bytes: u64) -> Result<String, Failure> {
    let mut stream = connect(address)?;
    let started = Instant::now();
    write!(stream, "GET /download?bytes={bytes} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut reader = BufReader::with_capacity(BLOCK, stream);
    let mut answer = Answer::read_head(&mut reader)?;
    let mut received = 0;
    while answer.block(|data| received += data.len() as u64)? {}
    if received != bytes {
        return Err(format!("{received} of {bytes} bytes came").into());
    }
    Ok(result(bytes, started.elapsed()))
}

pub(crate) fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALLED))?;
    stream.set_write_timeout(Some(STALLED))?;
    Ok(stream)
}

fn result(bytes: u64, elapsed: Duration) -> String {
    format!(r#"{{"bytes": {bytes}, "seconds": {}}}"#, elapsed.as_secs_f64())
}

/// The body of a 200 answer, as it comes in.
pub(crate) struct Answer<'a> {
    reader: &'a mut BufReader<TcpStream>,
    /// What is left of the body, or of the current chunk.
    left: u64,
    chunked: bool,
}

impl<'a> Answer<'a> {
    pub(crate) fn read_head(reader: &'a mut BufReader<TcpStream>) -> Result<Self, Failure> {
        let status = line(reader)?;
        if !status.starts_with("HTTP/1.1 200 ") {
            return Err(format!("the answer was {status:?}").into());
        }
        let (mut length, mut chunked) = (None, false);
        loop {
            let header = line(reader)?.to_ascii_lowercase();
            match header.split_once(':') {
                Some(("content-length", value)) => length = Some(value.trim().parse()?),
                Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
                Some(_) => {}
                None if header.is_empty() => break,
                None => return Err(format!("{header:?} is no header").into()),
            }
        }
        let left = match (chunked, length) {
            (true, None) => chunk_size(reader)?,
            (false, Some(length)) => length,
            (true, Some(_)) => return Err("the answer has both a length and chunks".into()),
            (false, None) => return Err("the answer has neither a length nor chunks".into()),
        };
        Ok(Self { reader, left, chunked })
    }

    /// Hands the next piece of the body to `take`; false at its end.
    pub(crate) fn block(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool, Failure> {
        if self.left == 0 {
            return Ok(false);
        }
        let data = self.reader.fill_buf()?;
        if data.is_empty() {
            return Err("the server closed in the middle of the body".into());
        }
        let now = usize::try_from(self.left).map_or(data.len(), |left| left.min(data.len()));
        take(&data[..now]);
        self.reader.consume(now);
        self.left -= now as u64;
        if self.chunked && self.left == 0 {
            self.end_chunk()?;
            self.left = chunk_size(self.reader)?;
            if self.left == 0 {
                self.end_chunk()?; // no trailers were asked for
            }
        }
        Ok(true)
    }

    fn end_chunk(&mut self) -> Result<(), Failure> {
        let mut end = [0; 2];
        self.reader.read_exact(&mut end)?;
        if end == *b"\r\n" { Ok(()) } else { Err("a chunk is longer than it said".into()) }
    }
}

fn chunk_size(reader: &mut BufReader<TcpStream>) -> Result<u64, Failure> {
    let size = line(reader)?;
    u64::from_str_radix(&size, 16).map_err(|_| format!("{size:?} is no chunk size").into())
}

fn line(reader: &mut BufReader<TcpStream>) -> Result<String, Failure> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(content) => Ok(content.to_owned()),
        None => Err("the server closed in the middle of a line".into()),
    }
}
