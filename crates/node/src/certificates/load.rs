//! One certificate of the gateway: where it comes from, what is in force, and what changed since.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use control::{Happening, Level};
use identity::DevelopmentAuthority;
use kit::Timestamp;
use manifest::spec::Certificate;
use proxy::tls::{CertifiedChain, Part};

use super::{LoadError, RENEW_AGAIN, happening, names_of, trouble};

/// Files with certificates or keys are not longer.
const FILE_MAX: u64 = 1024 * 1024;

/// How a file looked. Symbolic links are followed, so another target is another look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// How both files looked; of the development authority nothing is looked at.
type Stamps = [Option<Stamp>; 2];

/// One certificate, with what is in force of it.
#[derive(Clone)]
pub(super) struct Held {
    wanted: Certificate,
    /// In force; `None`: it could not be loaded yet.
    pub(super) chain: Option<CertifiedChain>,
    /// How the files looked before they were last read.
    stamps: Stamps,
    /// What was wrong with them then, until it was told.
    untold: Option<Happening>,
    /// When to ask the development authority for another.
    renew_at: Option<Timestamp>,
    /// What was last remarked of the certificate in force.
    remarked: Option<String>,
}

impl Held {
    /// Loads it for the first time. The fault, if there is one, is told by the caller.
    pub(super) fn load(wanted: Certificate, authority: &Path, now: Timestamp) -> (Self, Option<LoadError>) {
        let mut held =
            Self { wanted, chain: None, stamps: [None; 2], untold: None, renew_at: None, remarked: None };
        held.stamps = held.stamps_now();
        let error = held.fetch(authority, now).err();
        if error.is_some() && matches!(held.wanted, Certificate::Development { .. }) {
            held.renew_at = Some(now + RENEW_AGAIN);
        }
        (held, error)
    }

    fn stamps_now(&self) -> Stamps {
        match &self.wanted {
            Certificate::Files { cert, key } => [Stamp::of(cert), Stamp::of(key)],
            Certificate::Development { .. } => [None; 2],
        }
    }

    /// Reads the files, or asks the authority. Keeps what is in force when that fails.
    fn fetch(&mut self, authority: &Path, now: Timestamp) -> Result<(), LoadError> {
        let chain = match &self.wanted {
            Certificate::Files { cert, key } => from_files(cert, key)?,
            Certificate::Development { .. } => {
                let names = names_of(&self.wanted)?;
                let issued = DevelopmentAuthority::open(authority, now)?.issue(&names, now)?;
                self.renew_at = Some(issued.renew_at);
                from_pem(authority, authority, issued.chain.as_bytes(), issued.key.as_bytes())?
            }
        };
        self.chain = Some(chain);
        Ok(())
    }

    /// Looks whether there is something new. Says whether another chain is to be in force.
    ///
    /// Two files are seldom replaced at one moment, and a file is not always written at once: so a fault is
    /// told only when the files still look the same one look later.
    pub(super) fn look(&mut self, authority: &Path, now: Timestamp, news: &mut Vec<Happening>) -> bool {
        let stamps = self.stamps_now();
        let due = self.renew_at.is_some_and(|at| now >= at);
        let mut fresh = false;
        if stamps != self.stamps || due {
            self.stamps = stamps;
            self.untold = None;
            let before = self.chain.clone();
            match self.fetch(authority, now) {
                Ok(()) => fresh = !same(before.as_ref(), self.chain.as_ref()),
                Err(error) if due => {
                    self.renew_at = Some(now + RENEW_AGAIN);
                    news.push(trouble("tls.renewal_failed", &error));
                }
                Err(error) => self.untold = Some(trouble("tls.reload_failed", &error)),
            }
            if fresh {
                news.push(happening(Level::Info, "tls.reloaded", self.story()));
            }
        } else {
            news.extend(self.untold.take());
        }
        let remark = self.chain.as_ref().and_then(|chain| chain.remark(now));
        if remark != self.remarked {
            if let Some(remark) = &remark {
                let message = format!("the gateway's certificate {}: {remark}", self.title());
                news.push(Happening {
                    code: Some("A0642"),
                    ..happening(Level::Warning, "tls.certificate", message)
                });
            }
            self.remarked = remark;
        }
        fresh
    }

    fn title(&self) -> String {
        match &self.wanted {
            Certificate::Files { cert, .. } => format!("`{}`", cert.display()),
            Certificate::Development { names } => format!("for {}", names.join(", ")),
        }
    }

    fn story(&self) -> String {
        let until = self.chain.as_ref().map(|chain| chain.not_after().to_string());
        let until: String = until.unwrap_or_default().chars().take("2026-11-21".len()).collect();
        format!("the gateway has a new certificate {}, valid until {until}", self.title())
    }
}

fn same(one: Option<&CertifiedChain>, other: Option<&CertifiedChain>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn from_files(cert: &Path, key: &Path) -> Result<CertifiedChain, LoadError> {
    let chain = read(cert)?;
    let private = read(key)?;
    from_pem(cert, key, &chain, &private)
}

fn from_pem(cert: &Path, key: &Path, chain: &[u8], private: &[u8]) -> Result<CertifiedChain, LoadError> {
    CertifiedChain::from_pem(chain, private).map_err(|source| {
        let path = match source.part() {
            Part::Chain => cert,
            Part::Key => key,
        };
        LoadError::Unfit { path: path.to_owned(), source }
    })
}

/// Reads a file of a sane size. A pipe or a device would never end.
fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let all = || {
        let found = fs::metadata(path)?; // before it is opened: opening a pipe waits for its writer
        if !found.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has more than 1 MiB"));
        }
        Ok(bytes)
    };
    all().map_err(|source| LoadError::Read { path: path.to_owned(), source })
}
