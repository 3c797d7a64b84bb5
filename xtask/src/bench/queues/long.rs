//! Millions of messages: whether a cycle costs the same after them, and with as many waiting; what a backlog
//! takes, and how long a start takes with it after the node was killed.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Setting;
use super::atoll::Home;
use super::client::sqs;
use super::client::{self, BODY, Endpoint};
use super::figures::{Block, Figures, Goal, Metric, Round, Row, of_load};
use super::load::{self, Times, Work};
use super::system::{Guard, System};
use crate::bench::gateway::figures::{progress, progress_done};
use crate::go_on;

/// Messages in a batch, and batches at once, of cycles and of what makes the backlog.
const BATCH: usize = 10;
const CYCLES_AT_ONCE: usize = 16;
const SENDS_AT_ONCE: usize = 64;

/// How long a piece of the work may take: signatures are good for a quarter of an hour.
const PIECE: Duration = Duration::from_secs(300);

/// What the node's store keeps in memory of what it read: the default of its setting.
const CACHE: f64 = 64.0 * 1024.0 * 1024.0;

/// How long the first answer may take after a start.
const PATIENCE: Duration = Duration::from_secs(120);

/// All of it, one after the other, with one store.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let home = Home::make(setting.folder(), "long", None)?;
    let system = home.system()?;
    let Endpoint::Sqs(place) = system.endpoint.clone() else { anyhow::bail!("Atoll speaks SQS") };
    reset(&system)?;
    let millions = setting.messages as f64 / 1e6;
    let window = Work::Cycle(BATCH);

    let mut rows = Vec::new();
    let mut measure = |name: String, system: &System| -> anyhow::Result<()> {
        let round = of_load(&load::run(system, window, CYCLES_AT_ONCE, setting.long_times, None)?);
        rows.push(Row { name, rounds: vec![round] });
        Ok(())
    };
    measure("at first".into(), &system)?;
    work(&system, window, CYCLES_AT_ONCE, setting.messages)?;
    measure(format!("after {millions} million"), &system)?;
    let disk = home.disk()?;

    reset(&system)?;
    let idle = home.memory()?;
    let began = Instant::now();
    work(&system, Work::Send(BATCH), SENDS_AT_ONCE, setting.messages)?;
    let filling = began.elapsed();
    let memory = home.memory()?;
    let waiting = home.disk()?;
    measure(format!("{millions} million waiting"), &system)?;

    let waits = count(&place)?;
    let Guard::App(app) = system.guard else { anyhow::bail!("no app to kill") };
    app.kill()?;
    let began = Instant::now();
    let app = home.up()?;
    let ready = began.elapsed();
    let served = first_answer(&place, began)?;
    let found = count(&place)?;
    drop(app);

    let title =
        format!("send + receive + delete in tens, {CYCLES_AT_ONCE} at once: cycles and what they cost");
    let mut cycles = Block { title, rows, ..Block::default() };
    for (index, when) in [(1, "after"), (2, "waiting")] {
        for (what, metric) in [("CPU of a cycle", Metric::CpuUs), ("cycles/s", Metric::Rate)] {
            let ratio = cycles.rows.first().zip(cycles.rows.get(index));
            let ratio = ratio.and_then(|(first, then)| then.ratio(first, metric));
            let goal = Goal::Within(0.9, 1.1);
            cycles.judge(&format!("{what}, {millions} million {when} / at first"), goal, ratio, "×");
        }
    }
    cycles.judge("disk after them", Goal::AtMost(1000.0), Some(disk as f64 / 1e6), "MB");
    println!("{cycles}");

    let payload = setting.messages as f64 * BODY as f64;
    let mut backlog =
        Block { title: format!("{millions} million messages of 1 KB wait"), ..Block::default() };
    let over = (memory as f64 - CACHE) / 1e6;
    backlog.judge("memory over the cache of 64 MiB", Goal::AtMost(400.0), Some(over), "MB");
    backlog.judge("disk / what was sent", Goal::AtMost(1.1), Some(waiting as f64 / payload), "×");
    let restart = Some(served.as_secs_f64());
    backlog.judge("start after SIGKILL to the first message", Goal::AtMost(8.0), restart, "s");
    backlog.judge("messages there after it / before", Goal::Within(1.0, 1.0), Some(found / waits), "×");
    backlog.notes.push(format!(
        "sent in {:.0} s; memory before {:.0} MB; {waits:.0} messages before the kill, {found:.0} after the first one was taken; \
         ready {:.2} s after the start",
        filling.as_secs_f64(),
        idle as f64 / 1e6,
        ready.as_secs_f64(),
    ));
    println!("{backlog}");
    Ok(vec![cycles, backlog])
}

fn reset(system: &System) -> anyhow::Result<()> {
    load::locally(|| async { client::reset(&system.endpoint).await.map_err(anyhow::Error::msg) })
}

/// Works until so many messages were handled.
fn work(system: &System, what: Work, in_flight: usize, messages: u64) -> anyhow::Result<Round> {
    let mut left = messages;
    let times = Times { warm: Duration::ZERO, span: PIECE };
    let tail = (in_flight * BATCH) as u64;
    while left > 0 {
        go_on()?;
        progress(0, 1, &format!("{left} messages to go"));
        let done = load::run(system, what, in_flight, times, Some(left + tail))?;
        ensure!(done.total > 0, "nothing was done in {PIECE:?}: {:?}", done.failures);
        left = left.saturating_sub(done.total);
    }
    progress_done();
    Ok(Round { figures: Figures::new(), ..Round::default() })
}

/// Messages in the queue, in flight or not.
fn count(place: &sqs::Place) -> anyhow::Result<f64> {
    let answer = load::locally(|| async {
        let mut client = sqs::Client::plain(place).await.map_err(anyhow::Error::msg)?;
        let input = format!(r#"{{"QueueUrl":"{}","AttributeNames":["All"]}}"#, place.url());
        client.ask("GetQueueAttributes", &input).await.map_err(anyhow::Error::msg)
    })?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    let number = |name: &str| answer["Attributes"][name].as_str()?.parse::<f64>().ok();
    let visible = number("ApproximateNumberOfMessages").context("the queue does not tell how long it is")?;
    Ok(visible + number("ApproximateNumberOfMessagesNotVisible").unwrap_or_default())
}

/// How long after `began` a receive is answered with a message.
fn first_answer(place: &sqs::Place, began: Instant) -> anyhow::Result<Duration> {
    loop {
        let answer = load::locally(|| async {
            let mut client = sqs::Client::plain(place).await.map_err(anyhow::Error::msg)?;
            client.poll().await.map_err(anyhow::Error::msg)
        });
        if matches!(answer, Ok(true)) {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < PATIENCE, "no message within {PATIENCE:?}: {answer:?}");
        go_on()?;
        std::thread::sleep(Duration::from_millis(5));
    }
}
