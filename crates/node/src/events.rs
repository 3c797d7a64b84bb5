//! What happened: the last events, and live ones for whoever follows.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use api::{Event, Level};
use control::Happening;
use kit::{Clock, SystemClock};
use tokio::sync::broadcast;

/// Events that are kept.
const KEPT: usize = 1000;

/// Events that may wait for a follower; a slower one is told how many it missed.
const BACKLOG: usize = 1024;

/// The last events. Shared by reference.
pub(crate) struct Events {
    clock: SystemClock,
    inner: Mutex<Inner>,
    live: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Inner {
    last: u64,
    kept: VecDeque<Event>,
}

impl Events {
    pub(crate) fn new(clock: SystemClock) -> Self {
        Self { clock, inner: Mutex::default(), live: broadcast::Sender::new(BACKLOG) }
    }

    /// Adds an event.
    pub(crate) fn add(&self, happening: Happening) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.last += 1;
        let event = Event {
            seq: inner.last,
            at: self.clock.now(),
            level: match happening.level {
                control::Level::Info => Level::Info,
                control::Level::Warning => Level::Warning,
                control::Level::Error => Level::Error,
            },
            kind: happening.kind.to_owned(),
            service: happening.service.map(|name| name.to_string()),
            instance: happening.instance,
            message: happening.message,
            code: happening.code.map(str::to_owned),
            hint: happening.hint,
        };
        if inner.kept.len() == KEPT {
            inner.kept.pop_front();
        }
        inner.kept.push_back(event.clone());
        let _ = self.live.send(event); // nobody follows
    }

    /// What a follower is told who was so slow that `count` events have passed it by.
    pub(crate) fn missed(&self, count: u64) -> Event {
        Event {
            seq: 0,
            at: self.clock.now(),
            level: Level::Warning,
            kind: "events.missed".to_owned(),
            service: None,
            instance: None,
            message: format!("{count} events came faster than they were read"),
            code: None,
            hint: None,
        }
    }

    /// Puts what happened in an earlier node before what has happened in this one.
    pub(crate) fn continue_after(&self, earlier: Vec<Event>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let last = earlier.last().map_or(0, |event| event.seq);
        let own = std::mem::replace(&mut inner.kept, earlier.into());
        inner.kept.extend(own.into_iter().map(|event| Event { seq: event.seq + last, ..event }));
        inner.last += last;
        while inner.kept.len() > KEPT {
            inner.kept.pop_front();
        }
    }

    /// Those kept after `since`, and live ones from exactly there on.
    pub(crate) fn since(&self, since: u64) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = inner.kept.iter().filter(|event| event.seq > since).cloned().collect();
        (kept, self.live.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happening(message: &str) -> Happening {
        Happening {
            level: control::Level::Info,
            kind: "test",
            service: None,
            instance: None,
            message: message.into(),
            code: None,
            hint: None,
        }
    }

    #[tokio::test]
    async fn a_follower_misses_nothing_between_what_is_kept_and_what_is_live() {
        let events = Events::new(SystemClock::new());
        events.add(happening("one"));
        events.add(happening("two"));
        let (kept, mut live) = events.since(1);
        events.add(happening("three"));
        assert_eq!(kept.iter().map(|e| e.message.as_str()).collect::<Vec<_>>(), ["two"]);
        assert_eq!(live.recv().await.unwrap().message, "three");
    }

    #[test]
    fn the_events_of_an_earlier_node_come_before_those_of_this_one() {
        let (earlier, events) = (Events::new(SystemClock::new()), Events::new(SystemClock::new()));
        earlier.add(happening("one"));
        earlier.add(happening("two"));
        events.add(happening("three"));
        events.continue_after(earlier.since(0).0);
        events.add(happening("four"));
        let (kept, _) = events.since(0);
        let told: Vec<_> = kept.iter().map(|event| (event.seq, event.message.as_str())).collect();
        assert_eq!(told, [(1, "one"), (2, "two"), (3, "three"), (4, "four")]);
    }

    #[test]
    fn only_the_last_thousand_are_kept() {
        let events = Events::new(SystemClock::new());
        for n in 0..KEPT + 5 {
            events.add(happening(&n.to_string()));
        }
        let (kept, _) = events.since(0);
        assert_eq!((kept.len(), kept[0].seq), (KEPT, 6));
    }
}
