//! What the load clients have in common: their arguments, one request in HTTP/1.1, and the reading of its answer's head.

use std::fmt::Display;
use std::str::FromStr;

use tokio::io::{self, AsyncReadExt};
use tokio::net::TcpStream;

/// The argument at `index`, or an error that repeats `usage`.
pub fn argument<T: FromStr>(index: usize, usage: &str) -> Result<T, String>
where
    T::Err: Display,
{
    let word = std::env::args().nth(index).ok_or(format!("usage: {usage}"))?;
    word.parse().map_err(|error| format!("{word:?}: {error}; usage: {usage}"))
}

/// Reads the head of a response.
///
/// Returns it as text, with whatever of the body came along. Anything but `status` is an error.
pub async fn read_head(stream: &mut TcpStream, status: u16) -> io::Result<(String, Vec<u8>)> {
    let mut received = Vec::with_capacity(4096);
    let end = loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let rest = received.split_off(end);
    let head = String::from_utf8_lossy(&received).into_owned();
    if !head.starts_with(&format!("HTTP/1.1 {status} ")) {
        return Err(io::Error::other(format!("not the expected answer: {head}")));
    }
    Ok((head, rest))
}

/// The value of the header `name`, given in lower case.
pub fn header<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
