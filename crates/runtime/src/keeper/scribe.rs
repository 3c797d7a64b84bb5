//! The scribe: a process of the keeper's own that writes the log files. A disk that hangs holds up the scribe
//! and nobody else.
//!
//! The keeper sends records through a queue with a bound. When the scribe falls behind, the keeper stops
//! reading what instances write for a moment; when it has not caught up by then, records are dropped and
//! counted, so that no instance waits for a log for long.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use kit::Timestamp;
use kit::units::Bytes;
use manifest::spec::Logging;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::logs::{RotatingFile, Stream, write_record};
use crate::sandbox::sys::{self, Forked};

/// Bytes in the queue from which on instances are not read until it is shorter.
const PAUSE_ABOVE: usize = 512 * 1024;

/// How long instances may be held up by a scribe that does not catch up. Records are dropped after that.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long the scribe may take to write the rest when the keeper ends.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Bytes of one message's name and body, at most; more is a message that was damaged.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// The keeper's side.
#[derive(Debug)]
pub(super) struct Scribe {
    pub(super) pid: Pid,
    pub(super) socket: OwnedFd,
    queue: Vec<u8>,
    /// How much of `queue` has been sent.
    sent: usize,
    flow: Flow,
    dropped: BTreeMap<String, u64>,
    /// Logs to close once it has been said what was dropped from them.
    closing: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// The scribe keeps up.
    Flowing,
    /// Instances wait, since then.
    Paused { since: Instant },
    /// The scribe hangs: instances are read, records dropped.
    Dropping,
}

/// The kinds of messages.
const OPEN: u8 = b'o';
const WRITE: u8 = b'w';
const CLOSE: u8 = b'c';

impl Scribe {
    /// Forks a scribe that writes into the directory `logs`.
    pub(super) fn spawn(logs: &Path) -> io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        match sys::fork()? {
            Forked::Parent { child } => Ok(Self {
                pid: child,
                socket: ours,
                queue: Vec::new(),
                sent: 0,
                flow: Flow::Flowing,
                dropped: BTreeMap::new(),
                closing: BTreeSet::new(),
            }),
            Forked::Child => {
                // Everything else is the keeper's: above all the lock, and the other end.
                sys::close_all_but(&[theirs.as_raw_fd()]);
                let _ = rustix::thread::set_name(c"atoll-scribe");
                let logs = logs.to_owned();
                let outcome = std::panic::catch_unwind(move || serve(theirs, &logs));
                sys::exit_now(i32::from(!matches!(outcome, Ok(Ok(())))));
            }
        }
    }

    /// The log of an instance begins, or goes on after an earlier run.
    pub(super) fn open(&mut self, name: &str, logging: Logging) {
        self.closing.remove(name);
        let mut body = logging.max_size.0.to_ne_bytes().to_vec();
        body.extend_from_slice(&logging.max_files.to_ne_bytes());
        self.push(OPEN, name, &body);
    }

    /// Nothing more comes from this instance.
    pub(super) fn close(&mut self, name: &str) {
        if self.dropped.contains_key(name) {
            self.closing.insert(name.to_owned());
        } else {
            self.push(CLOSE, name, &[]);
        }
    }

    /// Records to write; dropped and counted when the scribe hangs.
    pub(super) fn write(&mut self, name: &str, at: Timestamp, records: &[u8]) {
        if records.is_empty() {
            return;
        }
        if self.flow == Flow::Dropping {
            let lines = records.iter().filter(|&&b| b == b'\n').count() as u64;
            *self.dropped.entry(name.to_owned()).or_default() += lines;
            return;
        }
        let mut body = at.as_micros().to_ne_bytes().to_vec();
        body.extend_from_slice(records);
        self.push(WRITE, name, &body);
    }

    /// Whether instances must not be read now.
    pub(super) fn is_paused(&self) -> bool {
        matches!(self.flow, Flow::Paused { .. })
    }

    /// When to look again even if nothing moves.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.flow {
            Flow::Paused { since } => Some(since + PATIENCE),
            _ => None,
        }
    }

    /// Whether there is something to send.
    pub(super) fn has_queue(&self) -> bool {
        self.sent < self.queue.len()
    }

    /// Sends what the socket takes, and decides who waits. Returns `false` when the scribe is gone.
    pub(super) fn flush(&mut self, now: Instant, at: Timestamp) -> bool {
        let mut alive = true;
        while self.has_queue() {
            match send(&self.socket, &self.queue[self.sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(bytes) => self.sent += bytes,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => {
                    alive = false;
                    break;
                }
            }
        }
        if self.sent == self.queue.len() {
            self.queue.clear();
            self.queue.shrink_to(64 * 1024);
            self.sent = 0;
        } else if self.sent > PAUSE_ABOVE {
            self.queue.drain(..self.sent);
            self.sent = 0;
        }
        self.decide(now, at);
        alive
    }

    fn decide(&mut self, now: Instant, at: Timestamp) {
        let waiting = self.queue.len() - self.sent;
        self.flow = match self.flow {
            Flow::Flowing if waiting > PAUSE_ABOVE => Flow::Paused { since: now },
            Flow::Paused { .. } | Flow::Dropping if waiting <= PAUSE_ABOVE / 2 => Flow::Flowing,
            Flow::Paused { since } if now >= since + PATIENCE => Flow::Dropping,
            same => same,
        };
        if self.flow == Flow::Flowing {
            for (name, lines) in std::mem::take(&mut self.dropped) {
                let text = format!("[atoll] {lines} lines dropped: the disk did not keep up");
                let mut record = Vec::new();
                write_record(&mut record, at, Stream::Atoll, false, text.as_bytes());
                self.write(&name, at, &record);
            }
            for name in std::mem::take(&mut self.closing) {
                self.push(CLOSE, &name, &[]);
            }
        }
    }

    /// What went wrong with files, as the scribe tells it.
    pub(super) fn troubles(&self) -> Vec<String> {
        let mut text = [0; 4096];
        match recv(&self.socket, &mut text, RecvFlags::DONTWAIT) {
            Ok((read, _)) => String::from_utf8_lossy(&text[..read]).lines().map(str::to_owned).collect(),
            Err(_) => Vec::new(),
        }
    }

    /// Ends the scribe once it has written what is queued, or after a limit.
    pub(super) fn finish(mut self) {
        let began = Instant::now();
        while self.flush(Instant::now(), Timestamp::from_micros(0)) && self.has_queue() {
            if began.elapsed() > CLOSE_LIMIT {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(self.socket);
        while !matches!(waitpid(Some(self.pid), WaitOptions::NOHANG), Ok(Some(_)) | Err(_)) {
            if began.elapsed() > CLOSE_LIMIT {
                let _ = sys::kill(self.pid, libc::SIGKILL); // not reaped: we would have seen it
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn push(&mut self, kind: u8, name: &str, body: &[u8]) {
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_ne_bytes();
        self.queue.push(kind);
        self.queue.extend_from_slice(&length(name.len()));
        self.queue.extend_from_slice(&length(body.len()));
        self.queue.extend_from_slice(name.as_bytes());
        self.queue.extend_from_slice(body);
    }
}

/// The scribe's life: until the keeper closes the socket, and whatever is in it by then.
fn serve(socket: OwnedFd, logs: &Path) -> io::Result<()> {
    let mut files: BTreeMap<String, RotatingFile> = BTreeMap::new();
    let mut socket = File::from(socket);
    let mut input = io::BufReader::with_capacity(64 * 1024, socket.try_clone()?);
    let mut body = Vec::new();
    let mut head = [0; 9];
    loop {
        match input.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            outcome => outcome?,
        }
        let length = |from: usize| -> usize {
            let bytes = [head[from], head[from + 1], head[from + 2], head[from + 3]];
            u32::from_ne_bytes(bytes) as usize
        };
        let (name_length, body_length) = (length(1), length(5));
        if name_length + body_length > MAX_BODY {
            return Err(io::Error::other("a damaged message"));
        }
        body.resize(name_length + body_length, 0);
        input.read_exact(&mut body)?;
        let (name, body) = body.split_at(name_length);
        let name = String::from_utf8_lossy(name).into_owned();
        match (head[0], body.split_first_chunk::<8>()) {
            (OPEN, Some((max_size, max_files))) => {
                let max_files = max_files.first_chunk().map_or(1, |bytes| u32::from_ne_bytes(*bytes));
                let logging = Logging { max_size: Bytes(u64::from_ne_bytes(*max_size)), max_files };
                match files.get_mut(&name) {
                    Some(file) => file.keep_by(logging),
                    None => drop(files.insert(name.clone(), RotatingFile::new(logs, name, logging))),
                }
            }
            (WRITE, Some((at, records))) => {
                let at = Timestamp::from_micros(u64::from_ne_bytes(*at));
                let Some(file) = files.get_mut(&name) else { continue };
                if let Err(trouble) = file.append(records, at)
                    && trouble.first
                {
                    let _ = socket.write_all(format!("{name}: {}\n", trouble.why).as_bytes());
                }
            }
            // A file that could not be written is kept in mind: its next run tells how much is missing.
            _ => files.retain(|known, file| *known != name || !file.is_whole()),
        }
    }
}
