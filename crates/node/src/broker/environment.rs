//! What a service finds in its environment of the queues and topics it may use. Standard variables, which SDKs read by
//! themselves, and where to find each queue and topic.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use identity::{KeyBook, Principal};
use manifest::spec::{App, CredentialKind, PipeName, ServiceName};

use super::gate::LENDING_PATH;

/// The region that everything is in.
pub(crate) const REGION: &str = "us-east-1";
/// The account that everything belongs to.
const ACCOUNT: &str = identity::credentials::ACCOUNT;

/// SDKs ask for credentials last of all: what the terminal and its user have must not come before.
const NO_OTHERS: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", ""),
    ("AWS_SECRET_ACCESS_KEY", ""),
    ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ("AWS_CONFIG_FILE", "/dev/null"),
];

/// What each service is given, where its clients listen at `address`.
pub(crate) fn given(
    app: &App,
    address: SocketAddr,
    book: &KeyBook,
) -> BTreeMap<ServiceName, BTreeMap<String, String>> {
    let endpoint = endpoint(address);
    let of = |name: &ServiceName| {
        let principal = Principal::Service(name.as_str().into());
        let credentials = book.declare(&principal);
        let mut given: BTreeMap<String, String> = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            // What the terminal had of a session of another account must not be mixed with these keys.
            ("AWS_SESSION_TOKEN", ""),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        match app.pipes.credentials {
            CredentialKind::Static => {
                given.extend(
                    credentials.variables().into_iter().map(|(name, value)| (name.to_owned(), value)),
                );
            }
            CredentialKind::Short => {
                given.extend(NO_OTHERS.map(|(name, value)| (name.to_owned(), value.to_owned())));
                let address = format!("{endpoint}{LENDING_PATH}");
                given.insert("AWS_CONTAINER_CREDENTIALS_FULL_URI".into(), address);
                let token = book.lending_token(&principal);
                given.insert("AWS_CONTAINER_AUTHORIZATION_TOKEN".into(), token);
            }
        }
        for queue in app.pipes.queues.values() {
            if queue.owner == *name || queue.allow.contains_key(name) {
                let url = queue_url(address, &queue.wire_name());
                given.insert(format!("{}_QUEUE_URL", variable(&queue.name)), url);
            }
        }
        for topic in app.pipes.topics.values() {
            if topic.owner == *name || topic.allow.contains_key(name) {
                given.insert(format!("{}_TOPIC_ARN", variable(&topic.name)), topic_arn(&topic.wire_name()));
            }
        }
        (name.clone(), given)
    };
    app.services.keys().map(of).collect()
}

/// Where clients find queues and topics that are served at `address`.
pub(crate) fn endpoint(address: SocketAddr) -> String {
    format!("http://{}", reachable(address))
}

/// Where clients find a queue.
pub(crate) fn queue_url(address: SocketAddr, queue: &str) -> String {
    format!("{}/{ACCOUNT}/{queue}", endpoint(address))
}

/// What clients call a topic by.
pub(crate) fn topic_arn(topic: &str) -> String {
    format!("arn:aws:sns:{REGION}:{ACCOUNT}:{topic}")
}

/// An address that a process of this machine can connect to.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A name as the beginning of a variable: upper case, `_` for what a variable cannot have.
fn variable(name: &PipeName) -> String {
    name.as_str()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect()
}
