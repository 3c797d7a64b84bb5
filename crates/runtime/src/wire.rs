//! What a node and its keeper say to each other: JSON, each message behind its length (four bytes, most
//! significant first). The domain's types are mirrored here so that they can change without the wire.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kit::Timestamp;
use kit::units::Bytes;
use manifest::spec::{InstanceId, Limits, Logging, Ulimit};
use serde::{Deserialize, Serialize};

use crate::driver::{Exit, Found, Launch, Lifetime, StartError, Started, Usage};

/// Counts up when the messages change so that an older other side would misread them.
pub(crate) const PROTOCOL: u32 = 1;

/// Bytes of one message at most. A launch is bounded by what the kernel takes for arguments and environment.
pub(crate) const MAX_MESSAGE: usize = 8 * 1024 * 1024;

/// The file name of the keeper's socket in the state directory.
pub(crate) const SOCKET: &str = "keeper.sock";

/// The file that a keeper and its wardens hold locked.
pub(crate) const LOCK: &str = "keeper.lock";

/// From the node. `seq` comes back in the answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToKeeper {
    /// First of all.
    Hello { protocol: u32, detached: bool },
    /// Start an instance; answered by `Started` or `NotStarted`.
    Start { seq: u64, launch: Box<WireLaunch> },
    /// End an instance; answered by `Stopped`.
    Stop { seq: u64, id: String, signal: i32, grace_us: u64 },
    /// What is there from before; answered by any number of `Found` and then `Recovered`.
    Recover { seq: u64 },
    /// What each uses; answered by `Usage`.
    Usage { seq: u64 },
    /// The end of this instance has been told: forget it. Not answered.
    Ack { id: String },
}

/// From the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToNode {
    Welcome {
        pid: i32,
    },
    Refused {
        refusal: Refusal,
    },
    Started {
        seq: u64,
        pid: u32,
        at: u64,
    },
    NotStarted {
        seq: u64,
        error: WireStartError,
    },
    Stopped {
        seq: u64,
    },
    Found {
        seq: u64,
        launch: Box<WireLaunch>,
        pid: u32,
        at: u64,
        exit: Option<WireExit>,
        #[serde(default)] // a keeper of an earlier version does not say
        asked: bool,
    },
    Recovered {
        seq: u64,
    },
    Usage {
        seq: u64,
        list: Vec<WireUsage>,
    },
    Exited {
        id: String,
        exit: WireExit,
        at: u64,
        last_lines: Vec<String>,
    },
    Notice {
        code: String,
        message: String,
        hint: Option<String>,
    },
}

/// Why a node is not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// Another node is.
    Busy { pid: i32 },
    /// It speaks another protocol.
    Protocol { keeper: u32, pid: i32 },
    /// This keeper is ending its instances and then itself.
    Ending,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WireLaunch {
    id: String,
    revision: String,
    command: Vec<String>,
    working_dir: PathBuf,
    environment: BTreeMap<String, String>,
    user: Option<String>,
    ulimits: BTreeMap<String, [Option<u64>; 2]>,
    /// The bits of an `f64`, so that it comes back exactly.
    cpus: Option<u64>,
    memory: Option<u64>,
    pids: Option<u64>,
    port: Option<u16>,
    stop_signal: String,
    stop_grace_ns: u64,
    log_max_size: u64,
    log_max_files: u32,
}

impl WireLaunch {
    pub(crate) fn from_domain(launch: Launch) -> Self {
        let Launch {
            id,
            revision,
            command,
            working_dir,
            environment,
            user,
            ulimits,
            limits: Limits { cpus, memory, pids },
            port,
            stop_signal,
            stop_grace,
            logging: Logging { max_size, max_files },
        } = launch;
        Self {
            id: id.to_string(),
            revision,
            command,
            working_dir,
            environment,
            user,
            ulimits: ulimits.into_iter().map(|(name, Ulimit { soft, hard })| (name, [soft, hard])).collect(),
            cpus: cpus.map(f64::to_bits),
            memory: memory.map(|bytes| bytes.0),
            pids,
            port,
            stop_signal,
            stop_grace_ns: u64::try_from(stop_grace.as_nanos()).unwrap_or(u64::MAX),
            log_max_size: max_size.0,
            log_max_files: max_files,
        }
    }

    /// `None` when the id is none.
    pub(crate) fn into_domain(self) -> Option<Launch> {
        Some(Launch {
            id: self.id.parse().ok()?,
            revision: self.revision,
            command: self.command,
            working_dir: self.working_dir,
            environment: self.environment,
            user: self.user,
            ulimits: (self.ulimits.into_iter().map(|(name, [soft, hard])| (name, Ulimit { soft, hard })))
                .collect(),
            limits: Limits {
                cpus: self.cpus.map(f64::from_bits),
                memory: self.memory.map(Bytes),
                pids: self.pids,
            },
            port: self.port,
            stop_signal: self.stop_signal,
            stop_grace: Duration::from_nanos(self.stop_grace_ns),
            logging: Logging { max_size: Bytes(self.log_max_size), max_files: self.log_max_files },
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum WireExit {
    Code(i32),
    Signal(String),
    OutOfMemory,
    Unknown,
}

impl WireExit {
    pub(crate) fn from_domain(exit: &Exit) -> Self {
        match exit {
            Exit::Code(code) => Self::Code(*code),
            Exit::Signal(name) => Self::Signal(name.clone()),
            Exit::OutOfMemory => Self::OutOfMemory,
            Exit::Unknown => Self::Unknown,
        }
    }

    pub(crate) fn into_domain(self) -> Exit {
        match self {
            Self::Code(code) => Exit::Code(code),
            Self::Signal(name) => Exit::Signal(name),
            Self::OutOfMemory => Exit::OutOfMemory,
            Self::Unknown => Exit::Unknown,
        }
    }
}

/// [`StartError`] without the id, which the node knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum WireStartError {
    SlotTaken { holder: String },
    NoProgram { program: String, searched: String },
    Setup { step: String, why: String },
    DriverGone { why: String },
}

impl WireStartError {
    pub(crate) fn from_domain(error: StartError) -> Self {
        match error {
            StartError::SlotTaken { id: _, holder } => Self::SlotTaken { holder: holder.to_string() },
            StartError::NoProgram { id: _, program, searched } => Self::NoProgram { program, searched },
            StartError::Setup { id: _, step, why } => Self::Setup { step, why },
            StartError::DriverGone { id: _, why } => Self::DriverGone { why },
        }
    }

    pub(crate) fn into_domain(self, id: InstanceId) -> StartError {
        match self {
            Self::SlotTaken { holder } => {
                let holder = holder.parse().unwrap_or_else(|_| id.clone());
                StartError::SlotTaken { id, holder }
            }
            Self::NoProgram { program, searched } => StartError::NoProgram { id, program, searched },
            Self::Setup { step, why } => StartError::Setup { id, step, why },
            Self::DriverGone { why } => StartError::DriverGone { id, why },
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WireUsage {
    pub(crate) id: String,
    pub(crate) cpu_us: u64,
    pub(crate) memory: u64,
    pub(crate) processes: u32,
}

impl WireUsage {
    pub(crate) fn into_domain(self) -> Option<Usage> {
        let cpu = Duration::from_micros(self.cpu_us);
        Some(Usage { id: self.id.parse().ok()?, cpu, memory: self.memory, processes: self.processes })
    }
}

/// An instance from before, in domain types.
pub(crate) fn found(
    launch: WireLaunch,
    pid: u32,
    at: u64,
    exit: Option<WireExit>,
    asked: bool,
) -> Option<Found> {
    let started = Started { pid, at: Timestamp::from_micros(at) };
    Some(Found { launch: launch.into_domain()?, started, exit: exit.map(WireExit::into_domain), asked })
}

/// Whether instances outlive the node.
pub(crate) fn is_detached(lifetime: Lifetime) -> bool {
    lifetime == Lifetime::Detached
}

/// Appends a message with its length. Fails when it holds what JSON cannot (a path that is not UTF-8) or is
/// longer than [`MAX_MESSAGE`].
pub(crate) fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> std::io::Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let written = serde_json::to_writer(&mut *out, message).map_err(std::io::Error::from);
    let length = out.len() - start - 4;
    let written = match u32::try_from(length) {
        Ok(bytes) if length <= MAX_MESSAGE => {
            out[start..start + 4].copy_from_slice(&bytes.to_be_bytes());
            written
        }
        _ => Err(std::io::Error::other("the message is too long")),
    };
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Takes the first message off the front of `buffer`; `None` when it is not there whole yet.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(buffer: &mut Vec<u8>) -> std::io::Result<Option<T>> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*head) as usize;
    if length > MAX_MESSAGE {
        return Err(std::io::Error::other("the message is too long"));
    }
    let Some(body) = buffer.get(4..4 + length) else { return Ok(None) };
    let message = serde_json::from_slice(body)?;
    buffer.drain(..4 + length);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_reads_back_exactly() {
        let launch = Launch {
            id: "a.b-2#7".parse().unwrap(),
            revision: "r".into(),
            command: vec!["x".into(), "\u{1}\n".into()],
            working_dir: "/srv/ä".into(),
            environment: BTreeMap::from([("A".into(), String::new())]),
            user: Some("1:2".into()),
            ulimits: BTreeMap::from([("nofile".into(), Ulimit { soft: Some(u64::MAX), hard: None })]),
            limits: Limits { cpus: Some(0.1 + 0.2), memory: Some(Bytes(1)), pids: None },
            port: Some(8080),
            stop_signal: "SIGINT".into(),
            stop_grace: Duration::from_nanos(1_500_000_001),
            logging: Logging { max_size: Bytes(10), max_files: 3 },
        };
        let mut buffer = Vec::new();
        encode(&WireLaunch::from_domain(launch.clone()), &mut buffer).unwrap();
        encode(&1, &mut buffer).unwrap();
        let back: WireLaunch = decode(&mut buffer).unwrap().unwrap();
        assert_eq!(back.into_domain().unwrap(), launch);
        assert_eq!(decode::<u8>(&mut buffer).unwrap(), Some(1));
        assert_eq!(decode::<u8>(&mut buffer).unwrap(), None);
    }

    #[test]
    fn a_message_that_claims_to_be_huge_is_refused() {
        assert!(decode::<u8>(&mut vec![255; 4]).is_err());
    }
}
