//! Recommendations: who bought this book also bought those. Nice to have, and allowed to fail: the shop
//! then shows the most popular books instead. `FAIL_SHARE=0.3` makes it fail three times in ten,
//! `SLOW_MS=500` makes it slow.
//!
//! | request | answer |
//! |---|---|
//! | `GET /recommendations/{book_id}` | up to five books, the likeliest first |

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use bookshop::call::encode;
use bookshop::server::{log, setting};
use bookshop::{Problem, Trail, Upstream};
use serde_json::{Value, json};

/// How many books are recommended at most.
const AT_MOST: usize = 5;

/// A whole answer may take 150 ms; asking the catalog must leave some of it.
const CATALOG_TIMEOUT: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    bookshop::server::run("recommendations", || {
        let baskets: Vec<Vec<String>> = serde_json::from_str(include_str!("../../data/baskets.json"))
            .map_err(|error| format!("the list of baskets is broken: {error}"))?;
        let service = Service {
            together: bought_together(&baskets),
            catalog: Upstream::from_env("catalog", CATALOG_TIMEOUT)?,
            fail_share: setting("FAIL_SHARE", 0.0)?,
            slow: Duration::from_millis(setting("SLOW_MS", 0)?),
        };
        Ok(Router::new().route("/recommendations/{book_id}", get(recommend)).with_state(Arc::new(service)))
    })
}

struct Service {
    /// For each book the others of its baskets, the most frequent first.
    together: BTreeMap<String, Vec<String>>,
    catalog: Upstream,
    /// The share of requests that fail on purpose, 0 to 1.
    fail_share: f64,
    /// How long each request waits on purpose.
    slow: Duration,
}

async fn recommend(
    State(service): State<Arc<Service>>,
    trail: Trail,
    Path(book_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    tokio::time::sleep(service.slow).await;
    if rand::random::<f64>() < service.fail_share {
        log(format_args!("failing on purpose book_id={book_id:?} request_id={}", trail.request_id()));
        let detail = "no recommendations this time (FAIL_SHARE)";
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed on purpose", detail));
    }
    let Some(ids) = service.together.get(&book_id) else {
        return Err(Problem::not_found(format!("nobody has bought `{book_id}` with another book yet")));
    };
    // Titles and prices are the catalog's to tell.
    let ids: Vec<String> = ids.iter().take(AT_MOST).map(|id| encode(id)).collect();
    let found: Value = service.catalog.get(&trail, &format!("/books?ids={}", ids.join(","))).await?;
    Ok(Json(json!({ "book_id": book_id, "books": found["books"] })))
}

fn bought_together(baskets: &[Vec<String>]) -> BTreeMap<String, Vec<String>> {
    let mut counts: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
    for basket in baskets {
        for book in basket {
            for other in basket.iter().filter(|other| *other != book) {
                *counts.entry(book).or_default().entry(other).or_default() += 1;
            }
        }
    }
    let ranked = counts.into_iter().map(|(book, others)| {
        let mut others: Vec<(&str, u32)> = others.into_iter().collect();
        others.sort_by_key(|(id, times)| (std::cmp::Reverse(*times), *id));
        (book.to_owned(), others.into_iter().map(|(id, _)| id.to_owned()).collect())
    });
    ranked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_bought_together_most_often_comes_first() {
        let basket = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let together = bought_together(&[basket(&["a", "b"]), basket(&["a", "c"]), basket(&["c", "a", "d"])]);
        assert_eq!(together["a"], ["c", "b", "d"]);
        assert_eq!(together["b"], ["a"]);
    }
}
