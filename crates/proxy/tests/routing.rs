//! Which route takes a request, what the service sees of it, and what the client is told.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use common::*;

#[tokio::test]
async fn requests_go_where_the_routes_say() {
    let mut catalog = service("catalog");
    catalog.routes = vec![route("GET /books/{id}", PATIENCE), route("shop.example/only", PATIENCE)];
    let mut front = service("front");
    front.routes = vec![route("/{*rest}", PATIENCE), route("/books/new x-beta:1", PATIENCE)];
    let harness = Harness::start(&app([catalog, front])).await;
    let (books, pages) = (Server::saying("catalog").await, Server::saying("front").await);
    harness.ready("catalog", &[books.address]);
    harness.ready("front", &[pages.address]);

    let mut client = harness.client().await;
    assert_eq!(client.get("/books/7").await.text(), "catalog");
    assert_eq!(client.get("/").await.text(), "front");
    assert_eq!(client.get("/books/%37").await.text(), "catalog");
    assert_eq!(client.get("/%62ooks/7").await.text(), "catalog");
    client.send("POST /books/7 HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.reply().await.text(), "front");
    client.send("GET /books/new HTTP/1.1\r\nHost: test\r\nX-Beta: 1\r\n\r\n").await;
    assert_eq!(client.reply().await.text(), "front");
    client.send("GET /only HTTP/1.1\r\nHost: SHOP.example:8080\r\n\r\n").await;
    assert_eq!(client.reply().await.text(), "catalog");
    client.send("GET http://shop.example/only HTTP/1.1\r\nHost: other\r\n\r\n").await;
    assert_eq!(client.reply().await.text(), "catalog");

    let record = harness.records.nth(1).await;
    assert_eq!(record.route_name(), Some("GET /books/{id}"));
    assert_eq!(record.service(), Some(&name("catalog")));
    assert_eq!((record.path(), record.status, record.bytes_out), ("/books/7", 200, 7));
    assert_eq!(record.instance().unwrap().to_string(), "catalog-1#1");
    assert!(record.first_byte.unwrap() <= record.took);
    assert_eq!(record.error, None);
}

#[tokio::test]
async fn an_unknown_path_is_a_404_that_names_nothing() {
    let harness = Harness::start(&web(&["GET /secret/{id}"], PATIENCE)).await;
    let reply = harness.get("/other").await;
    reply.is_problem(404, "A0701", "http_request_error");
    assert!(!reply.text().contains("secret"));
    let record = harness.records.nth(1).await;
    assert_eq!((record.route, record.error), (None, Some(proxy::Kind::NoRoute)));
}

#[tokio::test]
async fn an_unknown_method_is_a_405_that_names_the_known_ones() {
    let harness = Harness::start(&web(&["GET /a", "POST /a"], PATIENCE)).await;
    let mut client = harness.client().await;
    for method in ["DELETE", "OPTIONS"] {
        client.send(&format!("{method} /a HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        let reply = client.reply().await;
        reply.is_problem(405, "A0702", "http_request_error");
        assert_eq!(reply.header("allow"), Some("GET, HEAD, POST"));
    }
}

#[tokio::test]
async fn head_is_answered_where_get_is_without_a_body() {
    let server = Server::saying("0123456789").await;
    let harness = Harness::start(&web(&["GET /a"], PATIENCE)).await;
    harness.ready("web", &[server.address]);
    let mut client = harness.client().await;
    for _ in 0..2 {
        client.send("HEAD /a HTTP/1.1\r\nHost: test\r\n\r\n").await;
        let reply = client.reply_to_head().await;
        assert_eq!((reply.status, reply.header("content-length")), (200, Some("10")));
    }
    client.send("HEAD /none HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let reply = client.reply_to_head().await;
    assert_eq!(reply.status, 404);
    assert!(reply.header("content-length").unwrap().parse::<usize>().unwrap() > 0);
    assert_eq!(client.get("/a").await.text(), "0123456789");
    assert_eq!(server.connections(), 1);
    for record in [harness.records.nth(1).await, harness.records.nth(4).await] {
        assert_eq!(record.error, None, "{record:?}");
    }
}

#[tokio::test]
async fn a_service_sees_who_asked_and_not_what_the_asker_claims() {
    let server = Server::mirror().await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client
        .send(
            "GET /a?b=c HTTP/1.1\r\nHost: shop.example:8080\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
             X-Real-IP: 6.6.6.6\r\nX-Atoll-Caller: admin\r\nX_Atoll_Caller: admin\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nProxy: http://6.6.6.6\r\nX-Mine: 1\r\n\r\n",
        )
        .await;
    let reply = client.reply().await;
    assert!(reply.text().starts_with("GET /a?b=c\n"));
    assert_eq!(reply.seen("host"), ["shop.example:8080"]);
    assert_eq!(reply.seen("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(reply.seen("x-forwarded-proto"), ["http"]);
    assert_eq!(reply.seen("x-forwarded-host"), ["shop.example:8080"]);
    assert_eq!(reply.seen("via"), ["1.1 atoll"]);
    assert_eq!(reply.seen("x-mine"), ["1"]);
    for gone in ["proxy", "forwarded", "x-real-ip", "x-atoll-caller", "x_atoll_caller", "x_forwarded_for"] {
        assert_eq!(reply.seen(gone), [""; 0], "{gone}");
    }
}

#[tokio::test]
async fn what_belongs_to_one_connection_stays_there() {
    let server = Server::http(|request| async move {
        let seen: Vec<&str> = request.headers().keys().map(http::HeaderName::as_str).collect();
        let mut answer = text(seen.join(" "));
        for (name, value) in
            [("connection", "x-up"), ("x-up", "1"), ("keep-alive", "timeout=5"), ("x-down", "2")]
        {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        answer
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: test\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\nX-End: 2\r\n\
             Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers, gzip\r\nUpgrade: h2c\r\n\
             Proxy-Authorization: x\r\n\r\n",
        )
        .await;
    let reply = client.reply().await;
    let seen: Vec<&str> = reply.text().split(' ').collect();
    for gone in ["x-hop", "keep-alive", "proxy-connection", "upgrade", "proxy-authorization"] {
        assert!(!seen.contains(&gone), "{gone} in {seen:?}");
    }
    for kept in ["x-end", "host", "te"] {
        assert!(seen.contains(&kept), "no {kept} in {seen:?}");
    }
    assert_eq!(reply.header("x-down"), Some("2"));
    for gone in ["x-up", "keep-alive", "connection"] {
        assert_eq!(reply.header(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn a_trace_and_an_id_are_continued_or_begun() {
    let server = Server::mirror().await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: test\r\nX-Request-Id: mine-1\r\ntracestate: a=b\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
        )
        .await;
    let reply = client.reply().await;
    assert_eq!(reply.header("x-request-id"), Some("mine-1"));
    assert_eq!(reply.seen("x-request-id"), ["mine-1"]);
    assert_eq!(reply.seen("tracestate"), ["a=b"]);
    let record = harness.records.nth(1).await;
    let parent = &reply.seen("traceparent")[0];
    assert_eq!(*parent, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", record.trace.span));
    assert_eq!(record.trace.parent.unwrap().to_string(), "00f067aa0ba902b7");

    client.send("GET / HTTP/1.1\r\nHost: test\r\ntracestate: a=b\r\ntraceparent: nonsense\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!(reply.header("x-request-id").unwrap().len(), 32);
    assert_eq!(reply.seen("traceparent")[0].len(), 55);
    assert_eq!(reply.seen("tracestate"), [""; 0]);
}

#[tokio::test]
async fn a_prefix_is_taken_off_before_the_service_sees_the_path() {
    let server = Server::mirror().await;
    let mut app = web(&["/shop/{*rest}"], PATIENCE);
    app.services.get_mut(&name("web")).unwrap().routes[0].strip_prefix = Some("/shop".to_owned());
    let harness = Harness::start(&app).await;
    harness.ready("web", &[server.address]);
    let reply = harness.get("/shop/cart?x=1").await;
    assert!(reply.text().starts_with("GET /cart?x=1\n"), "{}", reply.text());
    assert_eq!(reply.seen("x-forwarded-prefix"), ["/shop"]);
    assert_eq!(harness.records.nth(1).await.path(), "/shop/cart");
}

#[tokio::test]
async fn a_request_in_circles_is_stopped() {
    let harness = Harness::start(&web(&["/{*rest}"], PATIENCE)).await;
    harness.ready("web", &[harness.gateway]);
    harness.get("/").await.is_problem(502, "A0720", "proxy_loop_detected");
}

#[tokio::test]
async fn the_mesh_knows_who_calls_and_takes_only_declared_calls() {
    let server = Server::mirror().await;
    let mut orders = service("orders");
    orders.calls.insert(name("web"), call(PATIENCE, 0));
    let harness = Harness::start(&app([orders, service("web")])).await;
    harness.ready("web", &[server.address]);
    let entrance = |caller| proxy::Entrance::Mesh { caller: name(caller), callee: name("web") };
    let declared = listen(&harness.proxy, entrance("orders")).await;
    let mut client = Client::connect(declared).await;
    client
        .send("GET /any/path HTTP/1.1\r\nHost: web\r\nX-Forwarded-For: 1.2.3.4\r\nX-Atoll-Caller: x\r\n\r\n")
        .await;
    let reply = client.reply().await;
    assert!(reply.text().starts_with("GET /any/path\n"));
    assert_eq!(reply.seen("x-atoll-caller"), ["orders"]);
    assert_eq!(reply.seen("x-forwarded-for"), ["1.2.3.4, 127.0.0.1"]);
    let record = harness.records.nth(1).await;
    assert_eq!((record.caller(), record.route_name()), (Some(&name("orders")), Some("orders -> web")));

    let undeclared = listen(&harness.proxy, entrance("stranger")).await;
    let reply = Client::connect(undeclared).await.get("/").await;
    reply.is_problem(403, "A0707", "http_request_denied");
}

#[tokio::test]
async fn filters_see_requests_and_answers_and_a_handler_stands_in_for_a_service() {
    use proxy::filter::{LocalBoxFuture, Verdict};
    use proxy::{Answer, Body, Exchange, Failure, Filter, Handler};
    use std::time::Duration;

    struct Mark;
    impl Filter for Mark {
        fn request(&self, exchange: &mut Exchange) -> Verdict {
            exchange.set_header(http::HeaderName::from_static("x-marked"), "1".parse().unwrap());
            if exchange.query() == Some("refuse") {
                return Verdict::Refuse(Failure::new(proxy::Kind::BadRequest, "refused by a filter"));
            }
            Verdict::Later(Box::pin(async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Verdict::Continue
            }))
        }

        fn response(&self, _exchange: &Exchange, answer: &mut Answer) {
            answer.set_header(http::HeaderName::from_static("x-left"), "1".parse().unwrap());
        }
    }

    struct Echo;
    impl Handler for Echo {
        fn handle<'a>(&'a self, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Result<Answer, Failure>> {
            Box::pin(async {
                let body = exchange.take_body();
                Ok(Answer::new(http::StatusCode::OK).with_body(body))
            })
        }
    }

    let server = Server::mirror().await;
    let app = web(&["/web"], PATIENCE);
    let harness = Harness::start(&app).await;
    harness.ready("web", &[server.address]);
    let additions = proxy::table::Additions {
        handlers: vec![(route("POST /echo", PATIENCE), std::sync::Arc::new(Echo))],
        filters: Some(Box::new(|_, _| vec![Box::new(Mark)])),
        ..proxy::table::Additions::default()
    };
    harness.proxy.publish(proxy::RouteTable::compile_with(&app, &harness.directory, additions));
    let reply = harness.get("/web").await;
    assert_eq!((reply.seen("x-marked"), reply.header("x-left")), (vec!["1".to_owned()], Some("1")));
    let refused = harness.get("/web?refuse").await;
    refused.is_problem(400, "A0703", "http_request_error");
    assert_eq!(refused.header("x-left"), Some("1"));
    let mut client = harness.client().await;
    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(client.reply().await.text(), "hello");
    let _ = Body::empty();
}
