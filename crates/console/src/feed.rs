//! What changes by itself: one look at the status for all who watch, and a short memory of what is used. Runs only while
//! somebody watches.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::{Client, Status, Usage};
use kit::{Clock, OnError, Tasks, Timestamp};
use tokio::sync::watch;

use crate::desk::Note;

/// A status that is younger is as good as a new one.
const YOUNG: Duration = Duration::from_millis(200);
/// Between two looks at what is used.
const PERIOD: Duration = Duration::from_secs(2);
/// After the node was not there.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks that are kept: five minutes.
const KEPT: usize = 150;

/// Wakes pages when there is something new. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Feed {
    client: Client,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    beat: Arc<watch::Sender<u64>>,
    history: Arc<Mutex<History>>,
    latest: Latest,
    runs: Arc<Mutex<bool>>,
}

type Latest = Arc<Mutex<Option<(Timestamp, Arc<Status>)>>>;

impl Feed {
    pub(crate) fn new(client: Client, clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        let beat = Arc::new(watch::Sender::new(0));
        Self {
            client,
            clock,
            tasks,
            beat,
            history: Arc::default(),
            latest: Arc::default(),
            runs: Arc::default(),
        }
    }

    /// The status: one that was just seen, or a new one.
    pub(crate) async fn status(&self) -> Result<Arc<Status>, Note> {
        if let Some((at, status)) = &*self.latest.lock().unwrap_or_else(PoisonError::into_inner)
            && self.clock.now().since(*at) < YOUNG
        {
            return Ok(status.clone());
        }
        let status = Arc::new(self.client.status().await?);
        self.keep(status.clone());
        Ok(status)
    }

    fn keep(&self, status: Arc<Status>) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.clock.now(), status));
    }

    /// Changes whenever something does. Everybody shares one connection to the node.
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        let receiver = self.beat.subscribe();
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if !*runs {
            *runs = true;
            let feed = self.clone();
            self.tasks.spawn("console.feed", OnError::Log, |stop| async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = feed.run() => {}
                }
                Ok::<_, String>(())
            });
        }
        receiver
    }

    /// What is used, as one more look at it. Pages that nobody watches look for themselves.
    pub(crate) fn look(&self, usage: &Usage) -> Rates {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.add(self.clock.now(), usage);
        history.rates()
    }

    async fn run(&self) {
        loop {
            let mut lines = self.client.watch_status().await.ok();
            let mut every = tokio::time::interval(PERIOD);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while let Some(status) = &mut lines {
                tokio::select! {
                    line = status.next() => match line {
                        Some(Ok(status)) => self.keep(Arc::new(status)),
                        _ => lines = None,
                    },
                    _ = every.tick() => {
                        if let Ok(usage) = self.client.usage().await {
                            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
                            history.add(self.clock.now(), &usage);
                        }
                    }
                }
                self.beat.send_modify(|beat| *beat += 1);
                if self.has_ended() {
                    return;
                }
            }
            self.beat.send_modify(|beat| *beat += 1);
            tokio::time::sleep(PAUSE).await;
            if self.has_ended() {
                return;
            }
        }
    }

    /// Whether nobody watches any more. Under the lock: whoever comes next starts anew.
    fn has_ended(&self) -> bool {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if self.beat.receiver_count() == 0 {
            *runs = false;
        }
        !*runs
    }
}

/// What was used a while ago and now.
#[derive(Default)]
struct History {
    node: VecDeque<Node>,
    before: HashMap<String, Look>,
    last: HashMap<String, Look>,
}

#[derive(Clone, Copy)]
struct Node {
    at: Timestamp,
    cpu_us: u64,
    memory: u64,
    requests: u64,
}

#[derive(Clone, Copy)]
struct Look {
    at: Timestamp,
    cpu_us: u64,
    requests: u64,
}

/// What happens in a second, from two looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    /// Requests a second through the node: when, and how many.
    pub(crate) requests: Vec<(Timestamp, f64)>,
    /// Memory of the node in bytes.
    pub(crate) memory: Vec<(Timestamp, f64)>,
    /// CPU of the node, in cores.
    pub(crate) cpu: Vec<(Timestamp, f64)>,
    /// Requests a second and cores, by instance.
    pub(crate) instances: HashMap<String, (f64, f64)>,
}

impl History {
    fn add(&mut self, at: Timestamp, usage: &Usage) {
        // Two looks within a moment say nothing about a second.
        if self.node.back().is_some_and(|last| at.since(last.at) < PERIOD / 2) {
            return;
        }
        if self.node.len() == KEPT {
            self.node.pop_front();
        }
        let api::NodeUsage { cpu_us, memory, requests } = usage.node;
        self.node.push_back(Node { at, cpu_us, memory, requests });
        let looks = usage.instances.iter().map(|instance| {
            let look = Look { at, cpu_us: instance.cpu_us, requests: instance.requests };
            (instance.name.clone(), look)
        });
        self.before = std::mem::replace(&mut self.last, looks.collect());
    }

    fn rates(&self) -> Rates {
        let mut rates = Rates::default();
        for (before, now) in self.node.iter().zip(self.node.iter().skip(1)) {
            let seconds = now.at.since(before.at).as_secs_f64();
            // A gap is a time at which nobody watched; a counter that fell is that of another process.
            if seconds > 0.0 && now.requests >= before.requests {
                rates.requests.push((now.at, (now.requests - before.requests) as f64 / seconds));
                let cpu = now.cpu_us.saturating_sub(before.cpu_us) as f64 / 1e6 / seconds;
                rates.cpu.push((now.at, cpu));
            }
        }
        rates.memory = self.node.iter().map(|look| (look.at, look.memory as f64)).collect();
        for (name, now) in &self.last {
            let Some(before) = self.before.get(name) else { continue };
            let seconds = now.at.since(before.at).as_secs_f64();
            if seconds > 0.0 && now.requests >= before.requests && now.cpu_us >= before.cpu_us {
                let requests = (now.requests - before.requests) as f64 / seconds;
                let cores = (now.cpu_us - before.cpu_us) as f64 / 1e6 / seconds;
                rates.instances.insert(name.clone(), (requests, cores));
            }
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{InstanceUsage, NodeUsage};

    fn usage(requests: u64) -> Usage {
        let node = NodeUsage { cpu_us: requests * 1_000, memory: 1 << 20, requests };
        let instance = InstanceUsage {
            name: "a-1".into(),
            service: "a".into(),
            cpu_us: requests * 500,
            memory: 1,
            memory_limit: None,
            processes: 1,
            in_flight: 0,
            requests,
        };
        Usage { node, instances: vec![instance] }
    }

    #[test]
    fn two_looks_make_a_rate_and_a_counter_that_fell_makes_none() {
        let at = |s: u64| Timestamp::from_micros(s * 1_000_000);
        let mut history = History::default();
        history.add(at(10), &usage(100));
        history.add(at(12), &usage(140));
        let rates = history.rates();
        assert_eq!(rates.requests, [(at(12), 20.0)]);
        assert_eq!(rates.instances["a-1"], (20.0, 0.01));
        history.add(at(14), &usage(3));
        let rates = history.rates();
        assert_eq!(rates.requests.len(), 1);
        assert!(rates.instances.is_empty());
    }

    #[test]
    fn it_remembers_five_minutes() {
        let mut history = History::default();
        for second in 0..2_000 {
            history.add(Timestamp::from_micros(second * 2_000_000), &usage(second));
        }
        assert_eq!(history.node.len(), KEPT);
    }
}
