//! The storefront: pages for people. The books come with the page; recommendations and recent orders are
//! asked for by the page once it is shown, so that a slow neighbour never keeps a customer waiting.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | all books, or those that match `?q=` |
//! | `GET /shop/books/{id}` | one book and a form to order it |
//! | `POST /shop/orders` | places the order, leads to its page |
//! | `GET /shop/orders/{id}` | one order |
//! | `GET /fragments/recommendations?book=` | a piece of page: what others bought, or what is popular |
//! | `GET /fragments/orders` | a piece of page: the latest orders |

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::FormRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use bookshop::call::encode;
use bookshop::page::{escape, fragment, page, price};
use bookshop::server::log;
use bookshop::{CallError, Trail, Upstream};
use serde::{Deserialize, Serialize};

const CATALOG_TIMEOUT: Duration = Duration::from_secs(1);
/// Long enough for an order: orders itself asks the catalog and payments.
const ORDERS_TIMEOUT: Duration = Duration::from_secs(2);
/// What is only nice to have must be quick. `atoll.yaml` gives it 150 ms, and popular books as much again.
const RECOMMENDATIONS_TIMEOUT: Duration = Duration::from_millis(400);
const SETTLEMENT_TIMEOUT: Duration = Duration::from_millis(400);

/// How many of the latest orders are shown.
const LATEST: usize = 5;

fn main() -> ExitCode {
    bookshop::server::run("storefront", || {
        let shop = Shop {
            catalog: Upstream::from_env("catalog", CATALOG_TIMEOUT)?,
            orders: Upstream::from_env("orders", ORDERS_TIMEOUT)?,
            recommendations: Upstream::from_env("recommendations", RECOMMENDATIONS_TIMEOUT)?,
            settlement: Upstream::from_env("settlement", SETTLEMENT_TIMEOUT)?,
        };
        Ok(Router::new()
            .route("/", get(home))
            .route("/shop/books/{id}", get(book_page))
            .route("/shop/orders", post(place_order))
            .route("/shop/orders/{id}", get(order_page))
            .route("/fragments/recommendations", get(recommended))
            .route("/fragments/orders", get(latest_orders))
            .with_state(Arc::new(shop)))
    })
}

struct Shop {
    catalog: Upstream,
    orders: Upstream,
    recommendations: Upstream,
    settlement: Upstream,
}

#[derive(Debug, Deserialize)]
struct Book {
    id: String,
    title: String,
    author: String,
    price_cents: u32,
    #[serde(default)]
    blurb: String,
}

#[derive(Debug, Deserialize)]
struct Books {
    books: Vec<Book>,
}

/// What recommendations answers. Without `book_id` it is what somebody else said in its stead.
#[derive(Debug, Deserialize)]
struct Suggestions {
    #[serde(default)]
    book_id: Option<String>,
    books: Vec<Book>,
}

#[derive(Debug, Deserialize)]
struct Order {
    order_id: String,
    title: String,
    quantity: u32,
    total_cents: u64,
}

#[derive(Debug, Deserialize)]
struct Orders {
    orders: Vec<Order>,
}

#[derive(Debug, Deserialize)]
struct Settlement {
    settled_at: String,
}

#[derive(Debug, Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
}

async fn home(State(shop): State<Arc<Shop>>, trail: Trail, Query(search): Query<Search>) -> Response {
    let path = format!("/books?q={}", encode(&search.q));
    let Books { books } = match shop.catalog.get(&trail, &path).await {
        Ok(books) => books,
        Err(error) => return sorry(&error, "Our shelves cannot be shown at the moment."),
    };
    let mut body = match books.is_empty() {
        true => format!("<p>No book matches “{}”.</p>\n", escape(&search.q)),
        false => grid(&books),
    };
    if let Some(book) = books.first() {
        body += &recommendations_place(&book.id);
    }
    body += &fragment("/fragments/orders", "Just sold");
    page(StatusCode::OK, "The Lagoon Bookshop", &body)
}

async fn book_page(State(shop): State<Arc<Shop>>, trail: Trail, Path(id): Path<String>) -> Response {
    let book: Book = match shop.catalog.get(&trail, &format!("/books/{}", encode(&id))).await {
        Ok(book) => book,
        Err(error) => return sorry(&error, "This book cannot be shown at the moment."),
    };
    // The key is made with the page: sending the form twice orders once.
    let body = format!(
        "<article class=\"book\">{cover}<div><h2>{title}</h2><p class=\"by\">{author}</p>\
         <p>{blurb}</p><p class=\"price\">{price}</p>\n\
         <form action=\"/shop/orders\" method=\"post\">\
         <input type=\"hidden\" name=\"book_id\" value=\"{id}\">\
         <input type=\"hidden\" name=\"key\" value=\"{key:016x}\">\n\
         <label>Your name<br><input name=\"customer\" required maxlength=\"60\" autocomplete=\"name\"></label>\n\
         <label>Copies<br><input name=\"quantity\" type=\"number\" value=\"1\" min=\"1\" max=\"99\"></label>\n\
         <button>Order</button></form></div></article>\n{more}",
        cover = cover(&book),
        title = escape(&book.title),
        author = escape(&book.author),
        blurb = escape(&book.blurb),
        price = price(book.price_cents.into()),
        id = escape(&book.id),
        key = rand::random::<u64>(),
        more = recommendations_place(&book.id),
    );
    page(StatusCode::OK, &book.title, &body)
}

#[derive(Debug, Deserialize)]
struct OrderForm {
    book_id: String,
    quantity: u32,
    customer: String,
    key: String,
}

#[derive(Debug, Serialize)]
struct NewOrder {
    book_id: String,
    quantity: u32,
    customer: String,
}

async fn place_order(
    State(shop): State<Arc<Shop>>,
    trail: Trail,
    form: Result<Form<OrderForm>, FormRejection>,
) -> Response {
    let OrderForm { book_id, quantity, customer, key } = match form {
        Ok(Form(form)) => form,
        Err(error) => {
            return page(error.status(), "Not ordered", &message("Not ordered", &error.body_text()));
        }
    };
    let order = NewOrder { book_id, quantity, customer };
    match shop.orders.post::<Order>(&trail, "/orders", &key, &order).await {
        Ok(order) => Redirect::to(&format!("/shop/orders/{}", encode(&order.order_id))).into_response(),
        Err(error) => {
            sorry(&error, "We could not take your order. Reload to try again: you never pay twice.")
        }
    }
}

async fn order_page(State(shop): State<Arc<Shop>>, trail: Trail, Path(id): Path<String>) -> Response {
    match shop.orders.get::<Order>(&trail, &format!("/orders/{}", encode(&id))).await {
        Ok(order) => {
            let text = format!("{} × {}, {}.", order.quantity, order.title, price(order.total_cents));
            let path = format!("/settlements/{}", encode(&order.order_id));
            let settled = match shop.settlement.get::<Settlement>(&trail, &path).await {
                Ok(settlement) => format!("It was settled at {}.", settlement.settled_at),
                // Not yet, or nobody can say: an order that was accepted will be, all the same.
                Err(_) => "It is about to be settled.".to_owned(),
            };
            let text = format!("{text} Order {}. {settled}", order.order_id);
            let body = message("Thank you, it is yours", &text);
            page(StatusCode::OK, "Your order", &body)
        }
        Err(error) => sorry(&error, "This order cannot be shown at the moment."),
    }
}

#[derive(Debug, Deserialize)]
struct About {
    #[serde(default)]
    book: String,
}

/// What others bought; when that cannot be had in time, what everybody buys (`fallback` in `atoll.yaml`), and a
/// quiet word about it.
async fn recommended(
    State(shop): State<Arc<Shop>>,
    trail: Trail,
    Query(about): Query<About>,
) -> Result<Html<String>, StatusCode> {
    let path = format!("/recommendations/{}", encode(&about.book));
    let Suggestions { book_id, books } = match shop.recommendations.get(&trail, &path).await {
        Ok(suggestions) => suggestions,
        Err(CallError::Refused { status, .. }) => return Err(status),
        Err(CallError::Failed { .. }) => return Err(StatusCode::SERVICE_UNAVAILABLE),
    };
    if book_id.is_some() {
        return Ok(Html(format!("<h2>Readers also bought</h2>\n{}", grid(&books))));
    }
    log(format_args!("showing popular books instead request_id={}", trail.request_id()));
    Ok(Html(format!(
        "<h2>Popular right now</h2>\n{}<p class=\"note\">Personal suggestions are taking a break.</p>\n",
        grid(&books)
    )))
}

/// Which books were just sold. Not to whom: that is nobody's business.
async fn latest_orders(State(shop): State<Arc<Shop>>, trail: Trail) -> Result<Html<String>, StatusCode> {
    let path = format!("/orders?limit={LATEST}");
    let Ok(Orders { orders }) = shop.orders.get(&trail, &path).await else {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    };
    let mut html = "<h2>Just sold</h2>\n<ul class=\"sold\">\n".to_owned();
    for order in &orders {
        html += &format!("<li>{} × {}</li>\n", order.quantity, escape(&order.title));
    }
    if orders.is_empty() {
        html += "<li>Nothing yet today. Be the first!</li>\n";
    }
    Ok(Html(html + "</ul>\n"))
}

fn recommendations_place(book_id: &str) -> String {
    fragment(&format!("/fragments/recommendations?book={}", encode(book_id)), "Recommendations")
}

fn grid(books: &[Book]) -> String {
    let mut html = "<div class=\"books\">\n".to_owned();
    for book in books {
        html += &format!(
            "<a href=\"/shop/books/{id}\">{cover}<p class=\"by\">{author}</p><span class=\"price\">{price}</span></a>\n",
            id = encode(&book.id),
            cover = cover(book),
            author = escape(&book.author),
            price = price(book.price_cents.into()),
        );
    }
    html + "</div>\n"
}

/// A cover without a picture: the title on a colour of the book's own.
fn cover(book: &Book) -> String {
    let hue = book.id.bytes().fold(7_u32, |hue, byte| (hue * 31 + u32::from(byte)) % 360);
    format!("<div class=\"cover\" style=\"--hue: {hue}\">{}</div>", escape(&book.title))
}

fn message(title: &str, text: &str) -> String {
    format!(
        "<h2>{}</h2>\n<p>{}</p>\n<p><a href=\"/\">Back to the books</a></p>\n",
        escape(title),
        escape(text)
    )
}

/// A page for a call that gave nothing: what the neighbour said no to is passed on, what broke is not.
fn sorry(error: &CallError, broken: &str) -> Response {
    match error {
        CallError::Refused { status, detail, .. } => page(*status, "Sorry", &message("Sorry", detail)),
        CallError::Failed { .. } => page(StatusCode::SERVICE_UNAVAILABLE, "Sorry", &message("Sorry", broken)),
    }
}
