//! What becomes of an order that was placed: it is settled once, and told if it is large.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod common;

use std::fs;

use common::storefront_with;
use common::{Folder, Pipes, Service, catalog, notifications, nowhere, orders, payments, settlement};

const ORDER: &str = r#"{"order_id": "o-1", "book_id": "walden", "title": "Walden", "quantity": 6, "total_cents": 5100,
    "customer": "Ada", "payment_id": "pay-1", "placed_at": "2026-01-31T12:00:00Z"}"#;

fn lines(folder: &Folder, name: &str) -> usize {
    fs::read_to_string(folder.0.join(name)).unwrap_or_default().lines().count()
}

#[test]
fn an_order_is_settled_once_also_by_a_service_that_died() {
    let folder = Folder::new("settled");
    let mut desk = settlement(&folder.0);
    let first = desk.post_json("/settlements", &[], ORDER);
    assert_eq!((first.status, &first.json()["total_cents"]), (201, &5100.into()), "{first:?}");
    let again = desk.post_json("/settlements", &[], ORDER);
    assert_eq!((again.status, again.json()), (200, first.json()));
    desk.kill();

    let desk = settlement(&folder.0);
    let again = desk.post_json("/settlements", &[], ORDER);
    assert_eq!((again.status, again.json()), (200, first.json()));
    assert_eq!(desk.get("/settlements/o-1").json(), first.json());
    assert_eq!(desk.get("/settlements/o-2").problem(), "the order `o-2` is not settled");
    let all = desk.get("/settlements").json();
    assert_eq!((&all["settled"], &all["total_cents"]), (&1.into(), &5100.into()));
    assert_eq!(lines(&folder, "settlements.jsonl"), 1);
    assert_eq!(desk.post_json("/settlements", &[], "{}").status, 422);
}

#[test]
fn two_settlements_never_write_one_journal() {
    let folder = Folder::new("two");
    let _first = settlement(&folder.0);
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_settlement"))
        .env("PORT", "0")
        .env("DATA_DIR", &folder.0)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&second.stderr).contains("cannot lock the journal"), "{second:?}");
}

#[test]
fn the_customer_sees_when_an_order_was_settled() {
    let folder = Folder::new("seen");
    let (catalog, payments, desk) = (catalog(), payments(), settlement(&folder.0));
    let orders = orders(&catalog.url(), &payments.url());
    let placed =
        orders.post_json("/orders", &[], r#"{"book_id": "walden", "quantity": 1, "customer": "Ada"}"#).body;
    desk.post_json("/settlements", &[], &placed);
    let order: serde_json::Value = serde_json::from_str(&placed).unwrap();
    let shop = storefront_with(&catalog.url(), &orders.url(), &nowhere(), &desk.url());
    let page = shop.get(&format!("/shop/orders/{}", order["order_id"].as_str().unwrap())).body;
    assert!(page.contains("It was settled at 2"), "{page}");
}

/// A queue that gives one message, with a trace, and then nothing.
fn queue_with(body: &str) -> Pipes {
    let pipes = Pipes::start();
    let message = serde_json::json!({
        "MessageId": "m-1", "ReceiptHandle": "r-1", "Body": body, "Attributes": { "AWSTraceHeader": "Root=1-2-3" },
    });
    pipes.answer(200, &serde_json::json!({ "Messages": [message] }).to_string());
    pipes
}

#[test]
fn a_large_order_is_told_before_its_message_is_deleted() {
    let folder = Folder::new("told");
    let pipes = queue_with(ORDER);
    let worker = notifications(&folder.0, &pipes);
    let (head, body) = pipes.asked();
    assert!(head.contains("x-amz-target: AmazonSQS.ReceiveMessage\r\n"), "{head}");
    assert!(
        body.contains(r#"/000000000000/large-orders""#) && body.contains(r#""WaitTimeSeconds":20"#),
        "{body}"
    );
    assert!(worker.line_with("large order told").ends_with("order_id=o-1 total=€51.00 customer=Ada"));
    let (head, body) = pipes.asked();
    assert!(head.contains("x-amz-target: AmazonSQS.DeleteMessage\r\n"), "{head}");
    assert!(head.contains("x-amzn-trace-id: Root=1-2-3\r\n"), "in the trace of the order: {head}");
    assert!(body.contains(r#""ReceiptHandle":"r-1""#), "{body}");
    assert_eq!(lines(&folder, "notices.jsonl"), 1);
}

#[test]
fn a_message_that_is_no_order_stays_in_the_queue() {
    let folder = Folder::new("poison");
    let pipes = queue_with("hello");
    let mut worker = notifications(&folder.0, &pipes);
    worker.line_with("a message is no order");
    assert!(pipes.asked().0.contains("ReceiveMessage"));
    assert!(pipes.asked().0.contains("ReceiveMessage"), "it is not deleted");
    ends_in_order(&mut worker);
    assert_eq!(lines(&folder, "notices.jsonl"), 0);
}

#[test]
fn a_worker_whose_queue_is_gone_tries_again_and_still_stops_at_once() {
    let folder = Folder::new("gone");
    let pipes = Pipes::start();
    pipes.answer(503, "not now");
    let mut worker = notifications(&folder.0, &pipes);
    worker.line_with("call to large-orders failed: 503 Service Unavailable not now");
    assert_eq!(worker.get("/healthz").status, 200);
    pipes.asked();
    pipes.asked();
    ends_in_order(&mut worker);
}

fn ends_in_order(worker: &mut Service) {
    worker.terminate();
    assert!(worker.ended().success());
    assert_eq!(worker.rest_of_log().last().unwrap(), "stopped");
}
