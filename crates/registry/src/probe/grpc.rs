//! The gRPC health checking protocol, version 1: a unary call of `grpc.health.v1.Health/Check` over plain
//! HTTP/2. Its two messages are so small that they are coded here by hand.
//!
//! Sources: grpc/grpc `doc/health-checking.md`, `doc/PROTOCOL-HTTP2.md`; protobuf.dev "Encoding".

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Method, Request, header};

use super::{USER_AGENT, tcp};

/// An answer longer than this is none.
const MAX_ANSWER_BYTES: usize = 4 * 1024;
/// An answer's header list may not be longer, in bytes.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// The length of what stands before each message: a compression flag and a length of four bytes.
const PREFIX_BYTES: usize = 5;

/// Passes when the server says that `service` (empty: the server as a whole) is SERVING.
pub(crate) async fn check(address: SocketAddr, service: &str, timeout: Duration) -> Result<(), String> {
    let failed = |error: h2::Error| format!("grpc.health.v1: {}", kit::report::chain(&error));
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, USER_AGENT)
        .header("grpc-timeout", grpc_timeout(timeout))
        .body(())
        .map_err(|error| error.to_string())?;
    let stream = tcp::connect(address).await?;
    let (sender, connection) = h2::client::Builder::new()
        .max_header_list_size(MAX_HEADER_BYTES)
        .enable_push(false)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(failed)?;
    let ask = async {
        let mut sender = sender.ready().await.map_err(failed)?;
        let (response, mut body) = sender.send_request(request, false).map_err(failed)?;
        body.send_data(request_message(service), true).map_err(failed)?;
        let (head, mut answer) = response.await.map_err(failed)?.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(format!("grpc.health.v1: HTTP status {}", head.status.as_u16()));
        }
        // A call that fails at once is answered by headers alone ("Trailers-Only").
        if head.headers.contains_key("grpc-status") {
            ok_status(&head.headers, service)?;
        }
        let message = read_bounded(&mut answer).await?;
        if let Some(trailers) = answer.trailers().await.map_err(failed)? {
            ok_status(&trailers, service)?;
        } else if !head.headers.contains_key("grpc-status") {
            return Err("grpc.health.v1: an answer without `grpc-status`".to_owned());
        }
        verdict(&message, service)
    };
    // The connection moves frames as long as it is polled; when it ends, `ask` learns of it by itself.
    let drive = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        outcome = ask => outcome,
        never = drive => never,
    }
}

/// The deadline for the server: at most eight digits and a unit.
fn grpc_timeout(timeout: Duration) -> String {
    match timeout.as_millis() {
        millis @ 0..=99_999_999 => format!("{}m", millis.max(1)),
        _ => format!("{}S", timeout.as_secs().min(99_999_999)),
    }
}

/// `HealthCheckRequest { string service = 1; }` behind its prefix.
fn request_message(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0A); // field 1, length-delimited
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0); // not compressed
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

async fn read_bounded(body: &mut RecvStream) -> Result<Vec<u8>, String> {
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| format!("grpc.health.v1: {}", kit::report::chain(&error)))?;
        if message.len() + data.len() > MAX_ANSWER_BYTES {
            return Err("grpc.health.v1: the answer is too long".to_owned());
        }
        message.extend_from_slice(&data);
        let _ = body.flow_control().release_capacity(data.len());
    }
    Ok(message)
}

/// Passes when `grpc-status` says OK; else says what it says.
fn ok_status(headers: &HeaderMap, service: &str) -> Result<(), String> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let status = text("grpc-status").unwrap_or_default();
    match status.as_ref() {
        "0" => Ok(()),
        "5" => Err(format!("grpc.health.v1: the server does not know service `{service}` (NOT_FOUND)")),
        "12" => Err("the server does not implement grpc.health.v1.Health (UNIMPLEMENTED)".to_owned()),
        other => {
            let message = text("grpc-message").unwrap_or_default();
            Err(format!("grpc.health.v1: status {other} {message}"))
        }
    }
}

/// Reads `HealthCheckResponse { ServingStatus status = 1; }` behind its prefix.
fn verdict(framed: &[u8], service: &str) -> Result<(), String> {
    let garbled = || "grpc.health.v1: an answer that cannot be read".to_owned();
    let (prefix, message) = framed.split_at_checked(PREFIX_BYTES).ok_or_else(garbled)?;
    let length = prefix[1..].iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
    if prefix[0] != 0 || length != message.len() {
        return Err(garbled());
    }
    let about = if service.is_empty() { String::new() } else { format!(" for `{service}`") };
    let word = match serving_status(message).ok_or_else(garbled)? {
        1 => return Ok(()),
        0 => "UNKNOWN",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "a status nobody defined",
    };
    Err(format!("grpc.health.v1 answered {word}{about}"))
}

/// The value of field 1, 0 when it is not there; other fields are skipped. `None` when it is no protobuf.
fn serving_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        let skip = match key & 7 {
            0 => {
                let value = take_varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(take_varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(skip..)?;
    }
    Some(status)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7F) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
