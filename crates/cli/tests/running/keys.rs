//! Access keys, tried with the client of AWS.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::operation::receive_message::ReceiveMessageOutput;

use crate::world::{World, kill};

const APP: &str = r#"
pipes: { listen: "127.0.0.1:0", access: ACCESS }
services:
  web:
    command: [ECHO]
    queues: [jobs, other]
"#;

fn world(access: &str) -> World {
    let world = World::new(&APP.replace("ACCESS", access));
    world.ok(&["up", "-d", "--wait"]);
    world
}

/// A key, and the client that uses it.
fn key(world: &World, arguments: &[&str]) -> (api::CreatedKey, Client) {
    let made = world.ok(&[&["key", "create"], arguments, &["--format", "json"]].concat());
    let made: api::CreatedKey = serde_json::from_str(&made).unwrap();
    let client = client(made.endpoint.as_deref().unwrap(), &made.key.access_key, &made.secret);
    (made, client)
}

fn client(endpoint: &str, id: &str, secret: &str) -> Client {
    client_with(endpoint, Credentials::new(id, secret, None, None, "test"))
}

fn client_with(endpoint: &str, credentials: Credentials) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// What became of a send: `ok`, or the code of the error, which SDKs take from the query protocol.
fn send(world: &World, client: &Client, queue: &str) -> String {
    let sent = world.block_on(client.send_message().queue_url(queue).message_body("hello").send());
    sent.map_or_else(|error| error.into_service_error().code().unwrap_or("?").to_owned(), |_| "ok".into())
}

fn receive(world: &World, client: &Client, queue: &str) -> Result<ReceiveMessageOutput, String> {
    let received = world.block_on(client.receive_message().queue_url(queue).send());
    received.map_err(|error| error.into_service_error().code().unwrap_or("?").to_owned())
}

fn listed(world: &World) -> Vec<api::Key> {
    serde_json::from_str(&world.ok(&["key", "ls", "--format", "json"])).unwrap()
}

#[test]
fn a_key_does_what_it_was_made_for_survives_restarts_and_ends_when_it_is_revoked() {
    let world = world("enforce");
    let (made, ci) = key(&world, &["ci", "--allow", "jobs:send", "--allow", "queue/later*:*"]);
    assert_eq!(made.about_nothing, ["queue/later*:*"]);
    assert_eq!(send(&world, &ci, "jobs"), "ok");
    assert_eq!(send(&world, &ci, "other"), "AccessDenied");
    assert_eq!(receive(&world, &ci, "jobs").unwrap_err(), "AccessDenied");
    let create = |name: &str| world.block_on(ci.create_queue().queue_name(name).send()).is_ok();
    assert!(create("later-1"));
    assert_eq!(send(&world, &ci, "later-1"), "ok");
    assert!(!create("theirs"));
    let stranger = client(made.endpoint.as_deref().unwrap(), "AKIA234567ABCDEFGHIJ", &made.secret);
    assert_eq!(send(&world, &stranger, "jobs"), "InvalidClientTokenId");
    let imposter = client(made.endpoint.as_deref().unwrap(), &made.key.access_key, "guessed");
    assert_eq!(send(&world, &imposter, "jobs"), "SignatureDoesNotMatch");

    let file = world.state_dir().join("keys.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&file).unwrap();
    assert!(!kept.contains(&made.secret) && kept.contains(&made.key.access_key));
    assert!(listed(&world)[0].last_used_at.is_some());
    kill(world.node_pid(), "KILL");
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(send(&world, &ci, "jobs"), "ok");
    world.ok(&["upgrade"]);
    world.until_ready();
    crate::queues::until("the new node has the queues", || send(&world, &ci, "jobs") == "ok");
    let again = world.fails(1, &["key", "create", "ci", "--allow", "jobs:send"]);
    assert!(again.contains("A0672"), "{again}");

    world.ok(&["key", "revoke", &made.key.access_key]);
    assert_eq!(send(&world, &ci, "jobs"), "InvalidClientTokenId");
    assert!(world.fails(1, &["key", "revoke", "ci"]).contains("A0671"));
    assert_eq!(listed(&world), []);
    world.ok(&["down"]);
}

#[test]
fn a_key_ends_with_its_time() {
    let world = world("enforce");
    let (_, brief) = key(&world, &["brief", "--allow", "*:*", "--expires", "1s"]);
    crate::queues::until("its time is over", || send(&world, &brief, "jobs") == "ExpiredToken");
    let listed = listed(&world);
    assert!(!listed[0].usable && listed[0].expires_at.is_some());
    assert!(world.ok(&["key", "ls"]).contains(" ago"));
    world.ok(&["down"]);
}

#[test]
fn an_audit_serves_what_a_key_was_not_made_for_and_tells_it() {
    let world = world("audit");
    let (_, ci) = key(&world, &["ci", "--allow", "jobs:send"]);
    assert_eq!(send(&world, &ci, "other"), "ok");
    let received = receive(&world, &ci, "other").unwrap();
    let sender = received.messages()[0].attributes().and_then(|all| all.values().next()).cloned();
    assert_eq!(sender, None, "it was not asked for");
    let events = world.ok(&["events"]);
    assert!(events.contains("key `ci` may not sqs:SendMessage on `other`"), "{events}");
    assert!(!events.contains("on `jobs`"), "{events}");
    world.ok(&["down"]);
}

#[test]
fn what_is_printed_a_shell_takes_and_a_damaged_file_harms_nothing_else() {
    let world = world("enforce");
    let printed = world.ok(&["key", "create", "laptop", "--allow", "jobs:send"]);
    let script = format!(
        "{printed}\nprintf '%s %s %s' \"$AWS_ACCESS_KEY_ID\" \"$AWS_SECRET_ACCESS_KEY\" \"$AWS_ENDPOINT_URL\""
    );
    let shown = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let [id, secret, endpoint] = shown.split(' ').collect::<Vec<_>>()[..] else { panic!("{shown}") };
    let laptop = client(endpoint, id, secret);
    assert_eq!(send(&world, &laptop, "jobs"), "ok");
    assert!(world.fails(1, &["key", "create", "x", "--allow", "jobs"]).contains("A0672"));
    assert!(world.fails(2, &["key", "create", "x"]).contains("--allow"));

    world.ok(&["down"]);
    let file = world.state_dir().join("keys.json");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    world.ok(&["up", "-d", "--wait"]);
    assert!(world.fails(1, &["key", "ls"]).contains("A0670"));
    assert!(world.fails(1, &["key", "create", "x", "--allow", "jobs:send"]).contains("A0670"));
    assert!(world.ok(&["events"]).contains("cannot use the keys"));
    world.ok(&["queue", "send", "jobs", "goes on"]);
    world.ok(&["down"]);
    assert_eq!(fs::read(&file).unwrap(), whole[..whole.len() / 2]);
}

/// What the address of short-lived credentials answers to a token.
fn lent(address: &str, token: &str) -> (u16, serde_json::Value) {
    let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nhost: {host}\r\nauthorization: {token}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let answer = crate::world::answer(&bytes).unwrap();
    assert!(answer.head.to_lowercase().contains("cache-control: no-store"), "{}", answer.head);
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

#[test]
fn short_lived_credentials_are_lent_to_a_service_and_it_is_told() {
    let world = World::new(
        "pipes: { listen: \"127.0.0.1:0\", access: enforce, credentials: short }\n\
         services: { web: { command: [ECHO], queues: [jobs] }, other: { command: [ECHO], queues: [theirs] } }\n",
    );
    world.ok(&["up", "-d", "--wait"]);
    let variable = |instance: &str, name: &str| crate::telemetry::variable(&world, instance, name);
    let address = variable("web-1", "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let token = variable("web-1", "AWS_CONTAINER_AUTHORIZATION_TOKEN");
    assert_ne!(token, variable("other-1", "AWS_CONTAINER_AUTHORIZATION_TOKEN"));
    let (status, document) = lent(&address, &token);
    assert_eq!(status, 200, "{document}");
    let text = |name: &str| document[name].as_str().unwrap().to_owned();
    let session = |token: &str| {
        let expires = SystemTime::now() + Duration::from_secs(3600);
        let (id, secret) = (text("AccessKeyId"), text("SecretAccessKey"));
        let credentials = Credentials::new(id, secret, Some(token.to_owned()), Some(expires), "lent");
        client_with(&variable("web-1", "AWS_ENDPOINT_URL"), credentials)
    };
    let own = session(&text("Token"));
    assert_eq!(send(&world, &own, "jobs"), "ok");
    assert_eq!(send(&world, &own, "theirs"), "AccessDenied");
    assert_ne!(send(&world, &session("x"), "jobs"), "ok");
    let (status, refused) = lent(&address, &token[1..]);
    assert_eq!((status, &refused["code"]), (403, &"AccessDenied".into()));
    let metrics = world.metrics("text/plain");
    assert!(metrics.contains("atoll_credentials_lent_total{service=\"web\"} 1\n"), "{metrics}");
    assert!(metrics.contains("atoll_credentials_refused_total 1\n"), "{metrics}");
    let log = fs::read_to_string(world.state_dir().join("node.log")).unwrap();
    assert!(log.contains("credentials were refused"), "{log}");
    world.ok(&["down"]);
}
