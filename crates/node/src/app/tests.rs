//! Wishes put in force, without a controller.

use super::*;

fn applier(dir: &Path) -> Applier {
    let proxy = proxy::Proxy::start(proxy::Options::default()).unwrap();
    let ports = Arc::new(Ports::new(std::process::id().into()));
    let certificates = Certificates::new(proxy.certificates().clone(), dir.join("ca"), Arc::new(|_| ()));
    let edges = Edges::new(Arc::new(|_| ()));
    let spans = crate::spans::Spans::start(&kit::Tasks::new(), Vec::new());
    let broker = Broker::new("x", dir, kit::SystemClock::new(), Arc::new(|_| ()), spans);
    let broker = Arc::new(broker);
    let console = Arc::new(WebConsole::new(dir, kit::SystemClock::new(), Arc::new(|_| ())));
    let directory = Directory::default();
    let state = StateDir::open(dir).unwrap();
    let observer = Observer::new(dir, state.logs(), kit::SystemClock::new(), Arc::new(|_| ()));
    let objectives = Objectives::new(&state, kit::SystemClock::new());
    let tell: Tell = Arc::new(|_| ());
    let parts =
        Parts { directory, ports, proxy, certificates, edges, broker, observer, objectives, console, tell };
    Applier::new(state, true, parts)
}

fn wish(services: &str) -> Apply {
    Apply { file: format!("name: x\nconsole: off\nservices:\n{services}"), ..Apply::default() }
}

const PAIR: &str = "  front: { command: [front], calls: { back: {} } }\n  back: { command: [back] }\n";

#[tokio::test]
async fn looking_at_a_plan_takes_no_ports() {
    let dir = tempfile::tempdir().unwrap();
    let applier = applier(dir.path());
    for _ in 0..3 {
        applier.prepare("x", wish(PAIR)).await.unwrap();
    }
    assert_eq!(applier.ports.taken(), 0);
    applier.resume("x", wish(PAIR), Keeping::Now).await.unwrap();
    let in_force = applier.ports.taken();
    applier.prepare("x", wish(PAIR)).await.unwrap();
    assert_eq!(applier.ports.taken(), in_force);
    // What is no longer called gives its address back.
    applier.resume("x", wish("  back: { command: [back] }\n"), Keeping::Now).await.unwrap();
    assert_eq!(applier.ports.taken(), in_force - 1);
}

#[tokio::test]
async fn an_address_of_an_earlier_life_that_somebody_has_taken_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let pair = || ("front".parse().unwrap(), "back".parse().unwrap());
    let first = applier(dir.path());
    first.resume("x", wish(PAIR), Keeping::Now).await.unwrap();
    let port = first.in_force.lock().await.addresses.mesh[&pair()];
    first.proxy.listen(Vec::new()).await;
    drop(first);
    let somebody = std::net::TcpListener::bind(loopback(port)).unwrap();
    let second = applier(dir.path());
    let (desired, failed) = second.resume("x", wish(PAIR), Keeping::Now).await.unwrap();
    assert!(failed.is_empty());
    assert_ne!(desired.services[&"front".parse().unwrap()].urls[&pair().1].port(), port);
    drop(somebody);
}

#[tokio::test]
async fn a_wish_for_some_services_leaves_the_counts_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let applier = applier(dir.path());
    let mut all = wish(PAIR);
    all.scale.insert("back".into(), 3);
    applier.resume("x", all, Keeping::Now).await.unwrap();
    let some = Apply { services: vec!["front".into()], no_deps: true, ..wish(PAIR) };
    let prepared = applier.prepare("x", some).await.unwrap();
    assert_eq!(prepared.desired.services[&"back".parse().unwrap()].replicas, 3);
}

#[tokio::test]
async fn a_count_with_a_digit_too_many_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut many = wish(PAIR);
    many.scale.insert("back".into(), u32::MAX);
    let error = applier(dir.path()).prepare("x", many).await.err().unwrap();
    assert_eq!(error.to_string(), "4294967295 instances of `back` are more than 1000");
}
