//! The smallest service there can be: answers every request with 200. The figures measured with it are
//! Atoll's own, not those of a program that takes its time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::Context;

/// How the binary is told to be the service; nothing for people.
pub(crate) const VERB: &str = "__serve";

/// A request head longer than this closes the connection, in bytes.
const MAX_HEAD: u64 = 64 << 10;

/// What it answers.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n";

/// Stacks of threads that only read and write.
const STACK: usize = 64 << 10;

/// Serves on `HOST` and `PORT` until a signal ends the process.
pub(crate) fn run() -> anyhow::Result<()> {
    let host = std::env::var("HOST").unwrap_or_else(|_| "127.0.0.1".into());
    let port: u16 = std::env::var("PORT").context("PORT is not set")?.parse().context("PORT")?;
    let listener = TcpListener::bind((host.as_str(), port)).with_context(|| format!("listen on {port}"))?;
    serve(&listener)
}

/// Serves every connection on a thread of its own.
pub(crate) fn serve(listener: &TcpListener) -> anyhow::Result<()> {
    for connection in listener.incoming() {
        let Ok(connection) = connection else { continue };
        // A connection that breaks is its client's business.
        let serve = move || drop(answer(connection));
        std::thread::Builder::new().stack_size(STACK).spawn(serve)?;
    }
    Ok(())
}

/// Answers requests on one connection until it is closed.
fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut input = BufReader::new(connection.try_clone()?);
    loop {
        let Some(request) = read_head(&mut input)? else { return Ok(()) };
        std::io::copy(&mut input.by_ref().take(request.body), &mut std::io::sink())?;
        connection.write_all(ANSWER)?;
        if request.close {
            return Ok(());
        }
    }
}

/// What matters of a request's head.
struct Request {
    /// Bytes of body to skip.
    body: u64,
    /// The client wants no other exchange on this connection.
    close: bool,
}

/// Reads a head; `None` at the end of the connection. Bodies in chunks are not for this server.
fn read_head(input: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut input = input.take(MAX_HEAD);
    let mut request = Request { body: 0, close: false };
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.split_once(':') else {
            if line.trim().is_empty() {
                return Ok(Some(request));
            }
            request.close = line.trim_end().ends_with("HTTP/1.0");
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => request.body = value.trim().parse().unwrap_or_default(),
            "connection" => request.close = value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_requests_on_one_connection_are_answered_and_bodies_skipped() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = std::thread::spawn(move || answer(listener.accept().unwrap().0));
        client
            .write_all(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).unwrap();
        assert_eq!(answers, ANSWER.repeat(2));
        server.join().unwrap().unwrap();
    }
}
