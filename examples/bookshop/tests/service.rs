//! What every service of the shop does: start fast, say what is wrong, hand the trace on, stop cleanly.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use common::{Answer, catalog, orders, payments};

#[test]
fn a_stop_finishes_the_request_in_flight_and_closes_idle_connections() {
    let (catalog, payments) = (catalog(), payments());
    let mut orders = orders(&catalog.url(), &payments.url());

    // A connection that never asked anything, and one that keeps alive after an answer.
    let mut silent = orders.connect();
    let mut idle = orders.connect();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    let mut some = [0; 512];
    let read = idle.read(&mut some).unwrap();
    assert!(String::from_utf8_lossy(&some[..read]).starts_with("HTTP/1.1 200"));

    // `100 Continue` proves that the service works on the request before it is told to stop.
    let body = r#"{"book_id": "walden", "quantity": 1, "customer": "Ada"}"#;
    let head = format!(
        "POST /orders HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut busy = orders.connect();
    busy.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    busy.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    orders.terminate();
    orders.line_with("stopping");
    assert_eq!(idle.read(&mut some).unwrap(), 0, "the idle connection is closed");
    assert_eq!(silent.read(&mut some).unwrap(), 0, "the silent connection is closed");

    busy.write_all(body.as_bytes()).unwrap();
    let answer = Answer::read(&mut busy);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.headers["connection"], "close");
    assert!(orders.ended().success());
    assert_eq!(orders.rest_of_log().last().unwrap(), "stopped");
}

#[test]
fn the_trace_and_the_request_id_go_on_to_the_next_service() {
    // A catalog that only listens, to see what it is sent.
    let next = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", next.local_addr().unwrap());
    let seen = std::thread::spawn(move || {
        let (mut socket, _) = next.accept().unwrap();
        let mut request = Vec::new();
        let mut some = [0; 1024];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = socket.read(&mut some).unwrap();
            assert!(read > 0);
            request.extend_from_slice(&some[..read]);
        }
        socket.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    let orders = orders(&url, &url);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trail = [("traceparent", trace), ("tracestate", "a=b"), ("x-request-id", "req-1"), ("cookie", "no")];
    let body = r#"{"book_id": "a b", "quantity": 1, "customer": "Ada"}"#;
    assert_eq!(orders.post_json("/orders", &trail, body).status, 422);
    let request = seen.join().unwrap();
    assert!(request.starts_with("GET /books/a%20b HTTP/1.1\r\n"), "{request}");
    for (name, value) in &trail[..3] {
        assert!(request.contains(&format!("{name}: {value}\r\n")), "{request}");
    }
    assert!(!request.contains("cookie"), "{request}");
}

#[test]
fn every_book_of_the_catalog_can_be_found() {
    let catalog = catalog();
    let books = catalog.get("/books").json()["books"].as_array().unwrap().clone();
    assert_eq!(books.len(), 20);
    for book in &books {
        let id = book["id"].as_str().unwrap();
        assert_eq!(&catalog.get(&format!("/books/{id}")).json(), book);
    }
    let picked = catalog.get("/books?ids=walden,nothing,moby-dick").json();
    let ids: Vec<_> = picked["books"].as_array().unwrap().iter().map(|book| &book["id"]).collect();
    assert_eq!(ids, ["walden", "moby-dick"], "in the order asked for");
    assert_eq!(catalog.get("/popular").json()["books"].as_array().unwrap().len(), 5);
    assert_eq!(catalog.get("/books?q=AUSTEN").json()["books"].as_array().unwrap().len(), 2);
    assert!(catalog.get("/books/nothing").problem().contains("no book `nothing`"));
    assert_eq!(catalog.get("/nothing").problem(), "no such page");
}

#[test]
fn every_book_that_was_bought_with_others_is_in_the_catalog() {
    let catalog = catalog();
    let baskets: Vec<Vec<String>> = serde_json::from_str(include_str!("../data/baskets.json")).unwrap();
    for id in baskets.iter().flatten() {
        assert_eq!(catalog.get(&format!("/books/{id}")).status, 200, "{id}");
    }
}

#[test]
fn a_service_that_cannot_start_says_why_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let orders = env!("CARGO_BIN_EXE_orders");
    let catalog = env!("CARGO_BIN_EXE_catalog");
    let payments = env!("CARGO_BIN_EXE_payments");
    let fails = |program: &str, environment: &[(&str, &str)], why: &str| {
        let mut command = Command::new(program);
        let output = command.env_clear().envs(environment.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why) && said.lines().count() == 1, "{said}");
    };
    fails(catalog, &[], "PORT is not set");
    fails(catalog, &[("PORT", "http")], "HOST=127.0.0.1 and PORT=http are not");
    fails(catalog, &[("PORT", &port)], "cannot listen on 127.0.0.1:");
    fails(orders, &[("PORT", "0")], "CATALOG_URL is not set: where is catalog?");
    fails(orders, &[("PORT", "0"), ("CATALOG_URL", "catalog")], "is not an http:// address");
    fails(payments, &[("PORT", "0"), ("LIMIT_CENTS", "lots")], "LIMIT_CENTS=lots makes no sense");
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let (catalog, payments) = (catalog(), payments());
    let orders = orders(&catalog.url(), &payments.url());
    let mut socket = orders.connect();
    // One byte above the limit is enough: the service does not wait for the rest.
    let head = "POST /orders HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
                content-type: application/json\r\ncontent-length: 1000000\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(&[b' '; 16 * 1024 + 1]).unwrap();
    let answer = Answer::read(&mut socket);
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.problem().contains("limit"));
}
