//! The catalog: which books there are. Nine calls in ten end here, so it runs twice, and it asks nobody.
//!
//! | request | answer |
//! |---|---|
//! | `GET /books` | all books; `?q=` those whose title or author holds the text; `?ids=a,b` those, in that order |
//! | `GET /books/{id}` | one book |
//! | `GET /popular` | the five that sold best |

use std::process::ExitCode;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use bookshop::Problem;
use serde::{Deserialize, Serialize};

/// How many books `/popular` shows.
const POPULAR: usize = 5;

fn main() -> ExitCode {
    bookshop::server::run("catalog", || {
        let books: Vec<Book> = serde_json::from_str(include_str!("../../data/books.json"))
            .map_err(|error| format!("the list of books is broken: {error}"))?;
        Ok(Router::new()
            .route("/books", get(list))
            .route("/books/{id}", get(one))
            .route("/popular", get(popular))
            .with_state(books.into()))
    })
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Book {
    id: String,
    title: String,
    author: String,
    /// Of the first edition; negative before our era.
    year: i32,
    price_cents: u32,
    /// Copies sold last year: what popularity means here.
    sold: u32,
    blurb: String,
}

#[derive(Debug, Serialize)]
struct Books {
    books: Vec<Book>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    q: String,
    ids: String,
}

async fn list(State(shelf): State<Arc<[Book]>>, Query(wanted): Query<Wanted>) -> Json<Books> {
    let books = if wanted.ids.is_empty() { search(&shelf, &wanted.q) } else { pick(&shelf, &wanted.ids) };
    Json(Books { books })
}

async fn one(State(shelf): State<Arc<[Book]>>, Path(id): Path<String>) -> Result<Json<Book>, Problem> {
    match shelf.iter().find(|book| book.id == id) {
        Some(book) => Ok(Json(book.clone())),
        None => Err(Problem::not_found(format!("there is no book `{id}`; `GET /books` lists them all"))),
    }
}

async fn popular(State(shelf): State<Arc<[Book]>>) -> Json<Books> {
    let mut books = shelf.to_vec();
    books.sort_by_key(|book| std::cmp::Reverse(book.sold));
    books.truncate(POPULAR);
    Json(Books { books })
}

fn search(shelf: &[Book], text: &str) -> Vec<Book> {
    let text = text.trim().to_lowercase();
    let holds = |field: &str| field.to_lowercase().contains(&text);
    shelf.iter().filter(|book| holds(&book.title) || holds(&book.author)).cloned().collect()
}

fn pick(shelf: &[Book], ids: &str) -> Vec<Book> {
    ids.split(',')
        .filter_map(|id| shelf.iter().find(|book| book.id == id))
        .take(shelf.len())
        .cloned()
        .collect()
}
