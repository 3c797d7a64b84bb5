//! Atoll beside its peers: sends, and receives with deletes, one by one and in tens, with few and many at once.

use super::atoll;
use super::client;
use super::figures::{Block, Goal, Metric, Round, Row, of_load};
use super::load::{self, Work};
use super::system::System;
use super::{Setting, atoll::Home, peers};
use crate::bench::gateway::figures::{order, progress, progress_done};
use crate::go_on;

/// Operations at once, for single messages and for tens.
const SINGLE: [usize; 3] = [1, 16, 256];
const TENS: [usize; 2] = [16, 256];

/// Most messages in a batch: what SQS allows.
const BATCH: usize = 10;

/// Connections that fill a queue before messages are taken from it.
const FILLING: usize = 16;

/// Where the load is full: what goals are about.
const FULL: usize = 256;

/// Compares on this disk as it is.
pub(crate) fn compare(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let mut notes = Vec::new();
    let mut systems = vec![Home::make(setting.folder(), "atoll", None)?.system()?];
    systems.extend(peers::start(&setting.peers, setting.folder(), None, &mut notes)?);
    for system in systems.iter().filter(|system| system.most < FULL) {
        notes.push(format!("{}: at most {} at once", system.name, system.most));
    }
    let mut blocks = Vec::new();
    let singles = SINGLE.map(|in_flight| (1, in_flight));
    for (batch, in_flight) in singles.into_iter().chain(TENS.map(|in_flight| (BATCH, in_flight))) {
        let [mut sends, mut takes] = pair(setting, &systems, batch, in_flight)?;
        if in_flight == FULL {
            let (send, take) = if batch == 1 { (40_000.0, 20_000.0) } else { (100_000.0, 80_000.0) };
            sends.goal(atoll::NAME, Metric::Rate, "sends", Goal::AtLeast(send), "msg/s");
            takes.goal(atoll::NAME, Metric::Rate, "receives with deletes", Goal::AtLeast(take), "msg/s");
        }
        if in_flight > 1 {
            ahead(&mut sends, &systems);
            ahead(&mut takes, &systems);
        }
        sends.notes.append(&mut notes);
        for block in [sends, takes] {
            println!("{block}");
            blocks.push(block);
        }
    }
    Ok(blocks)
}

/// The same with a millisecond added to each sync.
pub(crate) fn compare_slow(setting: &Setting, library: &std::path::Path) -> anyhow::Result<Vec<Block>> {
    let mut notes = vec!["NATS and moto are left out: they do not sync before they answer".to_owned()];
    let folder = super::system::folder(setting.folder(), "slow")?;
    super::open_to_all(&folder)?;
    let mut systems = vec![Home::make(&folder, "atoll", Some(library))?.system()?];
    let syncing = [peers::Peer::Redis, peers::Peer::Rabbitmq, peers::Peer::Postgres];
    let wanted: Vec<_> = setting.peers.iter().copied().filter(|peer| syncing.contains(peer)).collect();
    systems.extend(peers::start(&wanted, &folder, Some(library), &mut notes)?);
    let mut blocks = Vec::new();
    for (batch, in_flight) in [(1, 1), (1, FULL), (BATCH, FULL)] {
        for mut block in pair(setting, &systems, batch, in_flight)? {
            block.title = format!("1 ms more for each sync: {}", block.title);
            for row in &block.rows {
                // One client at a time waits for a sync of its own: less than that was no sync, or a hidden one.
                if in_flight == 1 && row.of(Metric::P50).is_some_and(|p50| p50 < 1.0) {
                    block.notes.push(format!(
                        "{} is not slowed: it answers without a sync, or makes it in another way",
                        row.name
                    ));
                }
            }
            block.notes.append(&mut notes);
            if block.title.contains("send") && batch == 1 {
                match in_flight {
                    1 => block.goal(atoll::NAME, Metric::P50, "one client, p50", Goal::AtMost(1.4), "ms"),
                    _ => block.goal(atoll::NAME, Metric::Rate, "sends", Goal::AtLeast(60_000.0), "msg/s"),
                }
            }
            println!("{block}");
            blocks.push(block);
        }
    }
    Ok(blocks)
}

/// Sends, then takes what was sent, each system in its turn.
fn pair(setting: &Setting, systems: &[System], batch: usize, in_flight: usize) -> anyhow::Result<[Block; 2]> {
    let mut sends: Vec<_> = systems.iter().map(|system| Row::new(&system.name)).collect();
    let mut takes = sends.clone();
    for round in 0..setting.rounds {
        for index in order(systems.len(), round) {
            let system = &systems[index];
            go_on()?;
            progress(round, setting.rounds, &format!("{}, {in_flight} at once", system.name));
            let (send, take) = if in_flight > system.most {
                (Round::default(), Round::default())
            } else {
                both(setting, system, batch, in_flight)?
            };
            sends[index].rounds.push(send);
            takes[index].rounds.push(take);
        }
    }
    progress_done();
    let (rounds, seconds) = (setting.rounds, setting.times.span.as_secs_f64());
    let title = |what: &str| {
        let each = if batch == 1 { String::new() } else { format!(", {batch} in each") };
        format!("{what}{each}, {in_flight} at once, messages of 1 KB ({rounds} × {seconds} s)")
    };
    let block = |what, rows| Block { title: title(what), rows, ..Block::default() };
    Ok([block("send", sends), block("receive + delete", takes)])
}

/// One turn of one system. That it cannot be measured is no reason to lose the others.
fn both(
    setting: &Setting,
    system: &System,
    batch: usize,
    in_flight: usize,
) -> anyhow::Result<(Round, Round)> {
    let reset = load::locally(|| async { client::reset(&system.endpoint).await.map_err(anyhow::Error::msg) });
    if let Err(error) = reset {
        return unmeasured(&error).map(|round| (round.clone(), round));
    }
    let sent = match load::run(system, Work::Send(batch), in_flight, setting.times, None) {
        Ok(sent) => sent,
        Err(error) => return unmeasured(&error).map(|round| (round.clone(), round)),
    };
    let send = of_load(&sent);
    let mut there = sent.total;
    // Some systems give faster than they take; the slow ones do not, and give the slower the more they have.
    if system.most >= FULL {
        match load::run(system, Work::Send(BATCH), FILLING, setting.filling(), None) {
            Ok(more) => there += more.total,
            Err(error) => return unmeasured(&error).map(|round| (send, round)),
        }
    }
    let times = load::Times { warm: setting.times.warm / 4, ..setting.times };
    let taken = load::run(system, Work::Take(batch), in_flight, times, Some(there));
    let take = taken.map(|taken| of_load(&taken)).or_else(|error| unmeasured(&error))?;
    Ok((send, take))
}

fn unmeasured(error: &anyhow::Error) -> anyhow::Result<Round> {
    go_on()?;
    Ok(Round::failed(format!("{error:#}")))
}

/// Whether Atoll is ahead of every peer, and of those that sync before they answer.
fn ahead(block: &mut Block, systems: &[System]) {
    let durable = |name: &str| systems.iter().any(|system| system.name == name && system.durable);
    let over = |lead: Option<(f64, &str)>| lead.map(|(ratio, name)| (ratio, name.to_owned()));
    for (whom, lead) in
        [("every peer", over(block.lead(|_| true))), ("every peer that syncs", over(block.lead(durable)))]
    {
        let Some((ratio, name)) = lead else { continue };
        block.judge(&format!("ahead of {whom}; the best: {name}"), Goal::AtLeast(1.0), Some(ratio), "×");
    }
}
