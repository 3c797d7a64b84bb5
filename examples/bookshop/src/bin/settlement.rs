//! Settlement: books each order that was placed, once, whatever is repeated and whoever dies.
//!
//! | request | answer |
//! |---|---|
//! | `POST /settlements`, an order | 201 when it is booked, 200 when it was already |
//! | `GET /settlements/{id}` | the settlement of an order |
//! | `GET /settlements` | how many and how much; the latest, newest first; `?limit=` how many |
//!
//! Orders come from the queue `settle`, which hands them over as requests and again until one is answered with 2xx. So an
//! order may come twice: its id says that it is the same. The journal (`DATA_DIR`) is read at the start, and written before
//! the answer.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use bookshop::recent::Latest;
use bookshop::server::{log, setting};
use bookshop::{Journal, Problem, Trail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Settlements that a journal may have. All of them are known: to forget one would be to book it again.
const MOST: usize = 1_000_000;

fn main() -> ExitCode {
    bookshop::server::run("settlement", || {
        let path = PathBuf::from(setting("DATA_DIR", ".data".to_owned())?).join("settlements.jsonl");
        let (journal, settlements) = Journal::open(&path)?;
        log(format_args!("{} settlements are booked", settlements.len()));
        let mut book = Book { journal, settled: HashMap::new(), in_order: Vec::new(), total_cents: 0 };
        settlements.into_iter().for_each(|settlement| book.note(settlement));
        Ok(Router::new()
            .route("/settlements", post(settle).get(list))
            .route("/settlements/{id}", get(one))
            .with_state(Arc::new(Desk { book: Mutex::new(book) })))
    })
}

struct Desk {
    book: Mutex<Book>,
}

struct Book {
    journal: Journal,
    /// By order id, its place below.
    settled: HashMap<String, usize>,
    in_order: Vec<Settlement>,
    total_cents: u64,
}

/// What settlement wants to know of an order.
#[derive(Debug, Deserialize)]
struct Order {
    order_id: String,
    payment_id: String,
    total_cents: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Settlement {
    order_id: String,
    payment_id: String,
    total_cents: u64,
    settled_at: String,
}

impl Book {
    fn note(&mut self, settlement: Settlement) {
        self.total_cents = self.total_cents.saturating_add(settlement.total_cents);
        self.settled.insert(settlement.order_id.clone(), self.in_order.len());
        self.in_order.push(settlement);
    }

    fn find(&self, order_id: &str) -> Option<&Settlement> {
        self.in_order.get(*self.settled.get(order_id)?)
    }
}

impl Desk {
    /// Never held across an await: nothing comes between the look whether an order is settled and its line on disk.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn settle(
    State(desk): State<Arc<Desk>>,
    trail: Trail,
    order: Result<Json<Order>, JsonRejection>,
) -> Result<(StatusCode, Json<Settlement>), Problem> {
    let Json(Order { order_id, payment_id, total_cents }) = order?;
    let mut book = desk.book();
    if let Some(settlement) = book.find(&order_id) {
        log(format_args!("order settled already order_id={order_id} request_id={}", trail.request_id()));
        return Ok((StatusCode::OK, Json(settlement.clone())));
    }
    if book.in_order.len() >= MOST {
        return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "book is full", "begin another one"));
    }
    let settled_at = format!("{:.3}", jiff::Timestamp::now());
    let settlement = Settlement { order_id, payment_id, total_cents, settled_at };
    if let Err(error) = book.journal.append(&settlement) {
        log(format_args!("cannot write the journal: {error}"));
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not booked",
            "the book cannot be written",
        ));
    }
    book.note(settlement.clone());
    log(format_args!(
        "order settled order_id={} total_cents={total_cents} request_id={}",
        settlement.order_id,
        trail.request_id()
    ));
    Ok((StatusCode::CREATED, Json(settlement)))
}

async fn one(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Result<Json<Settlement>, Problem> {
    match desk.book().find(&id) {
        Some(settlement) => Ok(Json(settlement.clone())),
        None => Err(Problem::not_found(format!("the order `{id}` is not settled"))),
    }
}

async fn list(
    State(desk): State<Arc<Desk>>,
    latest: Result<Query<Latest>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(wanted) = latest?;
    let book = desk.book();
    let latest: Vec<&Settlement> = book.in_order.iter().rev().take(wanted.count()).collect();
    Ok(Json(
        json!({ "settled": book.in_order.len(), "total_cents": book.total_cents, "settlements": latest }),
    ))
}
