//! Many receives that wait for a message that does not come.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;

use super::Setting;
use super::atoll::Home;
use super::client::sqs::{Client, LONG_POLL, Place};
use super::client::{self, Endpoint};
use super::figures::{Block, Goal};
use super::load;
use super::used::Used;
use crate::bench::gateway::machine::Tree;
use crate::go_on;

/// Pause after which connections and first requests have been dealt with.
const SETTLE: Duration = Duration::from_secs(1);

/// How long before the first poll ends the calm is over.
const MARGIN: Duration = Duration::from_secs(1);

/// Measures what waiting costs.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let home = Home::make(setting.folder(), "polls", None)?;
    let app = home.up()?;
    let endpoint = Endpoint::Sqs(Arc::new(home.place()?));
    load::locally(|| async { client::reset(&endpoint).await.map_err(anyhow::Error::msg) })?;
    let Endpoint::Sqs(place) = endpoint else { anyhow::bail!("Atoll speaks SQS") };
    let before = home.memory()?;
    let (calm, renewed, after) = load::locally(|| wait(&place, &home, setting.polls))?;
    let each = after.saturating_sub(before) as f64 / setting.polls as f64;
    drop(app);
    let title = format!("{} long polls of {LONG_POLL} s at an empty queue", setting.polls);
    let mut block = Block { title, ..Block::default() };
    block.judge("share of a core while they wait", Goal::AtMost(2.0), Some(calm), "%");
    block.judge("the same, each asked for anew when it ends", Goal::AtMost(2.0), Some(renewed), "%");
    block.notes.push(format!("memory of each: {:.1} KB, its connection included", each / 1e3));
    println!("{block}");
    Ok(vec![block])
}

/// The share of a core in per cent: while nothing happens, and over one whole wait; then the memory.
async fn wait(place: &Place, home: &Home, polls: usize) -> anyhow::Result<(f64, f64, u64)> {
    let failures = Rc::new(RefCell::new(BTreeMap::<String, u64>::new()));
    let mut work = JoinSet::new();
    let begin = Instant::now();
    for number in 0..polls {
        if number % 100 == 0 {
            go_on()?;
            tokio::task::yield_now().await; // those that are connected ask
        }
        let mut client = Client::plain(place).await.map_err(anyhow::Error::msg)?;
        let failures = Rc::clone(&failures);
        work.spawn_local(async move {
            loop {
                match client.poll().await {
                    Ok(false) => {}
                    Ok(true) => count(&failures, "a message where none was sent".into()),
                    Err(error) => return count(&failures, error),
                }
            }
        });
    }
    tokio::time::sleep(SETTLE).await;
    let end = begin + Duration::from_secs(LONG_POLL) - MARGIN;
    let left = end.saturating_duration_since(Instant::now());
    ensure!(left > SETTLE, "making {polls} connections takes so long that the first waits are over");
    let tree = home.tree();
    let calm = share(&tree, left).await?;
    let memory = home.memory()?;
    let renewed = share(&tree, Duration::from_secs(LONG_POLL)).await?;
    let failures = failures.borrow();
    ensure!(failures.is_empty(), "polls failed: {failures:?}");
    Ok((calm, renewed, memory))
}

fn count(failures: &RefCell<BTreeMap<String, u64>>, kind: String) {
    *failures.borrow_mut().entry(kind).or_default() += 1;
}

async fn share(tree: &Tree, time: Duration) -> anyhow::Result<f64> {
    let pids = tree.pids()?;
    let (start, before) = (Instant::now(), Used::until_now(&pids));
    while start.elapsed() < time {
        go_on()?;
        tokio::time::sleep((time - start.elapsed().min(time)).min(Duration::from_millis(200))).await;
    }
    let used = Used::until_now(&pids).since(&before);
    Ok(100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64())
}
