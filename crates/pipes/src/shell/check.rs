//! Which settings a queue can have.

use super::inner::Registry;
use crate::error::BadSettings;
use crate::name::QueueName;
use crate::queue::settings::{DeadLettersFrom, Settings};

/// Bytes that a queue takes in the registry, about.
pub(super) fn entry_bytes(settings: &Settings) -> usize {
    let kept: usize = settings.kept.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
    1024 + settings.policy.as_ref().map_or(0, String::len) + kept
}

/// Whether a queue can have these settings, beside the queues that there are.
pub(super) fn settings(
    name: &QueueName,
    settings: &Settings,
    registry: &Registry,
) -> Result<(), BadSettings> {
    let bounds = [
        ("visibility_seconds", settings.visibility_seconds, 0, 43_200),
        ("delay_seconds", settings.delay_seconds, 0, 900),
        ("retention_seconds", settings.retention_seconds, 60, 1_209_600),
        ("message_bytes", settings.message_bytes, 1024, 1024 * 1024),
        ("wait_seconds", settings.wait_seconds, 0, 20),
        ("dead_letter.after", settings.dead_letter.as_ref().map_or(1, |dead| dead.after), 1, 1000),
    ];
    for (what, value, from, to) in bounds {
        if !(from..=to).contains(&value) {
            return Err(BadSettings::OutOfRange {
                what,
                value: value.into(),
                from: from.into(),
                to: to.into(),
            });
        }
    }
    if let DeadLettersFrom::These(sources) = &settings.dead_letters_from
        && !(1..=10).contains(&sources.len())
    {
        let (what, value) = ("dead_letters_from", sources.len() as u64);
        return Err(BadSettings::OutOfRange { what, value, from: 1, to: 10 });
    }
    // Queues of our own are named by us.
    if !name.is_internal() && name.is_fifo() != settings.fifo.is_some() {
        return Err(BadSettings::Order);
    }
    let existing = registry.by_name.get(name).map(|shard| shard.settings());
    if existing.is_some_and(|existing| existing.fifo.is_some() != settings.fifo.is_some()) {
        return Err(BadSettings::Order);
    }
    let Some(dead_letter) = &settings.dead_letter else { return Ok(()) };
    let target = &dead_letter.target;
    if target == name {
        return Err(BadSettings::OwnDeadLetterQueue);
    }
    let Some(shard) = registry.by_name.get(target) else {
        return Err(BadSettings::NoDeadLetterQueue(target.clone()));
    };
    let theirs = shard.settings();
    if theirs.fifo.is_some() != settings.fifo.is_some() {
        return Err(BadSettings::DeadLetterOrder(target.clone()));
    }
    let allowed = match &theirs.dead_letters_from {
        DeadLettersFrom::All => true,
        DeadLettersFrom::Nobody => false,
        DeadLettersFrom::These(sources) => sources.contains(name),
    };
    if allowed { Ok(()) } else { Err(BadSettings::DeadLettersRefused(target.clone())) }
}

/// The first field in which two settings differ.
pub(super) fn difference(one: &Settings, other: &Settings) -> Option<&'static str> {
    let Settings {
        visibility_seconds,
        delay_seconds,
        retention_seconds,
        message_bytes,
        wait_seconds,
        fifo,
        dead_letter,
        dead_letters_from,
        policy,
        kept,
    } = one;
    let same = [
        ("visibility_seconds", *visibility_seconds == other.visibility_seconds),
        ("delay_seconds", *delay_seconds == other.delay_seconds),
        ("retention_seconds", *retention_seconds == other.retention_seconds),
        ("message_bytes", *message_bytes == other.message_bytes),
        ("wait_seconds", *wait_seconds == other.wait_seconds),
        ("fifo", *fifo == other.fifo),
        ("dead_letter", *dead_letter == other.dead_letter),
        ("dead_letters_from", *dead_letters_from == other.dead_letters_from),
        ("policy", *policy == other.policy),
        ("kept", *kept == other.kept),
    ];
    same.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
}
