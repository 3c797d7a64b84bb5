//! Connections that wait: what one costs in memory when it has had a request and does nothing.

use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;

use super::{Ask, EXCHANGE_PATIENCE, Job, Target, http1, on_core, pause};
use crate::bench::gateway::machine::{self, Tree};

/// Connections opened at once.
const AT_ONCE: usize = 64;

/// How long a proxy may take to give back what an idle connection does not need.
const SETTLE: Duration = Duration::from_secs(3);

/// Bytes per idle connection.
pub(crate) fn run(
    target: &Target,
    ask: &Ask,
    tree: &Tree,
    connections: usize,
    core: usize,
) -> anyhow::Result<f64> {
    on_core(core, || async move {
        let job =
            Job { target: target.clone(), ask: ask.clone(), connections: AT_ONCE, streams: 1, rate: None };
        // A first batch grows what is there once however many connections there are.
        drop(open(&job, AT_ONCE).await?);
        pause(SETTLE).await?;
        let before = machine::rss(&tree.pids()?)?;
        let held = open(&job, connections).await?;
        pause(SETTLE).await?;
        let after = machine::rss(&tree.pids()?)?;
        drop(held);
        Ok((after as f64 - before as f64) / connections as f64)
    })
}

/// Opens connections; each has one exchange.
async fn open(job: &Job, connections: usize) -> anyhow::Result<Vec<http1::Line>> {
    let mut held = Vec::with_capacity(connections);
    let mut under_way = JoinSet::new();
    let mut opened = 0;
    while held.len() < connections {
        if opened < connections && under_way.len() < AT_ONCE {
            let mut line = http1::Line::new(job, opened);
            opened += 1;
            under_way.spawn_local(async move {
                let whole = async {
                    line.open().await?;
                    line.exchange().await
                };
                let done = tokio::time::timeout(EXCHANGE_PATIENCE, whole).await;
                done.map_err(|_| "no answer".to_owned()).and_then(|done| done).map(|()| line)
            });
            continue;
        }
        let line = under_way.join_next().await.context("nothing is under way")??;
        held.push(line.map_err(|error| anyhow::anyhow!("connection {}: {error}", held.len() + 1))?);
        crate::go_on()?;
    }
    Ok(held)
}
