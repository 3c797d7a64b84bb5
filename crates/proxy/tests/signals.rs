//! What the data path tells of itself: counts per route, spans, and its own share of the time.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use manifest::spec;
use proxy::signals::channel::{Dropped, channel};
use proxy::signals::{HopReader, Label, RouteStats};
use proxy::table::Additions;
use proxy::{AccessRecord, Entrance, Guards, Kind, Options, Proxy, RouteTable};
use registry::{Directory, Endpoints};

fn publish(harness: &Harness, app: &spec::App, guards: &Arc<Guards>) {
    let additions = Additions { guards: Arc::clone(guards), ..Additions::default() };
    harness.proxy.publish(RouteTable::compile_with(app, &harness.directory, additions));
}

/// What one route has carried, once it has carried so many requests.
async fn carried(guards: &Guards, route: &str, requests: u64) -> (Label, RouteStats) {
    let find = || guards.routes().into_iter().find(|(label, _)| label.route == route);
    until("they are counted", || find().is_some_and(|(_, stats)| stats.requests() == requests)).await;
    find().unwrap()
}

#[tokio::test]
async fn a_route_counts_what_it_carries_and_goes_on_over_new_tables() {
    let upstream = Server::http(|request| async move {
        let mut answer = text("0123456789");
        if request.uri().path() == "/missing" {
            *answer.status_mut() = http::StatusCode::NOT_FOUND;
        }
        answer
    })
    .await;
    let app = web(&["/{*rest}", "/quiet"], PATIENCE);
    let harness = Harness::start(&app).await;
    let guards = Arc::<Guards>::default();
    publish(&harness, &app, &guards);
    harness.ready("web", &[upstream.address]);
    for path in ["/a", "/missing", "/b"] {
        harness.get(path).await;
    }
    publish(&harness, &app, &guards);
    harness.get("/c").await;
    let (label, stats) = carried(&guards, "/{*rest}", 4).await;
    assert_eq!((label.service, label.caller), (Some(name("web")), None));
    assert_eq!((stats.classes, stats.bytes_out), ([0, 3, 0, 1, 0], 40));
    assert!(stats.errors.is_empty());
    assert_eq!(stats.latency.count(), 4);
    let example = stats.latency.buckets().find_map(|(_, _, example)| example).unwrap();
    let traces: Vec<_> = harness.records.all().iter().map(|record| record.trace.id.0).collect();
    assert!(traces.contains(&example.trace.to_be_bytes()), "an example is one of the requests");
    assert_eq!(guards.routes().len(), 1, "a route without a request is not shown");
    // The route is gone, and what was counted of it.
    publish(&harness, &web(&["/other"], PATIENCE), &guards);
    assert!(guards.routes().is_empty());
}

#[tokio::test]
async fn retries_fallbacks_and_causes_are_counted_with_their_route() {
    let mut app = web(&["/a"], PATIENCE);
    let guard = &mut app.services.get_mut(&name("web")).unwrap().routes[0].guard;
    guard.retry = spec::Retry { attempts: 2, backoff: Duration::from_millis(1), ..spec::Retry::default() };
    guard.retry.budget = kit::units::Share::ALL;
    guard.fallback =
        Some(spec::Fallback::Static { status: 200, headers: Vec::new(), body: "sorry".to_owned() });
    let harness = Harness::start(&app).await;
    let guards = Arc::<Guards>::default();
    publish(&harness, &app, &guards);
    harness.ready("web", &[nowhere().await]);
    assert_eq!(harness.get("/a").await.text(), "sorry");
    let (_, stats) = carried(&guards, "/a", 1).await;
    assert_eq!((stats.classes, stats.fallbacks), ([0, 1, 0, 0, 0], 1));
    assert_eq!(stats.errors, [(Kind::ConnectionRefused, 1)]);
    let record = harness.records.nth(1).await;
    assert!(record.fallback);
    assert_eq!(stats.retries, u64::from(record.attempts) - 1);
    assert!(stats.retries >= 2);
}

#[tokio::test]
async fn an_edge_of_the_mesh_is_counted_with_its_caller() {
    let upstream = Server::saying("paid").await;
    let mut orders = service("orders");
    orders.calls.insert(name("payments"), spec::Call::default());
    let app = app([orders, service("payments")]);
    let harness = Harness::start(&app).await;
    let guards = Arc::<Guards>::default();
    publish(&harness, &app, &guards);
    harness.ready("payments", &[upstream.address]);
    let entrance = Entrance::Mesh { caller: name("orders"), callee: name("payments") };
    let mesh = listen(&harness.proxy, entrance).await;
    let reply = Client::connect(mesh).await.get("/pay").await;
    assert_eq!((reply.text(), reply.header("server-timing")), ("paid", None), "only the gateway tells");
    let (label, stats) = carried(&guards, "orders -> payments", 1).await;
    assert_eq!((label.caller, label.service), (Some(name("orders")), Some(name("payments"))));
    assert_eq!(stats.bytes_out, 4);
}

fn milliseconds(timing: &str) -> f64 {
    timing.strip_prefix("atoll;dur=").unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_gateway_tells_its_own_share_beside_what_the_service_tells() {
    const SLOW: Duration = Duration::from_millis(300);
    let upstream = Server::http(|_| async move {
        tokio::time::sleep(SLOW).await;
        let mut answer = text("slow");
        answer.headers_mut().insert("server-timing", "db;dur=299".parse().unwrap());
        answer
    })
    .await;
    let harness = Harness::web(upstream.address).await;
    let reply = harness.get("/").await;
    let timings = reply.headers("server-timing");
    assert_eq!((timings.len(), timings[0]), (2, "db;dur=299"));
    assert!(milliseconds(timings[1]) < 300.0, "{timings:?}: the service's time is its own");
    let record = harness.records.nth(1).await;
    assert!(record.waited >= SLOW && record.waited <= record.first_byte.unwrap());
    let mut off = web(&["/{*rest}"], PATIENCE);
    off.gateway.server_timing = false;
    harness.proxy.publish(RouteTable::compile(&off, &harness.directory));
    assert_eq!(harness.get("/").await.headers("server-timing"), ["db;dur=299"]);
}

#[tokio::test]
async fn what_atoll_answers_itself_has_its_share_too() {
    let harness = Harness::start(&web(&["/a"], PATIENCE)).await;
    let reply = harness.get("/nowhere").await;
    assert_eq!(reply.status, 404);
    assert!(milliseconds(reply.header("server-timing").unwrap()) < 10_000.0);
}

/// Reads until so many hops have come.
async fn read(reader: &mut HopReader, count: usize) -> Vec<AccessRecord> {
    let mut hops = Vec::new();
    while hops.len() < count {
        within(reader.ready()).await;
        reader.drain(|hop| hops.push(AccessRecord::from(hop)));
    }
    hops
}

#[tokio::test]
async fn every_hop_is_a_span_with_or_without_an_access_log() {
    let upstream = Server::mirror().await;
    let (hops, mut reader) = channel();
    let access = Arc::new(hops.clone());
    let proxy = Proxy::start(Options { threads: 2, access, ..Options::default() }).unwrap();
    let directory = Directory::default();
    let mut app = web(&["/{*rest}"], PATIENCE);
    proxy.publish(RouteTable::compile(&app, &directory));
    let id = "web-1#1".parse().unwrap();
    let ready = vec![Arc::new(registry::Endpoint::new(id, upstream.address))];
    directory.upstream(&name("web")).publish(Endpoints { ready, ..Endpoints::default() });
    let gateway = listen(&proxy, Entrance::Gateway).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut client = Client::connect(gateway).await;
    client
        .send(&format!("GET /a?b=c HTTP/1.1\r\nHost: Shop.example:80\r\ntraceparent: {parent}\r\n\r\n"))
        .await;
    let reply = client.reply().await;
    let hop = &read(&mut reader, 1).await[0];
    assert_eq!((&*hop.host, &*hop.target, hop.status), ("shop.example", "/a?b=c", 200));
    assert_eq!(hop.trace.id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hop.trace.parent.unwrap().to_string(), "00f067aa0ba902b7");
    let next = &reply.seen("traceparent")[0];
    assert!(next.contains(&hop.trace.span.to_string()), "the service's parent is this hop");
    assert_eq!((hop.route_name(), hop.instance().unwrap().name()), (Some("/{*rest}"), "web-1".to_owned()));
    assert_eq!(Some(&*hop.request_id), reply.header("x-request-id"));
    assert!(hop.waited <= hop.first_byte.unwrap() && hop.first_byte.unwrap() <= hop.took);

    app.gateway.access_log = false;
    proxy.publish(RouteTable::compile(&app, &directory));
    client.get("/secret").await;
    let hop = &read(&mut reader, 1).await[0];
    assert_eq!((&*hop.host, &*hop.target), ("", ""), "nobody wants them");
    assert_eq!((hop.status, hop.service()), (200, Some(&name("web"))));
    assert_eq!(hops.dropped(), Dropped::default());
}
