//! Names of what runs for a service.

use std::fmt;
use std::str::FromStr;

use super::ServiceName;

/// One run of one thing that belongs to a service. Two runs of the same replica differ in `run`; the
/// platform never lets both live at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The service.
    pub service: ServiceName,
    /// Which part of it.
    pub slot: Slot,
    /// Counts up with every start of this slot, from 1.
    pub run: u32,
}

/// A place in a service that at most one process tree fills at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// Replica number `n`, from 1.
    Replica(u32),
    /// Its `prepare` command.
    Prepare,
    /// A health check by command of replica `n`.
    Check(u32),
}

impl InstanceId {
    /// What a [`Self::name`] names.
    pub fn read_name(name: &str) -> Option<(ServiceName, Slot)> {
        if let Some(service) = name.strip_suffix(".prepare") {
            return Some((service.parse().ok()?, Slot::Prepare));
        }
        let replica = name.strip_suffix(".check");
        let (service, number) = replica.unwrap_or(name).rsplit_once('-')?;
        let number = number.parse().ok()?;
        let slot = if replica.is_some() { Slot::Check(number) } else { Slot::Replica(number) };
        Some((service.parse().ok()?, slot))
    }

    /// The name without the run, as people see it and as log files are called: `catalog-2`,
    /// `catalog.prepare`, `catalog-2.check`. No two slots of any two services share one.
    pub fn name(&self) -> String {
        match self.slot {
            Slot::Replica(n) => format!("{}-{n}", self.service),
            Slot::Prepare => format!("{}.prepare", self.service),
            Slot::Check(n) => format!("{}-{n}.check", self.service),
        }
    }
}

impl fmt::Display for InstanceId {
    /// The name with the run: `catalog-2#7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name(), self.run)
    }
}

/// Why a text is not an instance id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an instance such as `catalog-2#7`")]
pub struct BadInstanceId(String);

impl FromStr for InstanceId {
    type Err = BadInstanceId;

    fn from_str(text: &str) -> Result<Self, BadInstanceId> {
        let read = || {
            let (name, run) = text.rsplit_once('#')?;
            let (service, slot) = Self::read_name(name)?;
            Some(Self { service, slot, run: run.parse().ok()? })
        };
        read().ok_or_else(|| BadInstanceId(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_reads_back_as_written() {
        for text in ["catalog-2#7", "a-1-1#1", "user.prepare#3", "user-12.check#4"] {
            assert_eq!(text.parse::<InstanceId>().unwrap().to_string(), text);
        }
        for text in ["", "catalog", "catalog-2", "catalog#1", "-1#1", "a-x#1", "a-1#x"] {
            assert!(text.parse::<InstanceId>().is_err(), "{text}");
        }
    }
}
