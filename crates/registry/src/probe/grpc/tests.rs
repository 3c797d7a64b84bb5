use http::Response;
use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// How the small server answers.
#[derive(Clone, Copy)]
enum Answer {
    /// A message and `grpc-status: 0` in trailers.
    Message(&'static [u8]),
    /// Headers alone, with this `grpc-status`.
    TrailersOnly(&'static str),
    /// Plain HTTP.
    Http(u16),
}

/// Checks an HTTP/2 server that answers one call; returns what the check said and what the server was asked.
async fn ask(service: &str, answer: Answer) -> (Result<(), String>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, mut was_asked) = tokio::sync::mpsc::channel(1);
    let serve = async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (mut request, mut respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.headers()["grpc-timeout"], "5000m");
        let exchange = async {
            let mut body = Vec::new();
            while let Some(data) = request.body_mut().data().await {
                body.extend_from_slice(&data.unwrap());
            }
            asked.send(body).await.unwrap();
            let head = Response::builder().header("content-type", "application/grpc");
            match answer {
                Answer::Http(status) => {
                    respond.send_response(head.status(status).body(()).unwrap(), true).unwrap();
                }
                Answer::TrailersOnly(status) => {
                    let head = head.header("grpc-status", status).header("grpc-message", "so it is");
                    respond.send_response(head.body(()).unwrap(), true).unwrap();
                }
                Answer::Message(message) => {
                    let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
                    stream.send_data(Bytes::from_static(message), false).unwrap();
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    stream.send_trailers(trailers).unwrap();
                }
            }
        };
        tokio::join!(exchange, async { while connection.accept().await.is_some() {} });
    };
    let (outcome, ()) = tokio::join!(check(address, service, LIMIT), serve);
    (outcome, was_asked.recv().await.unwrap())
}

#[tokio::test]
async fn serving_passes_and_the_server_is_asked_about_the_service() {
    let (outcome, asked) = ask("shop.Cart", Answer::Message(b"\0\0\0\0\x02\x08\x01")).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(asked, b"\0\0\0\0\x0b\x0a\x09shop.Cart");
    let (outcome, asked) = ask("", Answer::Message(b"\0\0\0\0\x02\x08\x01")).await;
    assert_eq!((outcome, asked.as_slice()), (Ok(()), b"\0\0\0\0\0".as_slice()));
}

#[tokio::test]
async fn anything_but_serving_fails_and_says_so() {
    for (service, answer, expected) in [
        ("", Answer::Message(b"\0\0\0\0\x02\x08\x02"), "grpc.health.v1 answered NOT_SERVING"),
        ("a", Answer::Message(b"\0\0\0\0\x02\x08\x03"), "grpc.health.v1 answered SERVICE_UNKNOWN for `a`"),
        ("", Answer::Message(b"\0\0\0\0\0"), "grpc.health.v1 answered UNKNOWN"),
        ("", Answer::Message(b"\0\0\0\0\x09\x08\x01"), "grpc.health.v1: an answer that cannot be read"),
        ("", Answer::Message(b""), "grpc.health.v1: an answer that cannot be read"),
        ("a", Answer::TrailersOnly("5"), "grpc.health.v1: the server does not know service `a` (NOT_FOUND)"),
        (
            "",
            Answer::TrailersOnly("12"),
            "the server does not implement grpc.health.v1.Health (UNIMPLEMENTED)",
        ),
        ("", Answer::TrailersOnly("14"), "grpc.health.v1: status 14 so it is"),
        ("", Answer::Http(404), "grpc.health.v1: HTTP status 404"),
    ] {
        assert_eq!(ask(service, answer).await.0.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn a_server_that_speaks_something_else_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    };
    let (outcome, ()) = tokio::join!(check(address, "", LIMIT), serve);
    assert!(outcome.unwrap_err().starts_with("grpc.health.v1: "));
}

#[test]
fn unknown_fields_are_skipped_and_the_last_status_wins() {
    assert_eq!(serving_status(b""), Some(0));
    assert_eq!(serving_status(b"\x08\x02\x08\x01"), Some(1));
    assert_eq!(serving_status(b"\x12\x03abc\x19\0\0\0\0\0\0\0\0\x25\0\0\0\0\x08\x01"), Some(1));
    assert_eq!(serving_status(b"\x12\x7fabc"), None);
    assert_eq!(serving_status(b"\x0b"), None);
}

#[test]
fn a_deadline_is_at_most_eight_digits_and_a_unit() {
    assert_eq!(grpc_timeout(Duration::ZERO), "1m");
    assert_eq!(grpc_timeout(Duration::from_millis(1500)), "1500m");
    assert_eq!(grpc_timeout(Duration::from_secs(200_000)), "200000S");
}

proptest! {
    #[test]
    fn whatever_the_answer_is_reading_it_ends(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = verdict(&bytes, "x");
        let _ = serving_status(&bytes);
    }

    #[test]
    fn a_number_reads_back_as_written(value in any::<u64>()) {
        let mut written = BytesMut::new();
        put_varint(&mut written, value);
        prop_assert_eq!(take_varint(&mut &written[..]), Some(value));
    }
}
