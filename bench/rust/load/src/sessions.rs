//! WebSockets one after the other: handshake, one echo, closing handshake, and the next; several of them at a time.

use std::io::Read;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::websocket::{self, MESSAGE, TEXT, masked};

const CLOSE: u8 = 0x88;
const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// Keeps `sessions` of them running for `span`, after a warm-up of a fifth of it; those that end within `span` count.
pub(crate) fn run(address: SocketAddr, sessions: usize, span: Duration) -> Result<String, Failure> {
    let counted_from = Instant::now() + span / 5;
    let end = counted_from + span;
    let count = move || -> Result<u64, String> {
        let mut counted = 0;
        loop {
            session(address).map_err(|failure| failure.to_string())?;
            let now = Instant::now();
            if now >= end {
                return Ok(counted);
            }
            counted += u64::from(now >= counted_from);
        }
    };
    let counted = thread::scope(|scope| {
        let threads: Vec<_> = (0..sessions).map(|_| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().expect("sessions do not panic")).sum::<Result<u64, String>>()
    })?;
    Ok(format!(r#"{{"sessions": {counted}, "seconds": {}}}"#, span.as_secs_f64()))
}

fn session(address: SocketAddr) -> Result<(), Failure> {
    let mut stream = websocket::shake_hands(address)?;
    let write = |frame: &[u8]| std::io::Write::write_all(&mut &stream, frame);
    write(&masked(TEXT, MESSAGE))?;
    let mut answer = [0; 2 + MESSAGE.len()];
    (&stream).read_exact(&mut answer)?;
    if answer[0] != TEXT || usize::from(answer[1]) != MESSAGE.len() || answer[2..] != MESSAGE[..] {
        return Err(format!("a frame that is no echo: {answer:?}").into());
    }
    write(&masked(CLOSE, &NORMAL))?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    if rest.first() != Some(&CLOSE) {
        return Err(format!("the closing handshake was answered by {rest:?}").into());
    }
    Ok(())
}
