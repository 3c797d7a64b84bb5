//! TLS at the gateway, with real handshakes.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::*;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::tls::CertifiedChain;
use proxy::{Entrance, Limits, Listener};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate that has signed itself.
struct Made {
    pem: String,
    key: String,
}

fn made(names: &[&str]) -> Made {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Made {
        pem: CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

impl Made {
    fn chain(&self) -> CertifiedChain {
        CertifiedChain::from_pem(self.pem.as_bytes(), self.key.as_bytes()).unwrap()
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }
}

/// A gateway with TLS in front of one `web`.
struct Edge {
    harness: Harness,
    address: SocketAddr,
}

async fn edge(upstream: SocketAddr, certificates: &[&Made], limits: Limits) -> Edge {
    let harness = Harness::with(&web(&["/{*rest}"], PATIENCE), limits).await;
    harness.ready("web", &[upstream]);
    harness.proxy.certificates().replace(certificates.iter().map(|made| made.chain()).collect());
    let secure = Listener { address: ([127, 0, 0, 1], 0).into(), entrance: Entrance::Gateway, tls: true };
    assert!(harness.proxy.listen(vec![secure.clone()]).await.is_empty());
    let address = harness.proxy.addresses().into_iter().find(|(listener, _)| *listener == secure).unwrap().1;
    Edge { harness, address }
}

/// What a client trusts and offers.
fn config(
    trusted: &[&Made],
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for made in trusted {
        roots.add(made.der()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn usual(trusted: &[&Made]) -> Arc<ClientConfig> {
    config(trusted, rustls::ALL_VERSIONS, &["http/1.1"])
}

impl Edge {
    async fn try_connect(
        &self,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        within(TlsConnector::from(Arc::clone(config)).connect(name, stream)).await
    }

    async fn connect(&self, config: &Arc<ClientConfig>, name: &str) -> TlsStream<TcpStream> {
        self.try_connect(config, name).await.unwrap()
    }
}

/// One request over HTTP/1.1 on a connection that stays open; the body of the answer.
async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    within(stream.read_exact(&mut body)).await.unwrap();
    String::from_utf8(body).unwrap()
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn tls_1_2_and_1_3_carry_requests_and_the_service_learns_that_it_was_https() {
    let shop = made(&["shop.test"]);
    let edge = edge(Server::mirror().await.address, &[&shop], Limits::default()).await;
    for (index, (version, protocol, text)) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2, "TLSv1.2"),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3, "TLSv1.3"),
    ]
    .into_iter()
    .enumerate()
    {
        let config = config(&[&shop], &[version], &["http/1.1"]);
        let mut stream = edge.connect(&config, "shop.test").await;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(protocol));
        let seen = get(&mut stream, "/books").await;
        assert!(seen.contains("x-forwarded-proto: https\n"), "{seen}");
        assert!(seen.contains("x-forwarded-host: shop.test\n"), "{seen}");
        let again = get(&mut stream, "/again").await; // the connection is kept
        assert!(again.starts_with("GET /again\n"), "{again}");
        let record = edge.harness.records.nth(index * 2 + 1).await;
        let session = record.tls.unwrap();
        assert_eq!((session.version(), session.server_name()), (text, Some("shop.test")));
        assert!(session.cipher().starts_with("TLS") && !session.is_http2(), "{session:?}");
    }
    let stats = edge.harness.proxy.stats();
    assert_eq!((stats.handshakes, stats.handshakes_failed), (2, 0));
}

#[tokio::test]
async fn http2_is_agreed_on_by_alpn() {
    let shop = made(&["shop.test"]);
    let edge = edge(Server::saying("hello").await.address, &[&shop], Limits::default()).await;
    let config = config(&[&shop], rustls::ALL_VERSIONS, &["h2", "http/1.1"]);
    let stream = edge.connect(&config, "shop.test").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    go(async { _ = connection.await });
    let asked = (0..10).map(|_| {
        let request = Request::get("https://shop.test/").body(Full::<Bytes>::default()).unwrap();
        sender.send_request(request)
    });
    for answer in within(futures_util::future::join_all(asked)).await {
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
    }
    assert!(edge.harness.records.nth(1).await.tls.unwrap().is_http2());
}

#[tokio::test]
async fn who_offers_both_without_h2_first_or_nothing_at_all_is_served_too() {
    let shop = made(&["shop.test"]);
    let edge = edge(Server::saying("hello").await.address, &[&shop], Limits::default()).await;
    for (offered, agreed) in [(&["http/1.1", "spdy/3"][..], Some(&b"http/1.1"[..])), (&[], None)] {
        let mut stream = edge.connect(&config(&[&shop], rustls::ALL_VERSIONS, offered), "shop.test").await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
        assert_eq!(get(&mut stream, "/").await, "hello");
    }
}

#[tokio::test]
async fn protocols_that_nobody_here_speaks_are_refused_with_their_alert() {
    let shop = made(&["shop.test"]);
    let edge = edge(nowhere().await, &[&shop], Limits::default()).await;
    let config = config(&[&shop], rustls::ALL_VERSIONS, &["spdy/3", "http/1.0"]);
    let error = edge.try_connect(&config, "shop.test").await.unwrap_err();
    let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    assert_eq!(alert, Some(&rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
    until("it is counted", || edge.harness.proxy.stats().handshakes_failed == 1).await;
}

#[tokio::test]
async fn the_name_that_is_asked_for_chooses_the_certificate() {
    let (first, shop, wild) = (made(&["first.test"]), made(&["shop.test"]), made(&["*.shop.test"]));
    let edge = edge(Server::saying("hello").await.address, &[&first, &shop, &wild], Limits::default()).await;
    let config = usual(&[&first, &shop, &wild]);
    for (name, made) in [("first.test", &first), ("shop.test", &shop), ("www.shop.test", &wild)] {
        let mut stream = edge.connect(&config, name).await;
        assert_eq!(shown(&stream), made.der());
        assert_eq!(get(&mut stream, "/").await, "hello");
    }
    // An address is no server name: the first certificate is shown, which is not for it.
    let error = edge.try_connect(&config, "127.0.0.1").await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_open_ones_go_on() {
    let (old, new) = (made(&["shop.test"]), made(&["shop.test"]));
    let edge = edge(Server::saying("hello").await.address, &[&old], Limits::default()).await;
    let config = usual(&[&old, &new]);
    let mut before = edge.connect(&config, "shop.test").await;
    assert_eq!(get(&mut before, "/").await, "hello");
    edge.harness.proxy.certificates().replace(vec![new.chain()]);
    assert_eq!(get(&mut before, "/").await, "hello");
    // A client that does not resume an earlier session.
    let mut after = edge.connect(&usual(&[&old, &new]), "shop.test").await;
    assert_eq!((shown(&before), shown(&after)), (old.der(), new.der()));
    assert_eq!(get(&mut after, "/").await, "hello");
    assert_eq!(get(&mut before, "/").await, "hello");
}

#[tokio::test]
async fn sessions_are_resumed_in_both_versions() {
    let shop = made(&["shop.test"]);
    let edge = edge(Server::saying("hello").await.address, &[&shop], Limits::default()).await;
    for (index, version) in [&rustls::version::TLS12, &rustls::version::TLS13].into_iter().enumerate() {
        let config = config(&[&shop], &[version], &["http/1.1"]);
        for _ in 0..2 {
            let mut stream = edge.connect(&config, "shop.test").await;
            assert_eq!(get(&mut stream, "/").await, "hello");
        }
        let stats = edge.harness.proxy.stats();
        assert_eq!((stats.handshakes, stats.handshakes_resumed), (2 * (index as u64 + 1), index as u64 + 1));
    }
}

#[tokio::test]
async fn a_slow_handshake_is_cut_off_wherever_it_stalls() {
    let shop = made(&["shop.test"]);
    let limits = Limits { handshake: Duration::from_millis(300), ..Limits::default() };
    let edge = edge(nowhere().await, &[&shop], limits).await;
    // The first bytes of a client's hello: a record of 512 bytes is announced and does not come.
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut rest = Vec::new();
        let _ = within(stream.read_to_end(&mut rest)).await; // it is over, with or without a reset
        assert!(rest.is_empty(), "{rest:?}");
    }
    until("they are counted", || edge.harness.proxy.stats().handshakes_failed == 3).await;
    until("nothing is left", || edge.harness.proxy.stats().connections == 0).await;
}

#[tokio::test]
async fn silent_connections_do_not_keep_out_clients_that_finish_their_handshake() {
    let shop = made(&["shop.test"]);
    let limits = Limits { handshakes: 4, handshake: Duration::from_secs(60), ..Limits::default() };
    let edge = edge(Server::saying("hello").await.address, &[&shop], limits).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(edge.address).await.unwrap());
    }
    let config = usual(&[&shop]);
    for _ in 0..4 {
        let mut stream = edge.connect(&config, "shop.test").await;
        assert_eq!(get(&mut stream, "/").await, "hello");
    }
    // Two threads, four places each: the rest has been given up.
    until("the oldest are given up", || edge.harness.proxy.stats().handshakes_failed >= 32).await;
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_so() {
    let shop = made(&["shop.test"]);
    let edge = edge(nowhere().await, &[&shop], Limits::default()).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 400);
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["code"], "A0753");
    assert!(client.is_closed().await);
    until("it is counted", || !edge.harness.proxy.stats().errors.is_empty()).await;
    // Neither HTTP nor TLS: an alert, as for any broken handshake.
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    stream.write_all(&[0; 64]).await.unwrap();
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
}

#[tokio::test]
async fn without_a_certificate_handshakes_are_refused_and_work_once_there_is_one() {
    let shop = made(&["shop.test"]);
    let edge = edge(Server::saying("hello").await.address, &[], Limits::default()).await;
    let config = usual(&[&shop]);
    assert!(edge.try_connect(&config, "shop.test").await.is_err());
    edge.harness.proxy.certificates().replace(vec![shop.chain()]);
    assert_eq!(get(&mut edge.connect(&config, "shop.test").await, "/").await, "hello");
}

#[tokio::test]
async fn bodies_of_many_records_pass_both_ways_and_a_slow_reader_loses_nothing() {
    let shop = made(&["shop.test"]);
    let echo = Server::http(|request| async move {
        http::Response::new(request.into_body().map_err(std::io::Error::other).boxed())
    });
    let edge = edge(echo.await.address, &[&shop], Limits::default()).await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let stream = edge.connect(&usual(&[&shop]), "shop.test").await;
    let (mut read, mut write) = tokio::io::split(stream);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        sent.len()
    );
    let body = sent.clone();
    go(async move {
        write.write_all(head.as_bytes()).await.unwrap();
        write.write_all(&body).await.unwrap();
        write.flush().await.unwrap();
        std::future::pending::<()>().await; // dropped, it would end the connection
    });
    tokio::time::sleep(Duration::from_millis(100)).await; // let buffers fill up
    let mut answer = Vec::new();
    within(read.read_to_end(&mut answer)).await.unwrap(); // an end without `close_notify` would be an error
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let (head, body) = answer.split_at(at);
    let chunked = String::from_utf8_lossy(head).to_ascii_lowercase().contains("transfer-encoding: chunked");
    assert!(!chunked, "{}", String::from_utf8_lossy(head));
    assert!(body == sent, "{} bytes", body.len());
}

#[tokio::test]
async fn at_the_end_clients_are_told_with_close_notify_and_handshakes_are_not_waited_for() {
    let shop = made(&["shop.test"]);
    let edge = edge(Server::saying("hello").await.address, &[&shop], Limits::default()).await;
    let mut stream = edge.connect(&usual(&[&shop]), "shop.test").await;
    assert_eq!(get(&mut stream, "/").await, "hello");
    let _silent = TcpStream::connect(edge.address).await.unwrap();
    until("both are accepted", || edge.harness.proxy.stats().accepted == 2).await;
    let began = std::time::Instant::now();
    edge.harness.proxy.shutdown(PATIENCE).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let mut rest = Vec::new();
    within(stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_truncated_request_is_not_taken_for_a_whole_one() {
    let shop = made(&["shop.test"]);
    let edge = edge(Server::saying("hello").await.address, &[&shop], Limits::default()).await;
    let mut stream = edge.connect(&usual(&[&shop]), "shop.test").await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
    stream.flush().await.unwrap();
    let (socket, _) = stream.into_inner();
    drop(socket); // without `close_notify`
    let record = edge.harness.records.nth(1).await;
    assert!(record.bytes_in < 10 && (record.status == 200 || record.error.is_some()), "{record:?}");
}

#[tokio::test]
async fn curl_works_over_http_1_1_and_http_2() {
    let Ok(version) = tokio::process::Command::new("curl").arg("--version").output().await else {
        assert!(std::env::var_os("ATOLL_CI_ALL").is_none(), "curl is not installed");
        eprintln!("left out: curl is not installed");
        return;
    };
    let shop = made(&["shop.test"]);
    let edge = edge(Server::saying("hello").await.address, &[&shop], Limits::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &shop.pem).unwrap();
    let resolve = format!("shop.test:{}:127.0.0.1", edge.address.port());
    let url = format!("https://shop.test:{}/", edge.address.port());
    let http2 = String::from_utf8_lossy(&version.stdout).contains("HTTP2");
    for (flag, said) in [("--http1.1", "hello 1.1"), ("--http2", "hello 2")] {
        if flag == "--http2" && !http2 {
            eprintln!("left out: this curl has no HTTP/2");
            continue;
        }
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["-sS", "--max-time", "10", flag, "--resolve", &resolve, "-w", " %{http_version}", &url]);
        let output = within(curl.arg("--cacert").arg(&ca).output()).await.unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            said,
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_it_said_anything_is_no_failure() {
    let edge = edge(nowhere().await, &[&made(&["shop.test"])], Limits::default()).await;
    let stream = TcpStream::connect(edge.address).await.unwrap();
    until("it is accepted", || edge.harness.proxy.stats().accepted == 1).await;
    drop(stream);
    until("it is gone", || edge.harness.proxy.stats().connections == 0).await;
    assert_eq!(edge.harness.proxy.stats().handshakes_failed, 0);
}
