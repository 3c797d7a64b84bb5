//! Plain HTTP on a port that speaks TLS: told so in words (nginx calls it status 497), not with an alert
//! that a client shows as "connection reset".

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::respond;

/// How long is waited for the client to see the answer and close.
const LINGER: Duration = Duration::from_millis(500);
/// Bytes of the request that are read meanwhile: closing with some unread would reset the connection and
/// could destroy the answer (RFC 9112 §9.6).
const LINGER_BYTES: usize = 64 * 1024;

/// Whether a connection that begins with this byte is going to be HTTP: methods are of letters.
pub(super) fn looks_like_http(first: u8) -> bool {
    first.is_ascii_alphabetic()
}

/// Answers whatever is asked with 400, and closes.
pub(super) async fn answer(mut stream: TcpStream) {
    let telling = async {
        stream.write_all(&respond::plain_on_tls()).await?;
        stream.shutdown().await?;
        let mut waste = [0; 1024];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match stream.read(&mut waste).await? {
                0 => break,
                bytes => left = left.saturating_sub(bytes),
            }
        }
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(LINGER, telling).await; // a client that left does not want to know
}
