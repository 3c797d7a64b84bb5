//! Orders: checks the book with the catalog, takes the payment, publishes the order, remembers it.
//!
//! | request | answer |
//! |---|---|
//! | `POST /orders` `{book_id, quantity, customer}` | 201, `Location` and the order |
//! | `GET /orders/{id}` | one order |
//! | `GET /orders` | the latest, newest first; `?limit=` how many |
//!
//! A request may carry an `Idempotency-Key`: sent again with the same key it gives the same order. That holds even when the
//! first try broke off half-way, or this service died of it, because the order's id is made of the key, and the payment is
//! keyed by that id.
//!
//! An order is accepted once it is published: whoever listens to the topic `order-placed` will hear of it, whatever happens
//! next. It may be published twice, with one id.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bookshop::call::encode;
use bookshop::recent::Latest;
use bookshop::server::log;
use bookshop::sign::hash;
use bookshop::{CallError, Problem, Recent, Topic, Trail, Upstream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Orders, and idempotency keys, kept in memory.
const KEPT: usize = 10_000;
/// The most copies of a book in one order.
const MAX_QUANTITY: u32 = 99;
/// The longest customer name and the longest idempotency key, in bytes.
const MAX_TEXT: usize = 100;

const CATALOG_TIMEOUT: Duration = Duration::from_millis(600);
const PAYMENTS_TIMEOUT: Duration = Duration::from_millis(800);

fn main() -> ExitCode {
    bookshop::server::run("orders", || {
        let desk = Desk {
            catalog: Upstream::from_env("catalog", CATALOG_TIMEOUT)?,
            payments: Upstream::from_env("payments", PAYMENTS_TIMEOUT)?,
            placed: Topic::from_env("order-placed")?,
            memory: Mutex::new(Memory { orders: Recent::new(KEPT), intents: Recent::new(KEPT) }),
        };
        Ok(Router::new()
            .route("/orders", post(place).get(list))
            .route("/orders/{id}", axum::routing::get(one))
            .with_state(Arc::new(desk)))
    })
}

struct Desk {
    catalog: Upstream,
    payments: Upstream,
    placed: Topic,
    memory: Mutex<Memory>,
}

struct Memory {
    /// By order id.
    orders: Recent<Order>,
    /// By idempotency key: what was asked for, and the id its order has or will have.
    intents: Recent<(String, NewOrder)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct NewOrder {
    book_id: String,
    quantity: u32,
    customer: String,
}

#[derive(Clone, Debug, Serialize)]
struct Order {
    order_id: String,
    book_id: String,
    title: String,
    quantity: u32,
    total_cents: u64,
    customer: String,
    payment_id: String,
    placed_at: String,
}

/// What orders wants to know of a book.
#[derive(Debug, Deserialize)]
struct Book {
    title: String,
    price_cents: u32,
}

/// What orders wants to know of a payment.
#[derive(Debug, Deserialize)]
struct Payment {
    payment_id: String,
}

async fn place(
    State(desk): State<Arc<Desk>>,
    trail: Trail,
    headers: HeaderMap,
    wanted: Result<Json<NewOrder>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(wanted) = wanted?;
    check(&wanted)?;
    let key = idempotency_key(&headers)?;
    let order_id = desk.order_id_for(key, &wanted)?;
    let known = desk.memory().orders.get(&order_id).cloned();
    let order = match known {
        Some(order) => order,
        None => match desk.buy(&trail, order_id, wanted).await {
            Ok(order) => order,
            Err(problem) => {
                // A plain no costs nothing, so the customer may change the order and keep the key. After a
                // failure nobody knows whether the payment was taken: the key stays bound to this order.
                if let Some(key) = key
                    && problem.status < 500
                {
                    desk.memory().intents.remove(key);
                }
                return Err(problem);
            }
        },
    };
    let location = format!("/orders/{}", order.order_id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(order)).into_response())
}

async fn one(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Result<Json<Order>, Problem> {
    match desk.memory().orders.get(&id) {
        Some(order) => Ok(Json(order.clone())),
        None => Err(Problem::not_found(format!("there is no order `{id}`"))),
    }
}

async fn list(
    State(desk): State<Arc<Desk>>,
    latest: Result<Query<Latest>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(wanted) = latest?;
    let memory = desk.memory();
    let orders: Vec<&Order> = memory.orders.newest().take(wanted.count()).collect();
    Ok(Json(json!({ "orders": orders })))
}

fn check(wanted: &NewOrder) -> Result<(), Problem> {
    if wanted.quantity == 0 || wanted.quantity > MAX_QUANTITY {
        return Err(Problem::unprocessable(format!("`quantity` must be between 1 and {MAX_QUANTITY}")));
    }
    if wanted.customer.trim().is_empty() || wanted.customer.len() > MAX_TEXT {
        return Err(Problem::unprocessable(format!("`customer` must be a name of at most {MAX_TEXT} bytes")));
    }
    Ok(())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_TEXT => Ok(Some(key)),
        _ => {
            let detail = format!("`Idempotency-Key` must be plain text of 1 to {MAX_TEXT} bytes");
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad idempotency key", detail))
        }
    }
}

impl Desk {
    /// Never held across an await.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of the order this request is about: a new one, unless its idempotency key has one already.
    fn order_id_for(&self, key: Option<&str>, wanted: &NewOrder) -> Result<String, Problem> {
        let Some(key) = key else { return Ok(format!("o-{:016x}", rand::random::<u64>())) };
        let NewOrder { book_id, quantity, customer } = wanted;
        let of_key = hash(json!([key, book_id, quantity, customer]).to_string().as_bytes());
        let order_id = format!("o-{}", &of_key[..16]);
        let mut memory = self.memory();
        if let Some((order_id, before)) = memory.intents.get(key) {
            if before != wanted {
                let detail = "this `Idempotency-Key` was used for another order; take a new one";
                return Err(Problem::unprocessable(detail));
            }
            return Ok(order_id.clone());
        }
        memory.intents.put(key, (order_id.clone(), wanted.clone()));
        Ok(order_id)
    }

    /// The deal itself: look the book up, take the money, tell everybody. Safe to repeat with one `order_id`.
    async fn buy(&self, trail: &Trail, order_id: String, wanted: NewOrder) -> Result<Order, Problem> {
        let NewOrder { book_id, quantity, customer } = wanted;
        let book: Book = match self.catalog.get(trail, &format!("/books/{}", encode(&book_id))).await {
            Ok(book) => book,
            Err(CallError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
                return Err(Problem::unprocessable(format!("there is no book `{book_id}` to order")));
            }
            Err(error) => return Err(error.into()),
        };
        let total_cents = u64::from(book.price_cents) * u64::from(quantity);
        let bill = json!({ "order_id": order_id, "customer": customer, "amount_cents": total_cents });
        let payment: Payment = match self.payments.post(trail, "/payments", &order_id, &bill).await {
            Ok(payment) => payment,
            Err(CallError::Refused { status: StatusCode::PAYMENT_REQUIRED, detail, .. }) => {
                log(format_args!("order not paid order_id={order_id} request_id={}", trail.request_id()));
                return Err(Problem::new(StatusCode::PAYMENT_REQUIRED, "payment declined", detail));
            }
            Err(error) => return Err(error.into()),
        };
        let order = Order {
            order_id,
            book_id,
            title: book.title,
            quantity,
            total_cents,
            customer,
            payment_id: payment.payment_id,
            placed_at: format!("{:.3}", jiff::Timestamp::now()),
        };
        self.placed.publish(trail, &order, &[("total_cents", total_cents)]).await?;
        log(format_args!(
            "order placed order_id={} book_id={} quantity={quantity} request_id={}",
            order.order_id,
            order.book_id,
            trail.request_id()
        ));
        self.memory().orders.put(&order.order_id, order.clone());
        Ok(order)
    }
}
