//! An order goes through the catalog and payments, once.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod common;

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use common::{Pipes, Service, catalog, nowhere, orders, orders_at, payments};

const TWO_WHALES: &str = r#"{"book_id": "moby-dick", "quantity": 2, "customer": "Ada"}"#;

#[test]
fn an_order_is_checked_by_the_catalog_and_paid_before_it_is_placed() {
    let (catalog, payments) = (catalog(), payments());
    let orders = orders(&catalog.url(), &payments.url());

    let trail = [("x-request-id", "req-7")];
    let answer = orders.post_json("/orders", &trail, TWO_WHALES);
    assert_eq!(answer.status, 201, "{answer:?}");
    let order = answer.json();
    assert_eq!(order["title"], "Moby-Dick; or, The Whale", "the title comes from the catalog");
    assert_eq!(order["total_cents"], 2380);

    let paid = payments.line_with("payment taken");
    assert!(paid.contains(order["payment_id"].as_str().unwrap()), "{paid}");
    assert!(paid.contains("amount_cents=2380") && paid.contains("request_id=req-7"), "{paid}");

    assert_eq!(orders.get(&answer.headers["location"]).json(), order);
    assert_eq!(orders.get("/orders").json()["orders"][0], order);
}

#[test]
fn an_order_is_accepted_once_it_is_published_in_the_trace_of_whoever_asked() {
    let (catalog, payments, pipes) = (catalog(), payments(), Pipes::start());
    let orders = orders_at(&catalog.url(), &payments.url(), &pipes);
    let trace = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let order = orders.post_json("/orders", &[trace], TWO_WHALES);
    assert_eq!(order.status, 201);

    let (head, body) = pipes.asked();
    assert!(head.contains(&format!("{}: {}\r\n", trace.0, trace.1)), "{head}");
    assert!(head.contains("authorization: AWS4-HMAC-SHA256 Credential=AKIA234567ABCDEFGHIJ/"), "{head}");
    assert!(!head.contains("x-amz-security-token"), "an empty one is none: {head}");
    assert!(body.starts_with("Action=Publish&Version=2010-03-31&TopicArn=arn%3Aaws%3Asns%3A"), "{body}");
    assert!(body.contains(order.json()["order_id"].as_str().unwrap()), "{body}");
    assert!(body.ends_with(
        "&MessageAttributes.entry.1.Name=total_cents&MessageAttributes.entry.1.Value.DataType=Number\
         &MessageAttributes.entry.1.Value.StringValue=2380"
    ));
}

#[test]
fn an_order_that_cannot_be_published_is_not_accepted_and_may_be_sent_again() {
    let (catalog, payments, pipes) = (catalog(), payments(), Pipes::start());
    let orders = orders_at(&catalog.url(), &payments.url(), &pipes);
    let key = [("idempotency-key", "k-1")];
    pipes.answer(503, "not now");
    pipes.answer(403, "still not");
    let answer = orders.post_json("/orders", &key, TWO_WHALES);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.problem(), "order-placed is not available at the moment, please try again");
    assert_eq!(orders.get("/orders").json()["orders"].as_array().unwrap().len(), 0);

    let accepted = orders.post_json("/orders", &key, TWO_WHALES);
    assert_eq!(accepted.status, 201);
    let ids: Vec<String> = (0..3).map(|_| pipes.asked().1).collect();
    let id = accepted.json()["order_id"].as_str().unwrap().to_owned();
    assert!(ids.iter().all(|published| published.contains(&id)), "each time under one id: {ids:?}");
    assert_eq!(payments_taken(payments), 1);
}

#[test]
fn a_key_gives_the_same_order_after_the_service_has_died() {
    let (catalog, payments) = (catalog(), payments());
    let place = || {
        let orders = orders(&catalog.url(), &payments.url());
        orders.post_json("/orders", &[("idempotency-key", "k-1")], TWO_WHALES).json()["order_id"].clone()
    };
    assert_eq!(place(), place());
    assert_eq!(payments_taken(payments), 1);
}

#[test]
fn the_latest_order_comes_first_and_a_limit_is_kept() {
    let (catalog, payments) = (catalog(), payments());
    let orders = orders(&catalog.url(), &payments.url());
    for book in ["walden", "middlemarch", "persuasion"] {
        let body = format!(r#"{{"book_id": "{book}", "quantity": 1, "customer": "Ada"}}"#);
        assert_eq!(orders.post_json("/orders", &[], &body).status, 201);
    }
    let listed = orders.get("/orders?limit=2").json();
    let books: Vec<_> = listed["orders"].as_array().unwrap().iter().map(|order| &order["book_id"]).collect();
    assert_eq!(books, ["persuasion", "middlemarch"]);
}

#[test]
fn a_declined_payment_is_402_and_leaves_no_order() {
    let (catalog, payments) = (catalog(), payments());
    let orders = orders(&catalog.url(), &payments.url());
    let body = r#"{"book_id": "the-atoll-atlas", "quantity": 3, "customer": "Ada"}"#;
    let answer = orders.post_json("/orders", &[], body);
    assert_eq!(answer.status, 402);
    assert_eq!(answer.problem(), "€567.00 is more than this card allows");
    assert_eq!(orders.get("/orders").json()["orders"].as_array().unwrap().len(), 0);
}

#[test]
fn a_declined_order_may_be_changed_under_the_same_key() {
    let (catalog, payments) = (catalog(), payments());
    let orders = orders(&catalog.url(), &payments.url());
    let key = [("idempotency-key", "the form a customer went back to")];
    let body = r#"{"book_id": "the-atoll-atlas", "quantity": 3, "customer": "Ada"}"#;
    assert_eq!(orders.post_json("/orders", &key, body).status, 402);
    let fewer = body.replace('3', "1");
    assert_eq!(orders.post_json("/orders", &key, &fewer).status, 201);
}

#[test]
fn the_same_idempotency_key_gives_the_same_order_and_is_paid_once() {
    let (catalog, payments) = (catalog(), payments());
    let orders = orders(&catalog.url(), &payments.url());
    let key = [("idempotency-key", "k-1")];
    let first = orders.post_json("/orders", &key, TWO_WHALES);
    let second = orders.post_json("/orders", &key, TWO_WHALES);
    assert_eq!((second.status, second.json()), (201, first.json()));

    let other = r#"{"book_id": "walden", "quantity": 1, "customer": "Ada"}"#;
    let misused = orders.post_json("/orders", &key, other);
    assert_eq!(misused.status, 422);
    assert!(misused.problem().contains("another order"));

    assert_eq!(orders.get("/orders").json()["orders"].as_array().unwrap().len(), 1);
    assert_eq!(payments_taken(payments), 1);
}

#[test]
fn an_order_whose_payment_was_taken_and_not_heard_of_is_paid_once() {
    let (catalog, payments) = (catalog(), payments());
    let orders = orders(&catalog.url(), &loses_the_first_answer(payments.address));
    let key = [("idempotency-key", "k-1")];
    assert_eq!(orders.post_json("/orders", &key, TWO_WHALES).status, 503, "the answer got lost");
    payments.line_with("payment taken");

    let again = orders.post_json("/orders", &key, TWO_WHALES);
    assert_eq!(again.status, 201, "{again:?}");
    assert_eq!(payments_taken(payments), 0, "no second payment");
}

#[test]
fn a_payment_key_pays_one_bill_only() {
    let payments = payments();
    let key = [("idempotency-key", "o-1")];
    let bill = r#"{"order_id": "o-1", "customer": "Ada", "amount_cents": 500}"#;
    let first = payments.post_json("/payments", &key, bill);
    assert_eq!((first.status, first.json()), (201, payments.post_json("/payments", &key, bill).json()));
    assert_eq!(payments.post_json("/payments", &key, &bill.replace("500", "600")).status, 422);
    assert_eq!(payments_taken(payments), 1);
}

#[test]
fn a_retry_after_a_failed_neighbour_places_the_order() {
    let catalog = catalog();
    let payments = payments();
    let lost = orders(&catalog.url(), &nowhere());
    let answer = lost.post_json("/orders", &[("idempotency-key", "k")], TWO_WHALES);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.problem(), "payments is not available at the moment, please try again");
    assert!(lost.line_with("call to payments failed").contains("onnect"));

    let found = orders(&catalog.url(), &payments.url());
    assert_eq!(found.post_json("/orders", &[("idempotency-key", "k")], TWO_WHALES).status, 201);
}

#[test]
fn what_cannot_be_ordered_is_refused_in_plain_words() {
    let (catalog, payments) = (catalog(), payments());
    let orders = orders(&catalog.url(), &payments.url());
    let cases = [
        (r#"{"book_id": "no/such?book", "quantity": 1, "customer": "Ada"}"#, 422, "no book `no/such?book`"),
        (r#"{"book_id": "walden", "quantity": 0, "customer": "Ada"}"#, 422, "`quantity` must be"),
        (r#"{"book_id": "walden", "quantity": 1, "customer": " "}"#, 422, "`customer` must be"),
        (r#"{"book_id": "walden"}"#, 422, "missing field `quantity`"),
        ("order me a book", 400, "JSON"),
    ];
    for (body, status, words) in cases {
        let answer = orders.post_json("/orders", &[], body);
        assert_eq!(answer.status, status, "{body}");
        assert!(answer.problem().contains(words), "{}", answer.body);
    }
    let long = "k".repeat(101);
    let answer = orders.post_json("/orders", &[("idempotency-key", &long)], TWO_WHALES);
    assert_eq!((answer.status, answer.problem().contains("1 to 100 bytes")), (400, true));
    assert!(orders.get("/orders?limit=many").problem().contains("limit"));
    assert_eq!(orders.get("/orders/o-0").status, 404);
    assert_eq!(orders.send("DELETE", "/orders", &[], "").status, 405);
}

#[test]
fn reports_in_python_sum_up_the_orders() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3 here");
        return;
    }
    let (catalog, payments) = (catalog(), payments());
    let orders = orders(&catalog.url(), &payments.url());
    for _ in 0..2 {
        assert_eq!(orders.post_json("/orders", &[], TWO_WHALES).status, 201);
    }
    let mut python = std::process::Command::new("python3");
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/reports/report.py"));
    let mut reports = Service::spawn(python, &[("ORDERS_URL", orders.url())]);
    assert_eq!(reports.get("/healthz").status, 200);
    let report = reports.get("/report").json();
    assert_eq!((&report["orders"], &report["copies"]), (&2.into(), &4.into()));
    assert_eq!(report["revenue_cents"], 4760);

    drop(orders);
    assert_eq!(reports.get("/report").problem(), "orders cannot be read at the moment");
    reports.terminate();
    assert!(reports.ended().success());
    assert_eq!(reports.rest_of_log().last().unwrap(), "stopped");
}

/// A way to `to` that hands every byte on, except that the first connection breaks as its answer comes.
fn loses_the_first_answer(to: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (number, near) in listener.incoming().map_while(Result::ok).enumerate() {
            let far = TcpStream::connect(to).unwrap();
            let (mut up_from, mut up_to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || io::copy(&mut up_from, &mut up_to));
            let (mut far, mut near) = (far, near);
            std::thread::spawn(move || {
                if number == 0 {
                    let _ = far.read(&mut [0]);
                    let _ = near.shutdown(Shutdown::Both);
                } else {
                    let _ = io::copy(&mut far, &mut near);
                }
            });
        }
    });
    url
}

/// Ends payments and counts what it took since its log was last read.
fn payments_taken(mut payments: Service) -> usize {
    payments.terminate();
    assert!(payments.ended().success());
    payments.rest_of_log().iter().filter(|line| line.starts_with("payment taken")).count()
}
