//! What a warden and its keeper say to each other: one datagram each on a socket they share.

/// From the warden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The program runs.
    Started {
        /// The main process.
        pid: i32,
        /// When, in microseconds since the Unix epoch.
        at: u64,
    },
    /// The program does not run, and nothing is left of it.
    Failed(Failure),
    /// The program ran; nothing of its tree lives any more. The warden ends now.
    Ended {
        /// How the main process ended, as `wait` gives it.
        status: i32,
        /// Whether the kernel killed something of the instance for want of memory.
        out_of_memory: bool,
    },
}

/// To the warden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Send this signal to the main process.
    Signal(i32),
    /// Kill everything.
    Kill,
}

/// What went wrong between fork and exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The step that failed.
    pub(crate) step: Step,
    /// Which one of several (which ulimit, which cgroup).
    pub(crate) which: u8,
    /// The error number.
    pub(crate) errno: i32,
}

/// The steps between fork and exec, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    /// The warden makes ready and forks (0), or is told to stop before exec (1).
    Fork = 1,
    /// A session of its own.
    Session,
    /// Into cgroup `which`.
    Cgroup,
    /// Standard input, output and error.
    Streams,
    /// Ulimit `which`.
    Ulimit,
    /// User and groups.
    User,
    /// The working directory.
    Enter,
    /// To die with the warden.
    Bind,
    /// Becoming the program.
    Exec,
}

impl Step {
    const ALL: [Self; 9] = [
        Self::Fork,
        Self::Session,
        Self::Cgroup,
        Self::Streams,
        Self::Ulimit,
        Self::User,
        Self::Enter,
        Self::Bind,
        Self::Exec,
    ];
}

/// Bytes of any message.
pub(crate) const MESSAGE: usize = 13;

impl Failure {
    pub(crate) fn encode(self) -> [u8; MESSAGE] {
        message(b'F', self.errno, u64::from(self.step as u8) << 8 | u64::from(self.which))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        match Report::decode(bytes)? {
            Report::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

impl Report {
    pub(crate) fn encode(self) -> [u8; MESSAGE] {
        match self {
            Self::Started { pid, at } => message(b'S', pid, at),
            Self::Failed(failure) => failure.encode(),
            Self::Ended { status, out_of_memory } => message(b'E', status, out_of_memory.into()),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, small, large) = parts(bytes)?;
        match kind {
            b'S' => Some(Self::Started { pid: small, at: large }),
            b'F' => {
                let [step, which] = u16::try_from(large).ok()?.to_be_bytes();
                let step = Step::ALL.into_iter().find(|known| *known as u8 == step)?;
                Some(Self::Failed(Failure { step, which, errno: small }))
            }
            b'E' => Some(Self::Ended { status: small, out_of_memory: large != 0 }),
            _ => None,
        }
    }
}

impl Order {
    pub(crate) fn encode(self) -> [u8; MESSAGE] {
        match self {
            Self::Signal(signal) => message(b's', signal, 0),
            Self::Kill => message(b'k', 0, 0),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        match parts(bytes)? {
            (b's', signal, _) => Some(Self::Signal(signal)),
            (b'k', ..) => Some(Self::Kill),
            _ => None,
        }
    }
}

fn message(kind: u8, small: i32, large: u64) -> [u8; MESSAGE] {
    let mut bytes = [kind; MESSAGE];
    bytes[1..5].copy_from_slice(&small.to_ne_bytes());
    bytes[5..].copy_from_slice(&large.to_ne_bytes());
    bytes
}

fn parts(bytes: &[u8]) -> Option<(u8, i32, u64)> {
    if bytes.len() != MESSAGE {
        return None;
    }
    Some((
        bytes[0],
        i32::from_ne_bytes(bytes[1..5].try_into().ok()?),
        u64::from_ne_bytes(bytes[5..].try_into().ok()?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_as_written() {
        let failures = Step::ALL.map(|step| Report::Failed(Failure { step, which: 3, errno: 2 }));
        let others = [
            Report::Started { pid: 77, at: u64::MAX },
            Report::Ended { status: -1, out_of_memory: true },
            Report::Ended { status: 256, out_of_memory: false },
        ];
        for report in failures.into_iter().chain(others) {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        for order in [Order::Signal(15), Order::Kill] {
            assert_eq!(Order::decode(&order.encode()), Some(order));
        }
        assert_eq!(Report::decode(b"S"), None);
    }
}
