//! The promise that a restart costs no request: the bookshop under an even load while its instances are
//! restarted one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::table::{Table, ms, spread};
use crate::load::{self, Load, Shot};
use crate::{atoll, go_on};

/// Pause between two looks at the app's status.
const LOOK: Duration = Duration::from_millis(50);

/// Kinds of failure that are listed.
const KINDS_SHOWN: usize = 8;

/// Books that are never sold out.
const BOOKS: [&str; 4] = ["moby-dick", "tide-tables", "frankenstein", "pride-and-prejudice"];

/// Restarts instances `restarts` times in turn under `rate` requests a second.
pub(crate) fn run(restarts: usize, rate: f64, table: &mut Table) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let app = atoll::Detached::up(&atoll::bookshop(), &folder.path().join("state"), &[])?;
    app.wait_ready(LOOK)?;
    let instances = app.instances()?;
    ensure!(!instances.is_empty(), "the bookshop has no instances");
    let stop = Arc::new(AtomicBool::new(false));
    let load = Load { address: app.gateway()?, rate, next, stop: Arc::clone(&stop) };
    let start = Instant::now();
    let (outcome, times) = std::thread::scope(|threads| {
        let load = threads.spawn(|| load::run(&load));
        let times = restart_in_turn(&app, &instances, restarts);
        stop.store(true, Ordering::Relaxed);
        let outcome = load.join().ok().context("the load generator panicked")?;
        anyhow::Ok((outcome?, times?))
    })?;
    let took = start.elapsed();

    let (failed, requests) = (outcome.failed(), outcome.requests);
    let what = format!("restarts: failed requests in {restarts} restarts");
    table.goal(&what, format!("{failed} of {requests}"), "0", failed == 0);
    for (kind, count) in outcome.failures.iter().take(KINDS_SHOWN) {
        table.note("  failed", format!("{count} × {kind}"));
    }
    let rate = requests as f64 / took.as_secs_f64();
    table.note("restarts: load", format!("{rate:.0} requests/s over {} connections", outcome.connections));
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        table.note(&format!("restarts: latency {name}"), ms(outcome.quantile(share)));
    }
    table.note("restarts: one restart, until ready again", spread(times).1);
    Ok(())
}

fn restart_in_turn(
    app: &atoll::Detached,
    instances: &[String],
    count: usize,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for instance in instances.iter().cycle().take(count) {
        go_on()?;
        let mut restart = atoll::command("restart", app.state());
        restart.arg(instance);
        let start = Instant::now();
        atoll::succeed(restart)?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Nine in ten ask the catalog, one in twenty a page of the storefront, one in twenty orders something.
fn next(share: f64, count: u64) -> Shot {
    let book = BOOKS[count as usize % BOOKS.len()];
    let get = |path: String| Shot { method: "GET", path, body: None };
    match share {
        share if share < 0.60 => get(format!("/books/{book}")),
        share if share < 0.80 => get("/books".into()),
        share if share < 0.90 => get("/popular".into()),
        share if share < 0.925 => get("/".into()),
        share if share < 0.95 => get(format!("/shop/books/{book}")),
        _ => Shot {
            method: "POST",
            path: "/orders".into(),
            body: Some(format!(r#"{{"book_id":"{book}","quantity":1,"customer":"bench"}}"#)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_requests_in_ten_are_for_the_catalog() {
        let shots: Vec<_> = (0..1000).map(|n| next(n as f64 / 1000.0, n)).collect();
        let catalog = |shot: &&Shot| shot.path.starts_with("/books") || shot.path == "/popular";
        assert_eq!(shots.iter().filter(catalog).count(), 900);
        assert_eq!(shots.iter().filter(|shot| shot.method == "POST").count(), 50);
    }
}
