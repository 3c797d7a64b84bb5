//! Looks at the machine: what Atoll can use on it and what stands in its way. Each check reads, none
//! changes anything (the disk check writes and removes one small file).

mod cgroups;
mod disk;
mod kernel;
mod ports;

use std::path::Path;

use serde::Serialize;

/// How one check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// As it should be.
    Good,
    /// Atoll works; something about it is worse than it could be.
    Worse,
    /// Atoll cannot work like this.
    Broken,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What: `kernel`, `port 8080`.
    pub(crate) name: String,
    /// How it came out.
    pub(crate) outcome: Outcome,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Check {
    fn new(name: impl Into<String>, outcome: Outcome, found: impl Into<String>) -> Self {
        Self { name: name.into(), outcome, found: found.into(), hint: None }
    }

    fn good(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(name, Outcome::Good, found)
    }

    fn worse(name: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::new(name, Outcome::Worse, found) }
    }

    fn broken(name: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::new(name, Outcome::Broken, found) }
    }
}

/// Every check, in the order of importance. `state_parent` is a directory on the disk where state will
/// live.
pub(crate) fn examine(state_parent: &Path) -> Vec<Check> {
    let mut checks = vec![kernel::version(), kernel::pidfd(), kernel::subreaper(), kernel::open_files()];
    checks.extend(cgroups::check());
    checks.push(kernel::user_namespaces());
    checks.extend(ports::check());
    checks.extend(disk::check(state_parent));
    checks.push(kernel::inotify());
    checks
}
