//! A service for tests that throws, panics and traces with Sentry's own SDK for Rust, which finds its way by `SENTRY_DSN` and
//! `SENTRY_RELEASE` alone, and ends.

use std::fmt;

use sentry::protocol::SpanStatus;

#[derive(Debug)]
struct NoSuchCard(u32);

impl fmt::Display for NoSuchCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no card {}", self.0)
    }
}

impl std::error::Error for NoSuchCard {}

#[inline(never)]
fn charge_the_card(card: u32) {
    sentry::capture_error(&NoSuchCard(card));
}

#[inline(never)]
fn open_the_till(till: u32) {
    assert!(till == 0, "the till {till} is stuck");
}

fn main() {
    let options = sentry::ClientOptions::new().traces_sample_rate(1.0).attach_stacktrace(true);
    let _sentry = sentry::init(options); // sends what is left when it goes
    let transaction = sentry::start_transaction(sentry::TransactionContext::new("settle", "task"));
    sentry::configure_scope(|scope| {
        scope.set_span(Some(transaction.clone().into()));
        scope.set_tag("bank", "<b>");
    });
    for card in [1, 2] {
        let span = transaction.start_child("http.client", "charge the card");
        charge_the_card(card);
        span.set_status(SpanStatus::InternalError);
        span.finish();
    }
    let till = std::thread::spawn(|| open_the_till(7)).join();
    sentry::capture_message("the till is empty", sentry::Level::Warning);
    transaction.finish();
    println!("the till was {}", if till.is_ok() { "open" } else { "stuck" });
}
