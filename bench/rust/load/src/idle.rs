//! Many keep-alive connections that say nothing: one request on each, then silence.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::Failure;
use crate::transfer::{Answer, connect};

/// Opens `connections`, fetches `/json` once on each and prints `open`. When standard input ends, fetches it again on
/// each, so that memory a server saves by closing connections is a failure and no saving.
pub(crate) fn run(address: SocketAddr, connections: usize) -> Result<String, Failure> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = connect(address)?;
        fetch(&mut stream, address)?;
        open.push(stream);
    }
    println!("open");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    for stream in &mut open {
        fetch(stream, address)?;
    }
    Ok(format!(r#"{{"connections": {connections}}}"#))
}

fn fetch(stream: &mut TcpStream, address: SocketAddr) -> Result<(), Failure> {
    write!(stream, "GET /json HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut answer = Answer::read_head(&mut reader)?;
    while answer.block(|_| ())? {}
    Ok(())
}
