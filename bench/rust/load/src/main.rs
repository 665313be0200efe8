//! Load for the benchmark, from one thread, so that the server under test has the other core to itself.
//!
//! ```text
//! load websocket 127.0.0.1:8000 CONNECTIONS SECONDS   closed loop of echoed messages
//! load sessions  127.0.0.1:8000 SESSIONS SECONDS      as many at a time: handshake, an echo, goodbye
//! load upload    127.0.0.1:8000 BYTES                 one POST of so many bytes
//! load download  127.0.0.1:8000 BYTES                 one GET of so many bytes
//! load idle      127.0.0.1:8000 CONNECTIONS           one request on each, open until stdin ends
//! ```
//!
//! The result is one line of JSON on stdout. A wrong answer of the server ends it with a message and exit code 1.

mod idle;
mod sessions;
mod transfer;
mod websocket;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// What went wrong, in words.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<String, Failure> {
    match arguments {
        ["websocket", address, connections, seconds] => {
            let seconds = Duration::try_from_secs_f64(seconds.parse()?)?;
            websocket::run(address.parse::<SocketAddr>()?, connections.parse()?, seconds)
        }
        ["sessions", address, sessions, seconds] => {
            sessions::run(address.parse()?, sessions.parse()?, Duration::try_from_secs_f64(seconds.parse()?)?)
        }
        ["upload", address, bytes] => transfer::upload(address.parse()?, bytes.parse()?),
        ["download", address, bytes] => transfer::download(address.parse()?, bytes.parse()?),
        ["idle", address, connections] => idle::run(address.parse()?, connections.parse()?),
        _ => Err("usage: load websocket|sessions ADDRESS CONNECTIONS SECONDS | load upload|download ADDRESS BYTES | \
                  load idle ADDRESS CONNECTIONS"
            .into()),
    }
}
