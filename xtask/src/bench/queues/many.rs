//! Many queues: what they cost a start, and in memory.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;

use super::Setting;
use super::atoll::Home;
use super::client::sqs::{Client, Place};
use super::figures::{Block, Goal};
use super::load;
use crate::bench::gateway::figures::{progress, progress_done};
use crate::go_on;

/// Queues that are made at once.
const AT_ONCE: usize = 64;

/// Makes them, and starts with and without them.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let home = Home::make(setting.folder(), "many", None)?;
    drop(home.up()?); // the first start makes what later ones find
    let (without, alone) = start(&home, |_| Ok(()))?;
    let mut making = Duration::ZERO;
    start(&home, |place| {
        let begin = Instant::now();
        progress(0, 1, &format!("{} queues are made", setting.queues));
        load::locally(|| make(place, setting.queues))?;
        progress_done();
        making = begin.elapsed();
        Ok(())
    })?;
    let (with, together) = start(&home, |_| Ok(()))?;
    let each = together.saturating_sub(alone) as f64 / setting.queues as f64;
    let title = format!("{} queues, made over the wire", setting.queues);
    let mut block = Block { title, ..Block::default() };
    let more = with.saturating_sub(without).as_secs_f64();
    block.judge("start to ready, more than without them", Goal::AtMost(5.0), Some(more), "s");
    block.judge("memory of each after a start", Goal::AtMost(2000.0), Some(each), "bytes");
    block.notes.push(format!(
        "start to ready: {:.2} s without them, {:.2} s with them; made in {:.1} s",
        without.as_secs_f64(),
        with.as_secs_f64(),
        making.as_secs_f64()
    ));
    println!("{block}");
    Ok(vec![block])
}

/// Starts the app, does something, and stops it: how long the start took, and what it has in memory after it.
fn start(home: &Home, mut work: impl FnMut(&Place) -> anyhow::Result<()>) -> anyhow::Result<(Duration, u64)> {
    go_on()?;
    let begin = Instant::now();
    let app = home.up()?;
    let took = begin.elapsed();
    let memory = home.memory()?;
    work(&home.place()?)?;
    drop(app);
    Ok((took, memory))
}

async fn make(place: &Place, queues: usize) -> anyhow::Result<()> {
    let next = Rc::new(Cell::new(0));
    let mut work = JoinSet::new();
    for _ in 0..AT_ONCE {
        let next = Rc::clone(&next);
        let mut client = Client::plain(place).await.map_err(anyhow::Error::msg)?;
        work.spawn_local(async move {
            loop {
                let number = next.get();
                if number >= queues {
                    return Ok(());
                }
                next.set(number + 1);
                client.ask("CreateQueue", &format!(r#"{{"QueueName":"many-{number}"}}"#)).await?;
            }
        });
    }
    while let Some(done) = work.join_next().await {
        go_on()?;
        let done: Result<(), String> = done?;
        ensure!(done.is_ok(), "make queue {}: {}", next.get(), done.err().unwrap_or_default());
    }
    Ok(())
}
