//! `GET path` over a connection of its own: 2xx and 3xx pass.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;

use super::{USER_AGENT, tcp};

/// An answer's head may not be longer, in bytes.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Of the body this much is read before the connection closes, so that a server that writes a short one
/// does not see a reset. What it says does not matter.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// And for no longer than this.
const BODY_PATIENCE: Duration = Duration::from_millis(100);

/// Passes when `GET path` answers 2xx or 3xx.
pub(crate) async fn check(address: SocketAddr, path: &str) -> Result<(), String> {
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .ok()
        .filter(|_| path.starts_with('/'))
        .ok_or_else(|| format!("`{path}` is not a path such as `/healthz`"))?;
    let stream = tcp::connect(address).await?;
    let failed = |error: hyper::Error| format!("GET {path}: {}", kit::report::chain(&error));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let ask = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let _ = tokio::time::timeout(BODY_PATIENCE, skim(response.into_body())).await;
        if status.is_success() || status.is_redirection() {
            return Ok(());
        }
        Err(format!("GET {path} answered {}", status.as_u16()))
    };
    // The connection moves bytes as long as it is polled; when it ends, `ask` learns of it by itself.
    let drive = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        outcome = ask => outcome,
        never = drive => never,
    }
}

/// Reads a bounded part of a body and forgets it.
async fn skim(mut body: Incoming) {
    let mut left = MAX_BODY_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        if length >= left {
            return;
        }
        left -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Checks a server that answers whatever it is asked with `answer` and then closes; returns what the
    /// check said and what the server was asked.
    async fn ask(answer: &[u8]) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                asked.push(byte[0]);
            }
            let _ = stream.write_all(answer).await;
            String::from_utf8(asked).unwrap().replace(&address.to_string(), "ADDRESS")
        };
        tokio::join!(check(address, "/healthz?deep=1"), serve)
    }

    #[tokio::test]
    async fn the_request_is_a_plain_get_that_names_itself() {
        let (outcome, asked) = ask(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(outcome, Ok(()));
        let lines: Vec<_> = asked.trim_end().split("\r\n").collect();
        let expected = [
            "GET /healthz?deep=1 HTTP/1.1",
            "host: ADDRESS",
            "user-agent: atoll-health",
            "accept: */*",
            "connection: close",
        ];
        assert_eq!(lines, expected);
    }

    #[tokio::test]
    async fn two_hundreds_and_three_hundreds_pass_and_others_name_their_status() {
        for (status, passes) in [(200, true), (302, true), (404, false), (500, false), (503, false)] {
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nno");
            let (outcome, _) = ask(answer.as_bytes()).await;
            let expected =
                if passes { Ok(()) } else { Err(format!("GET /healthz?deep=1 answered {status}")) };
            assert_eq!(outcome, expected);
        }
    }

    #[tokio::test]
    async fn a_body_without_end_does_not_keep_the_check() {
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        answer.resize(2 * 1024 * 1024, b'x');
        assert_eq!(ask(&answer).await.0, Ok(()));
    }

    #[tokio::test]
    async fn no_answer_and_a_bad_answer_are_told_in_words() {
        let (silent, _) = ask(b"").await;
        assert_eq!(silent.unwrap_err(), "GET /healthz?deep=1: connection closed before message completed");
        let (garbled, _) = ask(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        assert!(garbled.unwrap_err().starts_with("GET /healthz?deep=1: invalid HTTP"));
    }

    #[tokio::test]
    async fn a_text_that_is_not_a_path_is_refused_before_anything_is_sent() {
        let nowhere = "127.0.0.1:1".parse().unwrap();
        for path in ["healthz", "", "/a b", "http://x/"] {
            assert!(check(nowhere, path).await.unwrap_err().contains("is not a path"), "{path}");
        }
    }
}
