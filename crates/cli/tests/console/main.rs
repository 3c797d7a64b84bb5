//! The console over the bookshop, in a real browser: Chromium without a window, driven by visit.py over the protocol of its
//! developer tools. Nothing of the shop sends telemetry; what is seen here is seen from outside.
//!
//! Screenshots go to `target/tmp/console`. With `ATOLL_WRITE_DOCS=1` those that the documents show are written too.
//! What is not installed is left out, but not where `ATOLL_CI_ALL` is set; `.ci/run tools` installs everything.
#![allow(clippy::unwrap_used)]

mod shop;
#[allow(dead_code)] // more than is needed here
#[path = "../running/world.rs"]
mod world;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shop::Shop;

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// How soon everything about a request must be seen.
const SOON: Duration = Duration::from_secs(2);

#[test]
fn two_seconds_after_an_order_its_whole_way_is_known_and_so_is_what_was_thrown_on_it() {
    let shop = Shop::start();
    let order = |customer: &str| {
        let body = json!({ "book_id": "moby-dick", "quantity": 1, "customer": customer });
        shop.post("/orders", &body.to_string())
    };
    assert_eq!(order("Ada"), 201);
    let began = Instant::now();
    // Not the ones of the shop's own checks: the one whose lines are there too.
    let trace = shop.until(SOON, &["trace", "ls", "orders"], |found| {
        let whole = |one: &&Value| one["operation"] == "POST /orders" && one["spans"].as_u64() >= Some(3);
        found.as_array()?.iter().find(whole)?["trace"].as_str().map(str::to_owned)
    });
    let seen = shop.until(SOON, &["trace", "show", &trace], |trace| {
        let said = |text: &str| {
            let logs = trace["logs"].as_array()?;
            logs.iter().find(|line| line["text"].as_str().is_some_and(|line| line.contains(text)))
        };
        said("order placed")?;
        said("payment taken")?;
        // The order was published, kept by a queue, and handed to settlement.
        trace["spans"].as_array()?.iter().find(|span| span["service"] == "settlement")?;
        Some(trace.clone())
    });
    let services: Vec<&str> =
        seen["spans"].as_array().unwrap().iter().map(|span| span["service"].as_str().unwrap()).collect();
    for service in ["orders", "catalog", "payments"] {
        assert!(services.contains(&service), "{seen:#}");
    }
    assert_eq!(seen["spans"][0]["attributes"]["atoll.from"], "gateway", "{seen:#}");
    for name in ["publish order-placed", "deliver settle"] {
        assert!(
            seen["spans"].as_array().unwrap().iter().any(|span| span["name"] == name),
            "{name}: {seen:#}"
        );
    }
    shop.until(SOON, &["graph"], |graph| {
        let edges = graph["edges"].as_array()?;
        let has = |from: &str, to: &str| edges.iter().any(|edge| edge["from"] == from && edge["to"] == to);
        (has("gateway", "orders") && has("orders", "payments") && has("orders", "catalog")).then_some(())
    });
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    assert_eq!(order("Ada #seven"), 503);
    let began = Instant::now();
    let group = shop.until(SOON, &["errors", "ls", "payments"], |found| {
        let panic = |one: &&Value| one["title"].as_str().is_some_and(|title| title.contains("loyalty card"));
        found.as_array()?.iter().find(panic)?["id"].as_str().map(str::to_owned)
    });
    let error = shop.json(&["errors", "show", &group]);
    let led = error["last"][0]["trace"].as_str().unwrap_or_else(|| panic!("no trace: {error:#}"));
    let led = shop.json(&["trace", "show", led]);
    assert_eq!(led["spans"][0]["name"], "POST /orders", "{led:#}");
    assert_eq!(led["errors"][0]["group"], group.as_str(), "{led:#}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    shop.down();
}

#[test]
fn a_browser_finds_its_way_through_the_console() {
    if !shop::has_browser() {
        return;
    }
    let shop = Shop::start();
    let screens = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    std::fs::create_dir_all(&screens).unwrap();
    let write_docs = std::env::var_os("ATOLL_WRITE_DOCS").is_some();
    let wish = json!({
        "operator": shop.console("operator"),
        "viewer": shop.console("viewer"),
        "gateway": shop.gateway(),
        "screens": screens,
        "pictures": write_docs.then(|| root().join("docs/pictures")),
        // The checks of axe-core, where `.ci/run tools` has fetched them.
        "axe": Some(root().join("target/axe-core/package/axe.min.js")).filter(|file| file.exists()),
    });
    assert!(
        std::env::var_os("ATOLL_CI_ALL").is_none() || !wish["axe"].is_null(),
        "may not be left out here: axe-core"
    );
    let mut command = Command::new(shop::python().unwrap());
    command.arg(root().join("crates/cli/tests/console/visit.py")).arg(wish.to_string());
    command.env("HOME", shop.path().join("home"));
    let output = shop::output(command);
    let (said, failed) = (world::text(&output.stdout), world::text(&output.stderr));
    println!("{said}\nscreenshots: {}", screens.display());
    assert!(output.status.success() && said.contains("all well"), "{said}\n{failed}");
    shop.down();
}
