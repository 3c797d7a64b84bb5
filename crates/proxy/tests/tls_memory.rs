//! What an idle connection with TLS keeps beyond one without. A process of its own: it is the resident memory
//! that is measured.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use common::*;
use proxy::tls::CertifiedChain;
use proxy::{Entrance, Listener};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const COUNT: usize = 500;

/// The most that TLS may add to an idle connection, in bytes.
const MOST: u64 = 16 * 1024;

async fn asked(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        answer.push(within(stream.read_u8()).await.unwrap());
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Opens connections, each of which has carried a request; gives the memory each has cost.
async fn each(held: &mut Vec<TcpStream>, address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> u64 {
    let mut before = 0;
    for number in 0..COUNT + 50 {
        if number == 50 {
            before = resident(); // what is made once is there
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        if let Some(config) = tls {
            let name = ServerName::try_from("shop.test").unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
            let mut secure = within(connector.connect(name, stream)).await.unwrap();
            asked(&mut secure).await;
            stream = secure.into_inner().0; // the client's own state is not what is measured
        } else {
            asked(&mut stream).await;
        }
        held.push(stream);
    }
    resident().saturating_sub(before) / COUNT as u64
}

#[tokio::test]
async fn an_idle_connection_with_tls_keeps_a_few_kilobytes_more() {
    let server = Server::saying("hello").await;
    let harness = Harness::web(server.address).await;
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["shop.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let chain =
        CertifiedChain::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    harness.proxy.certificates().replace(vec![chain]);
    let gateway = |tls| Listener { address: ([127, 0, 0, 1], 0).into(), entrance: Entrance::Gateway, tls };
    assert!(harness.proxy.listen(vec![gateway(false), gateway(true)]).await.is_empty());
    let address = |tls| harness.proxy.addresses().into_iter().find(|(one, _)| one.tls == tls).unwrap().1;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);

    let mut held = Vec::new();
    let plain = each(&mut held, address(false), None).await;
    let secure = each(&mut held, address(true), Some(&config)).await;
    println!("idle: {plain} bytes without TLS, {secure} with");
    assert!(secure.saturating_sub(plain) < MOST, "{plain} bytes without TLS, {secure} with");
}
