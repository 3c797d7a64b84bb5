//! Each comparison: which systems, which load, which goals.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::app::{self, Feature, Shape, Started, UNARY};
use super::counts;
use super::figures::{
    Block, Figures, Metric, Round, Row, Verdict, in_turns, median, of_load, of_samples, progress,
    progress_done,
};
use super::load::{self, Ask, Job, Protocol, Target, handshakes, idle};
use super::peers::{self, Kind};
use super::profile;
use super::system::System;
use super::{Group, Setting, upstream};
use crate::go_on;

/// Connections of HTTP/1.1 under full load.
const CONNECTIONS: usize = 64;

/// Connections of HTTP/2 under full load, and requests at once on each: as many requests as above.
const HTTP2: (usize, usize) = (4, 16);

/// Requests a second where latency without pressure is measured.
const CALM_RATE: f64 = 1000.0;

/// Requests a second over all five services while some have faults.
const ISOLATION_RATE: f64 = 2000.0;

/// Services in that app: the last but one hangs, the last fails every other time.
const SERVICES: usize = 5;

/// Healthy ones among them.
const HEALTHY: usize = 3;

/// Connections for each service there: one that hangs holds its requests for a second.
const ISOLATION_CONNECTIONS: usize = 64;
const HANGING_CONNECTIONS: usize = 512;

/// Names of rows that goals speak of.
const FLOOR: &str = "floor: forwarder without parsing";
const NGINX: &str = "nginx";
const NGINX_GUARDED: &str = "nginx, limit_req + access_log";
const HAPROXY: &str = "HAProxy";
const BARE: &str = "Atoll, policies off, one route";
const ALL_ON: &str = "Atoll, all policies, 1,000 routes";
const ALL_ON_LOG: &str = "Atoll, all policies + access log";

/// Runs one group.
pub(crate) fn run(group: Group, setting: &Setting) -> anyhow::Result<Vec<Block>> {
    match group {
        Group::Http1 => http1(setting),
        Group::Tls => tls(setting),
        Group::Http2 => http2(setting),
        Group::Grpc => grpc(setting),
        Group::Latency => latency(setting),
        Group::Memory => memory(setting),
        Group::Isolation => isolation(setting),
        Group::Counts => counted(setting),
    }
}

/// The systems of a comparison, and what was left out.
#[derive(Default)]
struct Field {
    systems: Vec<System>,
    notes: Vec<String>,
}

impl Field {
    fn add(&mut self, system: Option<System>) {
        self.systems.extend(system);
    }

    /// Adds Atoll; tells what of it is not active.
    fn atoll(&mut self, setting: &Setting, shape: &Shape) -> anyhow::Result<()> {
        go_on()?;
        let started = app::start(setting, shape).or_else(|error| {
            go_on()?;
            anyhow::Ok(Started::Lacks(format!("{}: {error:#}", shape.name)))
        });
        match started? {
            Started::Running { system, inactive } => {
                self.systems.push(system);
                for what in inactive {
                    let note = format!("not active: {what}");
                    if !self.notes.contains(&note) {
                        self.notes.push(note);
                    }
                }
            }
            Started::Lacks(what) => self.notes.push(format!("left out: {what}")),
        }
        Ok(())
    }

    fn block(&self, title: String, reference: &str, rows: Vec<Row>) -> Block {
        let notes = self.notes.clone();
        Block { title, reference: Some(reference.to_owned()), rows, verdicts: Vec::new(), notes }
    }
}

/// Paths over all routes of an app with many; `kind` is what the upstream is asked for.
fn paths(kind: &str) -> Vec<String> {
    // 7 and 1,000 have no common factor: every route is met, neighbours are far apart.
    (0..app::ROUTES).map(|n| format!("/r{}/{kind}{}", n * 7 % app::ROUTES, 100_000 + n)).collect()
}

fn ask(setting: &Setting, system: &System, kind: &str, body: usize) -> Ask {
    let paths = if system.name == BARE { vec![format!("/r0/{kind}100000")] } else { paths(kind) };
    Ask { paths, tokens: setting.tokens.clone(), body }
}

fn plain(system: &System) -> Target {
    Target { address: system.address, protocol: Protocol::Http1, tls: None }
}

fn closed(setting: &Setting, system: &System, jobs: &[Job]) -> anyhow::Result<Round> {
    Ok(of_load(&load::run(jobs, &system.tree, setting.times, setting.cores)?))
}

/// What Atoll does with its time under these jobs, if that was asked for.
fn add_profile(setting: &Setting, field: &Field, block: &mut Block, jobs: impl Fn(&System) -> Vec<Job>) {
    let all_on = field.systems.iter().find(|system| system.name == ALL_ON);
    if let (true, Some(system)) = (setting.profile, all_on) {
        block.notes.extend(profile::of(&system.name, &jobs(system), &system.tree, setting.cores));
    }
}

fn title(setting: &Setting, what: &str) -> String {
    let (rounds, seconds) = (setting.rounds, setting.times.span.as_secs_f64());
    format!("{what} ({rounds} × {seconds} s)")
}

/// Why CPU time is what it is: instructions and cache misses of user space, over HTTP/1.1.
fn counted(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let title = "User space of a request over HTTP/1.1, 100 B, 64 connections: counted by callgrind";
    let mut block = Block { title: title.to_owned(), reference: Some(NGINX.to_owned()), ..Block::default() };
    let Some(tool) = counts::tool() else {
        block.notes.push("valgrind is not installed: left out".to_owned());
        return Ok(vec![block]);
    };
    let jobs = |system: &System| {
        let ask = ask(setting, system, "", upstream::SMALL);
        vec![Job { target: plain(system), ask, connections: CONNECTIONS, streams: 1, rate: None }]
    };
    let by = |folder: &Path| {
        let (tool, folder) = (tool.clone(), folder.to_owned());
        move |command: Command| counts::wrapped(&tool, &command, &folder, &[])
    };
    let peers = [
        counts::of_peer(setting, |folder| peers::floor_by(setting, by(folder)).map(Some), jobs)?,
        counts::of_peer(setting, |folder| peers::nginx_by(setting, Kind::Plain, by(folder)), jobs)?,
        counts::of_peer(setting, |folder| peers::nginx_by(setting, Kind::Guarded, by(folder)), jobs)?,
        counts::of_peer(setting, |folder| peers::haproxy_by(setting, Kind::Plain, by(folder)), jobs)?,
    ];
    let atoll = (ALL_ON.to_owned(), counts::of_atoll(&tool)?);
    for (name, round) in peers.into_iter().flatten().chain([atoll]) {
        block.rows.push(Row { name, rounds: vec![round] });
    }
    block.notes.push(
        "misses of a cache with 32 KiB each for code and data, and of a second level with 1 MiB (`far`), in lines of 64 bytes"
            .to_owned(),
    );
    Ok(vec![block])
}

fn http1(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let mut field = Field::default();
    field.add(Some(peers::floor(setting)?));
    field.add(peers::nginx(setting, Kind::Plain)?);
    field.add(peers::nginx(setting, Kind::Guarded)?);
    field.add(peers::haproxy(setting, Kind::Plain)?);
    field.atoll(setting, &Shape::bare(BARE))?;
    field.atoll(setting, &Shape::all_on(ALL_ON))?;
    field.atoll(setting, &Shape::all_on(ALL_ON_LOG).with(Feature::LogOn))?;
    let jobs = |system: &System, kind: &str, body| {
        let ask = ask(setting, system, kind, body);
        vec![Job { target: plain(system), ask, connections: CONNECTIONS, streams: 1, rate: None }]
    };

    let small = |system: &System| jobs(system, "", upstream::SMALL);
    let rows = in_turns(&field.systems, setting.rounds, |system| closed(setting, system, &small(system)))?;
    let what = title(setting, "HTTP/1.1, answers of 100 B, 64 connections in a closed loop");
    let mut block = field.block(what, NGINX, rows);
    block.goal("CPU: all policies / nginx", 0.85, (ALL_ON, NGINX), Metric::CpuUs);
    block.goal(
        "CPU: all policies / nginx, limit_req + access_log",
        0.65,
        (ALL_ON, NGINX_GUARDED),
        Metric::CpuUs,
    );
    block.goal("CPU: all policies / floor", 1.2, (ALL_ON, FLOOR), Metric::CpuUs);
    block.goal("CPU: all policies / policies off", 1.05, (ALL_ON, BARE), Metric::CpuUs);
    block.goal("p99 at saturation: all policies / nginx", 0.8, (ALL_ON, NGINX), Metric::P99Us);
    if let Some(ratio) = block.ratio(ALL_ON_LOG, NGINX_GUARDED, Metric::CpuUs) {
        block.notes.push(format!("both with an access log, CPU: Atoll / nginx {ratio:.2}; no goal"));
    }
    add_profile(setting, &field, &mut block, small);

    let large = |system: &System| jobs(system, "l", upstream::LARGE);
    let rows = in_turns(&field.systems, setting.rounds, |system| closed(setting, system, &large(system)))?;
    let what = title(setting, "HTTP/1.1, answers of 10 KB, 64 connections in a closed loop");
    let mut more = Field { systems: Vec::new(), notes: Vec::new() }.block(what, NGINX, rows);
    more.goal("CPU: all policies / nginx", 0.75, (ALL_ON, NGINX), Metric::CpuUs);
    add_profile(setting, &field, &mut more, large);
    Ok(vec![block, more])
}

fn tls(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let mut field = Field::default();
    field.add(peers::nginx(setting, Kind::Tls)?);
    field.add(peers::haproxy(setting, Kind::Tls)?);
    field.atoll(setting, &Shape::all_on(ALL_ON).needing(Feature::Tls))?;
    let target = |system: &System| Target { tls: Some(setting.certificate.client.clone()), ..plain(system) };
    let jobs = |system: &System| {
        let ask = ask(setting, system, "", upstream::SMALL);
        vec![Job { target: target(system), ask, connections: CONNECTIONS, streams: 1, rate: None }]
    };
    let rows = in_turns(&field.systems, setting.rounds, |system| closed(setting, system, &jobs(system)))?;
    let what = title(setting, "TLS 1.3 kept alive, answers of 100 B, 64 connections in a closed loop");
    let mut block = field.block(what, NGINX, rows);
    block.goal("CPU: all policies / nginx", 0.9, (ALL_ON, NGINX), Metric::CpuUs);
    add_profile(setting, &field, &mut block, jobs);

    let rows = in_turns(&field.systems, setting.rounds, |system| {
        Ok(of_load(&handshakes::run(&target(system), &system.tree, setting.times, setting.cores)?))
    })?;
    let what =
        title(setting, "TLS 1.3 full handshakes, ECDSA P-256, nothing resumed; a request is a handshake");
    let mut more = field.block(what, NGINX, rows);
    more.notes.clear(); // said above
    more.goal("CPU: Atoll / nginx", 0.7, (ALL_ON, NGINX), Metric::CpuUs);
    Ok(vec![block, more])
}

fn http2(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let mut field = Field::default();
    field.add(peers::nginx(setting, Kind::Http2)?);
    field.add(peers::haproxy(setting, Kind::Http2)?);
    field.atoll(setting, &Shape::all_on(ALL_ON))?;
    let (connections, streams) = HTTP2;
    let jobs = |system: &System| {
        let target = Target { protocol: Protocol::Http2, ..plain(system) };
        vec![Job { target, ask: ask(setting, system, "", upstream::SMALL), connections, streams, rate: None }]
    };
    let rows = in_turns(&field.systems, setting.rounds, |system| closed(setting, system, &jobs(system)))?;
    let what =
        format!("HTTP/2 to HTTP/1.1, answers of 100 B, {connections} connections with {streams} streams");
    let mut block = field.block(title(setting, &what), HAPROXY, rows);
    block.goal("CPU: all policies / HAProxy", 0.9, (ALL_ON, HAPROXY), Metric::CpuUs);
    add_profile(setting, &field, &mut block, jobs);
    Ok(vec![block])
}

fn grpc(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let mut field = Field::default();
    field.add(peers::nginx(setting, Kind::Grpc)?);
    field.add(peers::haproxy(setting, Kind::Grpc)?);
    field.atoll(setting, &Shape::all_on(ALL_ON).needing(Feature::Http2Upstream))?;
    let (connections, streams) = HTTP2;
    let jobs = |system: &System| {
        let target = Target { protocol: Protocol::Grpc, ..plain(system) };
        vec![Job { target, ask: Ask::grpc(UNARY, setting.tokens.clone()), connections, streams, rate: None }]
    };
    let rows = in_turns(&field.systems, setting.rounds, |system| closed(setting, system, &jobs(system)))?;
    let what = format!("gRPC unary, messages of 100 B, {connections} connections with {streams} streams");
    let mut block = field.block(title(setting, &what), HAPROXY, rows);
    block.goal("CPU: all policies / HAProxy", 1.1, (ALL_ON, HAPROXY), Metric::CpuUs);
    add_profile(setting, &field, &mut block, jobs);
    Ok(vec![block])
}

fn latency(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let mut field = Field::default();
    field.add(Some(peers::floor(setting)?));
    field.add(peers::nginx(setting, Kind::Plain)?);
    field.add(peers::haproxy(setting, Kind::Plain)?);
    field.atoll(setting, &Shape::all_on(ALL_ON))?;
    let job = |system: &System, rate| {
        let ask = ask(setting, system, "", upstream::SMALL);
        Job { target: plain(system), ask, connections: CONNECTIONS, streams: 1, rate }
    };
    let mut blocks = Vec::new();
    let nginx = field.systems.iter().find(|system| system.name == NGINX);
    if let Some(nginx) = nginx {
        let full = closed(setting, nginx, &[job(nginx, None)])?;
        let half = (full.figures.get(&Metric::Rate).copied().unwrap_or_default() / 2.0).round();
        let rows = in_turns(&field.systems, setting.rounds, |system| {
            closed(setting, system, &[job(system, Some(half))])
        })?;
        let what = format!("Half of nginx's saturation, {half} requests/s, open loop over 64 connections");
        let mut block = field.block(title(setting, &what), NGINX, rows);
        block.goal("p99: all policies / nginx", 1.0, (ALL_ON, NGINX), Metric::P99Us);
        blocks.push(block);
    }
    field.systems.insert(0, System::direct(setting.upstreams[0]));
    let rows = in_turns(&field.systems, setting.rounds, |system| {
        closed(setting, system, &[job(system, Some(CALM_RATE))])
    })?;
    let what = format!("{CALM_RATE} requests/s, open loop over 64 connections");
    let mut block = field.block(title(setting, &what), NGINX, rows);
    block.notes.clear(); // said above
    let direct = block.row(&field.systems[0].name).cloned();
    let added = block.row(ALL_ON).zip(direct).and_then(|(through, direct)| {
        let rounds = through.rounds.iter().zip(&direct.rounds);
        median(
            rounds
                .filter_map(|(a, b)| Some(a.figures.get(&Metric::P99Us)? - b.figures.get(&Metric::P99Us)?))
                .collect(),
        )
    });
    block.verdicts.push(Verdict::at_most("p99 added by Atoll, all policies", 1000.0, added, "µs"));
    blocks.push(block);
    Ok(blocks)
}

fn memory(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for (tls, connections, goal) in
        [(false, setting.idle, 4.0 * 1024.0), (true, setting.idle_tls, 25.0 * 1024.0)]
    {
        let kind = if tls { Kind::Tls } else { Kind::Plain };
        let shape = Shape::all_on(ALL_ON).with(Feature::Connections);
        let shape = if tls { shape.needing(Feature::Tls) } else { shape };
        let mut field = Field::default();
        field.add(peers::nginx(setting, kind)?);
        field.add(peers::haproxy(setting, kind)?);
        field.atoll(setting, &shape)?;
        // Once: what a second try finds is memory that the first has left.
        let rows = in_turns(&field.systems, 1, |system| {
            let client = tls.then(|| setting.certificate.client.clone());
            let target = Target { tls: client, ..plain(system) };
            let ask = ask(setting, system, "", upstream::SMALL);
            let bytes = idle::run(&target, &ask, &system.tree, connections, setting.cores.load)?;
            Ok(Round { figures: Figures::from([(Metric::Bytes, bytes)]), ..Round::default() })
        })?;
        let what = if tls { "TLS connections" } else { "connections" };
        let mut block =
            field.block(format!("{connections} idle {what}, each after one request"), NGINX, rows);
        let measured = block.row(ALL_ON).and_then(|row| row.median(Metric::Bytes));
        block.verdicts.push(Verdict::at_most("memory of an idle connection", goal, measured, "bytes"));
        blocks.push(block);
    }
    Ok(blocks)
}

fn isolation(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let mut field = Field::default();
    let mut shape = Shape::all_on("Atoll, five services");
    shape.services = SERVICES;
    field.atoll(setting, &shape)?;
    let Some(system) = field.systems.first() else { return Ok(Vec::new()) };
    let job = |number: usize, faults: bool| {
        let kind = match number {
            HEALTHY if faults => "h",
            number if number > HEALTHY && faults => "f",
            _ => "1",
        };
        let paths = (0..100).map(|n| format!("/s{number}/{kind}{n}")).collect();
        let hangs = kind == "h";
        Job {
            target: plain(system),
            ask: Ask { paths, tokens: setting.tokens.clone(), body: upstream::SMALL },
            connections: if hangs { HANGING_CONNECTIONS } else { ISOLATION_CONNECTIONS },
            streams: 1,
            rate: Some(ISOLATION_RATE / SERVICES as f64),
        }
    };
    let kinds = [("the other three, nothing wrong", false), ("the other three, one hangs, one fails", true)];
    let mut rows = kinds.map(|(name, _)| Row { name: name.to_owned(), rounds: Vec::new() }).to_vec();
    let mut faulty = Vec::new();
    for number in 0..setting.rounds {
        // Calm first: what a breaker remembers would be in the way of the calm after.
        for (index, (name, faults)) in kinds.iter().enumerate() {
            go_on()?;
            progress(number, setting.rounds, name);
            let jobs: Vec<_> = (0..SERVICES).map(|number| job(number, *faults)).collect();
            let times = load::Times { span: setting.times.span.max(Duration::from_secs(2)), ..setting.times };
            let outcome = load::run(&jobs, &system.tree, times, setting.cores)?;
            let healthy: Vec<_> = outcome.samples.iter().take(HEALTHY).collect();
            let mut round = of_samples(&healthy);
            let answers: usize = outcome.samples.iter().map(|sample| sample.latencies.len()).sum();
            round.figures.insert(Metric::Rate, answers as f64 / outcome.wall.as_secs_f64());
            rows[index].rounds.push(round);
            if *faults {
                faulty = outcome.samples[HEALTHY..].to_vec();
            }
        }
    }
    progress_done();
    let what = format!("Five services, {ISOLATION_RATE} requests/s in total, open loop");
    let mut block =
        Block { title: title(setting, &what), rows, notes: field.notes.clone(), ..Block::default() };
    let failed: f64 = block
        .rows
        .iter()
        .flat_map(|row| &row.rounds)
        .filter_map(|round| round.figures.get(&Metric::Failed))
        .sum();
    block.goal("p99 of the other three: with faults / without", 1.2, (kinds[1].0, kinds[0].0), Metric::P99Us);
    block.verdicts.push(Verdict::at_most(
        "failed requests to the other three",
        0.0,
        Some(failed),
        "requests",
    ));
    for (name, sample) in ["the one that hangs", "the one that fails"].into_iter().zip(&faulty) {
        let kinds: Vec<_> = sample.failures.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        let (answered, requests) = (sample.latencies.len(), sample.requests);
        let p99 = sample.quantile(0.99).as_secs_f64() * 1e3;
        block.notes.push(format!(
            "{name}, last round: {answered} of {requests} answered (p99 {p99:.1} ms); {}",
            kinds.join(", ")
        ));
    }
    Ok(vec![block])
}
