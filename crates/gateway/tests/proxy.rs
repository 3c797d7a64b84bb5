//! The check in a real proxy: what clients are told, what services see, and keys that change meanwhile.
#![allow(clippy::unwrap_used)] // helpers of tests may fail loudly

mod signer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use gateway::{Edge, News};
use kit::{OnError, Tasks};
use manifest::spec;
use proxy::filter::Verdict;
use proxy::table::Additions;
use proxy::{Entrance, Exchange, Filter, Handle, Listener, Options, Proxy, RouteTable};
use registry::{Directory, Endpoint, Endpoints};
use serde_json::{Value, json};
use signer::{Signer, jwks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// No wait in a test is longer.
const PATIENCE: Duration = Duration::from_secs(10);

const APP: &str = "
name: test
services:
  web:
    command: serve
    routes: [/open, /closed, /lost]
";

/// The app, with what its routes ask for.
fn app() -> spec::App {
    let mut app = manifest::parse_resolved(APP, Path::new("/app.yaml")).app.unwrap();
    for route in &mut app.services.values_mut().next().unwrap().routes {
        route.auth = match route.path.as_str() {
            "/closed" => Some("customers".to_owned()),
            "/lost" => Some("nobody".to_owned()),
            _ => None,
        };
    }
    app
}

fn section(jwks: &Path) -> spec::Gateway {
    let jwt = spec::Jwt {
        keys: spec::JwtKeys::Jwks(jwks.to_owned()),
        issuer: None,
        audience: vec!["shop".to_owned()],
        leeway: spec::Jwt::LEEWAY,
    };
    spec::Gateway { auth: BTreeMap::from([("customers".to_owned(), jwt)]), ..spec::Gateway::default() }
}

fn claims(subject: &str) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    json!({"sub": subject, "aud": "shop", "exp": now + 60})
}

/// Stands after the check, where a rate limit would, and notes whom it finds.
struct Spy(Arc<Mutex<Vec<Option<String>>>>);

impl Filter for Spy {
    fn request(&self, exchange: &mut Exchange) -> Verdict {
        self.0.lock().unwrap().push(exchange.subject().map(ToString::to_string));
        Verdict::Continue
    }
}

struct Harness {
    proxy: Handle,
    gateway: SocketAddr,
    edge: Arc<Edge>,
    seen: Arc<Mutex<Vec<Option<String>>>>,
    signer: Signer,
    folder: tempfile::TempDir,
}

impl Harness {
    async fn start() -> Self {
        let (signer, folder) = (Signer::ed25519(), tempfile::tempdir().unwrap());
        let file = folder.path().join("jwks.json");
        std::fs::write(&file, jwks(&[signer.jwk("k")])).unwrap();
        let edge = Arc::new(Edge::new(&section(&file)).unwrap());
        let seen = Arc::default();
        let proxy = Proxy::start(Options { threads: 2, ..Options::default() }).unwrap();

        let directory = Directory::default();
        let endpoint = Arc::new(Endpoint::new("web-1#1".parse().unwrap(), mirror().await));
        let endpoints = Endpoints { ready: vec![endpoint], ..Endpoints::default() };
        directory.upstream(&"web".parse().unwrap()).publish(endpoints);
        let filters = {
            let (edge, seen) = (Arc::clone(&edge), Arc::clone(&seen));
            move |_: &spec::ServiceName, route: &spec::Route| {
                let mut filters = edge.filters(route);
                filters.push(Box::new(Spy(Arc::clone(&seen))));
                filters
            }
        };
        let additions = Additions { filters: Some(Box::new(filters)), ..Additions::default() };
        proxy.publish(RouteTable::compile_with(&app(), &directory, additions));
        let address = ([127, 0, 0, 1], 0).into();
        let listener = Listener { address, entrance: Entrance::Gateway, tls: false };
        assert!(proxy.listen(vec![listener]).await.is_empty());
        let gateway = proxy.addresses()[0].1;
        Self { proxy, gateway, edge, seen, signer, folder }
    }

    /// What is answered to `GET path` with these header lines, and the body: what the service was sent.
    async fn get(&self, path: &str, lines: &[String]) -> Reply {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{lines}\r\n");
        let talk = async {
            let mut stream = TcpStream::connect(self.gateway).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        let text = tokio::time::timeout(PATIENCE, talk).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head[9..12].parse().unwrap();
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }

    async fn get_with(&self, path: &str, token: &str) -> Reply {
        self.get(path, &[format!("Authorization: Bearer {token}")]).await
    }
}

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    #[track_caller]
    fn is_problem(&self, status: u16, code: &str, challenge: Option<&str>) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.body.contains(&format!("\"code\":\"{code}\"")), "{self:?}");
        assert_eq!(self.header("www-authenticate"), challenge);
    }
}

/// A service that answers each request with its head.
async fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Tasks::new().spawn("mirror", OnError::Log, |_| async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.map_err(|error| error.to_string())?);
            }
            let answer =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", head.len());
            let _ = stream.write_all(&[answer.as_bytes(), &head].concat()).await;
        }
        Ok::<_, String>(())
    });
    address
}

#[tokio::test]
async fn who_has_a_good_token_comes_in_and_the_service_learns_who_it_is() {
    let harness = Harness::start().await;
    let token = harness.signer.token(&claims("ada lovelace"));
    for _ in 0..4 {
        let reply = harness.get_with("/closed", &token).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let sent = reply.body.to_ascii_lowercase();
        assert!(sent.contains("\r\nx-atoll-subject: ada%20lovelace\r\n"), "{sent}");
        assert!(reply.body.contains(&token), "the token goes on: {sent}");
    }
    assert_eq!(*harness.seen.lock().unwrap(), vec![Some("ada lovelace".to_owned()); 4]);
    harness.proxy.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn who_has_none_or_a_bad_one_is_told_so_and_goes_no_further() {
    let harness = Harness::start().await;
    let ask = Some("Bearer realm=\"customers\"");
    harness.get("/closed", &[]).await.is_problem(401, "A0740", ask);
    let basic = ["Authorization: Basic YTpi".to_owned()];
    harness.get("/closed", &basic).await.is_problem(401, "A0740", ask);

    let forged = Signer::ed25519().token(&claims("ada"));
    let told = "Bearer realm=\"customers\", error=\"invalid_token\", \
                error_description=\"the signature of the token does not hold\"";
    harness.get_with("/closed", &forged).await.is_problem(401, "A0740", Some(told));

    let mut elsewhere = claims("ada");
    elsewhere["aud"] = "other".into();
    let elsewhere = harness.signer.token(&elsewhere);
    let told = "Bearer realm=\"customers\", error=\"insufficient_scope\", \
                error_description=\"the token is for another audience\"";
    harness.get_with("/closed", &elsewhere).await.is_problem(403, "A0741", Some(told));

    let token = harness.signer.token(&claims("ada"));
    let twice = [format!("Authorization: Bearer {token}"), format!("Authorization: Bearer {forged}")];
    assert_eq!(harness.get("/closed", &twice).await.status, 400);
    assert!(harness.seen.lock().unwrap().is_empty(), "nothing after the check has seen them");
    harness.proxy.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn nobody_can_say_who_they_are_without_a_token() {
    let harness = Harness::start().await;
    for line in ["X-Atoll-Subject: root", "X_Atoll_Subject: root"] {
        let reply = harness.get("/open", &[line.to_owned()]).await;
        assert_eq!(reply.status, 200);
        assert!(!reply.body.contains("root"), "{reply:?}");
    }
    let mut nobody = claims("");
    nobody.as_object_mut().unwrap().remove("sub");
    let token = harness.signer.token(&nobody);
    let lines = [format!("Authorization: Bearer {token}"), "X-Atoll-Subject: root".to_owned()];
    let reply = harness.get("/closed", &lines).await;
    assert!(reply.status == 200 && !reply.body.contains("root"), "{reply:?}");
    harness.proxy.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_route_whose_check_does_not_exist_is_closed() {
    let harness = Harness::start().await;
    let token = harness.signer.token(&claims("ada"));
    harness.get_with("/lost", &token).await.is_problem(500, "A0730", None);
    harness.proxy.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn keys_change_under_a_running_proxy() {
    let harness = Harness::start().await;
    let file = harness.folder.path().join("jwks.json");
    let (by_old, new) = (harness.signer.token(&claims("ada")), Signer::p256());
    assert_eq!(harness.get_with("/closed", &by_old).await.status, 200);

    std::fs::write(&file, "no keys").unwrap();
    let news = harness.edge.refresh();
    assert!(matches!(&news[..], [News::Failed(error)] if error.auth == "customers"), "{news:?}");
    assert_eq!(harness.get_with("/closed", &by_old).await.status, 200);

    std::fs::write(&file, jwks(&[new.jwk("n")])).unwrap();
    let news = harness.edge.refresh();
    assert!(matches!(&news[..], [News::Reloaded { keys: 1, .. }]), "{news:?}");
    assert_eq!(harness.get_with("/closed", &by_old).await.status, 401);
    assert_eq!(harness.get_with("/closed", &new.token(&claims("ada"))).await.status, 200);
    harness.proxy.shutdown(Duration::from_secs(1)).await;
}

#[test]
fn the_next_version_of_an_app_keeps_the_checks_that_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, jwks(&[Signer::ed25519().jwk("k")])).unwrap();
    let first = Edge::new(&section(&file)).unwrap();
    let second = first.next(&section(&file)).unwrap();
    std::fs::write(&file, jwks(&[Signer::ed25519().jwk("l")])).unwrap();
    assert_eq!(second.refresh().len(), 1);
    assert_eq!(first.refresh().len(), 0, "the two have one check");

    std::fs::remove_file(&file).unwrap();
    assert_eq!(second.refresh().len(), 1);
    let error = second.next(&section(&file)).err().unwrap();
    assert_eq!(kit::Explain::help(&error).code.as_str(), "A0743", "told again to who applies");
    let (third, faults) = Edge::default().next_as_far_as_possible(&section(&file));
    assert_eq!((faults.len(), third.is_empty()), (1, false));
    let text = kit::report::render(&faults.into_iter().next().unwrap());
    assert!(
        text.starts_with("error[A0743]: the check `customers` of the gateway cannot be made: "),
        "{text}"
    );
}
