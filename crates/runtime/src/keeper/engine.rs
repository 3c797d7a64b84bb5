//! The keeper's loop: one wait, then one dull step for each thing that happened.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use kit::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::process::{self, Resource, Rlimit};

use super::home::Home;
use super::instance::{Instance, Phase};
use super::link::Link;
use super::scribe::Scribe;
use super::survivors;
use crate::cgroup::Cgroups;
use crate::sandbox::sys::SignalFd;
use crate::wire::{ToNode, WireExit};

/// How long a keeper without a node and without an instance waits for its first node.
const FIRST_NODE_LIMIT: Duration = Duration::from_secs(10);

/// How long instances may take to end when the node has gone without ending them.
const GONE_GRACE: Duration = Duration::from_secs(2);

/// The same when the keeper itself is asked to end (the machine shuts down).
const TERM_GRACE: Duration = Duration::from_secs(10);

/// How soon to look again for what a killed warden left.
const HUNT_PAUSE: Duration = Duration::from_millis(5);

/// Ends told and not acknowledged, at most: the node takes them before more are told.
const TELL_AHEAD: usize = 512;

/// Notices kept for a node that is not there.
const MAX_NOTICES: usize = 32;

/// Bytes read from one pipe before the others have their turn.
pub(super) const TURN: usize = 64 * 1024;

/// Descriptors ready at a time.
const EVENTS: usize = 256;

/// What a descriptor is, as the kernel hands it back with an event: the lowest three bits; the others are
/// the number of the instance, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Listener,
    Signals,
    Node,
    NodeProcess,
    Scribe,
    Control(u64),
    Output(u64, usize),
}

impl Source {
    fn token(self) -> u64 {
        match self {
            Self::Listener => 0,
            Self::Signals => 1,
            Self::Node => 2,
            Self::NodeProcess => 3,
            Self::Scribe => 4,
            Self::Control(number) => number << 3,
            Self::Output(number, which) => number << 3 | (which as u64 + 1),
        }
    }

    fn of_token(token: u64) -> Self {
        match (token >> 3, token & 7) {
            (0, 0) => Self::Listener,
            (0, 1) => Self::Signals,
            (0, 2) => Self::Node,
            (0, 3) => Self::NodeProcess,
            (0, _) => Self::Scribe,
            (number, 0) => Self::Control(number),
            (number, which) => Self::Output(number, usize::from(which > 1)),
        }
    }
}

pub(super) struct Keeper {
    pub(super) home: Home,
    pub(super) epoll: OwnedFd,
    signals: SignalFd,
    pub(super) cgroups: Cgroups,
    pub(super) node: Option<Link>,
    had_node: bool,
    pub(super) detached: bool,
    /// No new instances; the keeper ends with its last one.
    pub(super) ending: bool,
    began: Instant,
    pub(super) instances: BTreeMap<u64, Instance>,
    pub(super) next_number: u64,
    pub(super) scribe: Scribe,
    /// Outputs that are not watched while the scribe catches up.
    pub(super) parked: Vec<(u64, usize)>,
    /// For the node: code, message, hint. `said` holds what was told already: once per cause.
    notices: Vec<(&'static str, String, &'static str)>,
    said: Vec<String>,
    /// Limit of open files as it was before ours was raised.
    pub(super) nofile: Rlimit,
    pub(super) buffer: Vec<u8>,
    pub(super) records: Vec<u8>,
}

/// The keeper's life. Tells on `ready` whether it serves. Returns whether it did.
pub(super) fn run(state_dir: &Path, ready: OwnedFd) -> bool {
    let mut ready = std::fs::File::from(ready);
    let keeper = Home::take(state_dir).and_then(|home| {
        Keeper::new(home).map_err(|error| super::Failure::new(format!("cannot start the keeper: {error}")))
    });
    match keeper {
        Ok(mut keeper) => {
            let _ = ready.write_all(&[0]);
            drop(ready);
            keeper.serve();
            keeper.home.leave();
            keeper.cgroups.remove_bases();
            keeper.scribe.finish();
            true
        }
        Err(failure) => {
            let _ = ready.write_all(&[failure.status.max(1)]);
            let _ = ready.write_all(failure.why.as_bytes());
            false
        }
    }
}

impl Keeper {
    fn new(home: Home) -> std::io::Result<Self> {
        process::set_child_subreaper(Some(process::getpid()))?;
        let nofile = raise_open_files();
        let signals = SignalFd::new(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP])?;
        let cgroups = Cgroups::find(&home.digest);
        let survivors = survivors::end(&home.digest, &cgroups);
        let scribe = Scribe::spawn(&home.logs)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut keeper = Self {
            home,
            epoll,
            signals,
            cgroups,
            node: None,
            had_node: false,
            detached: false,
            ending: false,
            began: Instant::now(),
            instances: BTreeMap::new(),
            next_number: 1,
            scribe,
            parked: Vec::new(),
            notices: Vec::new(),
            said: Vec::new(),
            nofile,
            buffer: vec![0; TURN],
            records: Vec::new(),
        };
        if survivors > 0 {
            let message = format!("ended {survivors} processes that an earlier run had left behind");
            keeper.notice("A0511", message, "nothing to do; `atoll explain A0511` says how this comes about");
        }
        keeper.watch(&keeper.home.listener, Source::Listener, epoll::EventFlags::IN)?;
        keeper.watch(&keeper.signals, Source::Signals, epoll::EventFlags::IN)?;
        keeper.watch(&keeper.scribe.socket, Source::Scribe, epoll::EventFlags::IN)?;
        Ok(keeper)
    }

    fn serve(&mut self) {
        while !self.is_done() {
            let mut events = Vec::with_capacity(EVENTS);
            let timeout = self.timeout();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => std::thread::sleep(HUNT_PAUSE), // out of memory: the next round may work
            }
            for event in &events {
                self.happened(Source::of_token(event.data.u64()));
            }
            self.after_events();
        }
    }

    fn is_done(&self) -> bool {
        if self.ending {
            return !self.instances.values().any(Instance::is_living);
        }
        let waited = self.had_node || self.began.elapsed() > FIRST_NODE_LIMIT;
        self.node.is_none() && self.instances.is_empty() && waited
    }

    fn happened(&mut self, source: Source) {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.signalled(),
            Source::Node => self.read_node(),
            Source::NodeProcess => self.node_process_ended(),
            Source::Scribe => self.read_scribe(),
            Source::Control(number) => self.read_control(number),
            Source::Output(number, which) => self.read_output(number, which),
        }
    }

    /// What is due after a round of events, whatever they were.
    fn after_events(&mut self) {
        let now = Instant::now();
        for instance in self.instances.values_mut() {
            if instance
                .stopping
                .and_then(|stopping| stopping.deadline)
                .is_some_and(|deadline| deadline <= now)
            {
                instance.kill();
            }
        }
        if self.instances.values().any(|instance| instance.phase == Phase::Lost) {
            self.hunt();
        }
        self.tell_ends();
        self.flush_node();
        if !self.scribe.flush(now, wall()) {
            self.new_scribe();
        }
        if !self.scribe.is_paused() {
            for (number, which) in std::mem::take(&mut self.parked) {
                self.watch_output(number, which);
            }
        }
        let interest = epoll::EventFlags::IN
            | if self.scribe.has_queue() { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        let data = epoll::EventData::new_u64(Source::Scribe.token());
        let _ = epoll::modify(&self.epoll, &self.scribe.socket, data, interest);
    }

    fn timeout(&self) -> Option<Timespec> {
        let now = Instant::now();
        let stops = self.instances.values().filter_map(|instance| instance.stopping?.deadline);
        let lost = self.instances.values().any(|instance| instance.phase == Phase::Lost);
        let first_node = !self.had_node && self.instances.is_empty();
        let earliest = stops
            .chain(lost.then(|| now + HUNT_PAUSE))
            .chain(self.scribe.deadline())
            .chain(first_node.then(|| self.began + FIRST_NODE_LIMIT))
            .min()?;
        // Rounded up: waking too early would only mean to wait again.
        let wait = earliest.saturating_duration_since(now) + Duration::from_millis(1);
        Timespec::try_from(wait).ok()
    }

    pub(super) fn watch_instance(&self, number: u64) {
        let Some(instance) = self.instances.get(&number) else { return };
        if let Some(control) = &instance.control {
            let _ = self.watch(control, Source::Control(number), epoll::EventFlags::IN);
        }
        self.watch_output(number, 0);
        self.watch_output(number, 1);
    }

    pub(super) fn watch_output(&self, number: u64, which: usize) {
        let output = self.instances.get(&number).and_then(|instance| instance.outputs[which].as_ref());
        if let Some(output) = output {
            let _ = self.watch(&output.pipe, Source::Output(number, which), epoll::EventFlags::IN);
        }
    }

    pub(super) fn watch(
        &self,
        fd: impl AsFd,
        source: Source,
        interest: epoll::EventFlags,
    ) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(source.token()), interest)
    }

    /// Must be said before a descriptor is closed: a warden that has just been forked may still hold a copy,
    /// and the kernel would go on telling.
    pub(super) fn unwatch(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.home.listener.accept() {
            let Ok(mut link) = Link::accept(stream) else { continue };
            if let Some(refusal) = self.refusal() {
                link.tell(&ToNode::Refused { refusal });
                link.flush();
                continue;
            }
            let _ = self.watch(&link.stream, Source::Node, epoll::EventFlags::IN);
            if let Some(process) = &link.process {
                let _ = self.watch(process, Source::NodeProcess, epoll::EventFlags::IN);
            }
            self.node = Some(link);
        }
    }

    fn read_node(&mut self) {
        let Some(link) = &mut self.node else { return };
        if !link.receive(&mut self.buffer) {
            return self.node_gone();
        }
        self.serve_requests();
    }

    fn flush_node(&mut self) {
        let Some(link) = &mut self.node else { return };
        if !link.flush() {
            return self.node_gone();
        }
        let wants_out = link.has_output();
        let interest = match (link.is_full(), wants_out) {
            (true, _) => epoll::EventFlags::OUT, // it must take answers before it may ask again
            (false, true) => epoll::EventFlags::IN | epoll::EventFlags::OUT,
            (false, false) => epoll::EventFlags::IN,
        };
        let data = epoll::EventData::new_u64(Source::Node.token());
        let _ = epoll::modify(&self.epoll, &link.stream, data, interest);
        if !wants_out {
            self.serve_requests(); // those that waited while it took no answers
        }
    }

    /// The event may be an old one, of a node before this.
    fn node_process_ended(&mut self) {
        let Some(process) = self.node.as_ref().and_then(|link| link.process.as_ref()) else { return };
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)) == Ok(1) {
            self.node_gone();
        }
    }

    /// The node ended, or hung up.
    pub(super) fn node_gone(&mut self) {
        let Some(link) = self.node.take() else { return };
        self.unwatch(&link.stream);
        if let Some(process) = &link.process {
            self.unwatch(process);
        }
        let now = Instant::now();
        for instance in self.instances.values_mut() {
            // Whoever asked is not there any more.
            instance.starters.clear();
            instance.stoppers.clear();
            instance.told = false;
        }
        if !link.greeted {
            return;
        }
        self.had_node = true;
        if !self.detached {
            return self.end_all(GONE_GRACE, now);
        }
        // A check without a node that asked for it means nothing.
        for instance in self.instances.values_mut().filter(|instance| !instance.is_logged()) {
            instance.kill();
        }
        self.instances.retain(|_, instance| instance.is_living() || instance.is_logged());
    }

    fn end_all(&mut self, cap: Duration, now: Instant) {
        self.ending = true;
        for instance in self.instances.values_mut().filter(|instance| instance.is_living()) {
            instance.stop_as_declared(cap, now);
        }
    }

    fn signalled(&mut self) {
        for signal in self.signals.drain() {
            match signal {
                libc::SIGTERM => self.end_all(TERM_GRACE, Instant::now()),
                libc::SIGCHLD => self.reap(),
                _ => {} // no terminal is ours: not meant for us
            }
        }
    }

    /// Tells what has ended and what else there is to say, as far as the node takes it.
    pub(super) fn tell_ends(&mut self) {
        let Some(link) = &mut self.node else { return };
        if !link.greeted {
            return;
        }
        for (code, message, hint) in self.notices.drain(..) {
            link.tell(&ToNode::Notice { code: code.to_owned(), message, hint: Some(hint.to_owned()) });
        }
        if !link.telling {
            return;
        }
        let mut ahead = self.instances.values().filter(|instance| instance.told).count();
        for instance in self.instances.values_mut() {
            let Phase::Ended { exit, at } = &instance.phase else { continue };
            if !instance.told && ahead < TELL_AHEAD && !link.is_full() {
                link.tell(&ToNode::Exited {
                    id: instance.launch.id.to_string(),
                    exit: WireExit::from_domain(exit),
                    at: at.as_micros(),
                    last_lines: instance.last_lines.texts(),
                });
                instance.told = true;
                ahead += 1;
            }
            if instance.told {
                for seq in std::mem::take(&mut instance.stoppers) {
                    link.tell(&ToNode::Stopped { seq });
                }
            }
        }
    }

    pub(super) fn tell(&mut self, message: &ToNode) {
        if let Some(link) = &mut self.node {
            link.tell(message);
        }
    }

    /// Says something to the person at the node, once.
    pub(super) fn notice(&mut self, code: &'static str, message: String, hint: &'static str) {
        if self.notices.len() < MAX_NOTICES && self.said.len() < MAX_NOTICES && !self.said.contains(&message)
        {
            self.said.push(message.clone());
            self.notices.push((code, message, hint));
        }
    }
}

/// Lets the keeper have as many descriptors as the system allows; returns the limit as it was.
fn raise_open_files() -> Rlimit {
    let before = process::getrlimit(Resource::Nofile);
    let _ = process::setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before });
    before
}

/// The time of day.
pub(super) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
