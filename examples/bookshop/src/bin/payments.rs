//! Payments: approves an amount, or declines it. `LIMIT_CENTS` says what is too much (default 500.00).
//!
//! | request | answer |
//! |---|---|
//! | `POST /payments` `{order_id, customer, amount_cents}` | 201 and the payment; 402 when declined |
//!
//! There is a bug in it on purpose, for whoever wants to see how one is found: a customer may give a loyalty card behind the
//! name (`Ada #7`), and a card that is no number (`Ada #seven`) was never thought of.
//!
//! An `Idempotency-Key` that was seen before gives the same payment again instead of a second one.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use bookshop::server::{log, setting};
use bookshop::{Problem, Recent, Trail};
use serde::{Deserialize, Serialize};

/// Payments kept in memory.
const KEPT: usize = 10_000;

fn main() -> ExitCode {
    bookshop::server::run("payments", || {
        let till = Till { limit_cents: setting("LIMIT_CENTS", 50_000)?, paid: Mutex::new(Recent::new(KEPT)) };
        Ok(Router::new().route("/payments", post(pay)).with_state(Arc::new(till)))
    })
}

struct Till {
    limit_cents: u64,
    /// By idempotency key.
    paid: Mutex<Recent<Payment>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Bill {
    order_id: String,
    customer: String,
    amount_cents: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Payment {
    payment_id: String,
    #[serde(flatten)]
    bill: Bill,
}

async fn pay(
    State(till): State<Arc<Till>>,
    trail: Trail,
    headers: HeaderMap,
    bill: Result<Json<Bill>, JsonRejection>,
) -> Result<(StatusCode, Json<Payment>), Problem> {
    let Json(bill) = bill?;
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let key = key.unwrap_or(&bill.order_id).to_owned();

    let card = loyalty_card(&bill.customer);
    // Nothing below waits, so two requests with one key cannot come between each other.
    let mut paid = till.paid.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(payment) = paid.get(&key) {
        if payment.bill != bill {
            return Err(Problem::unprocessable("this idempotency key has paid another bill"));
        }
        return Ok((StatusCode::CREATED, Json(payment.clone())));
    }
    let (order_id, amount) = (&bill.order_id, bill.amount_cents);
    if amount > till.limit_cents {
        log(format_args!(
            "payment declined order_id={order_id} amount_cents={amount} request_id={}",
            trail.request_id()
        ));
        let detail = format!("{} is more than this card allows", bookshop::page::price(amount));
        return Err(Problem::new(StatusCode::PAYMENT_REQUIRED, "payment declined", detail));
    }
    let payment_id = format!("pay-{:016x}", rand::random::<u64>());
    log(format_args!(
        "payment taken payment_id={payment_id} order_id={order_id} amount_cents={amount} loyalty_card={} request_id={}",
        card.map_or_else(|| "none".to_owned(), |card| card.to_string()),
        trail.request_id()
    ));
    let payment = Payment { payment_id, bill };
    paid.put(&key, payment.clone());
    Ok((StatusCode::CREATED, Json(payment)))
}

/// The number of a customer's loyalty card, if there is one: `Ada #7`.
#[expect(clippy::panic, reason = "the bug that this shop is there to show")]
fn loyalty_card(customer: &str) -> Option<u32> {
    let (_, card) = customer.rsplit_once('#')?;
    match card.parse() {
        Ok(number) => Some(number),
        Err(error) => panic!("loyalty card {card:?}: {error}"),
    }
}
