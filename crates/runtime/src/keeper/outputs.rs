//! From the pipes of instances to the scribe.

use std::time::Instant;

use rustix::event::epoll;
use rustix::io::{Errno, read};

use super::engine::{Keeper, Source, TURN, wall};
use super::scribe::Scribe;

/// Bytes that may still be in a pipe of an instance that has ended: more than any pipe holds.
const LEFT_IN_PIPE: usize = 2 * 1024 * 1024;

impl Keeper {
    pub(super) fn read_output(&mut self, number: u64, which: usize) {
        let Some(instance) = self.instances.get_mut(&number) else { return };
        let logged = instance.is_logged();
        let Some(output) = &mut instance.outputs[which] else { return };
        if self.scribe.is_paused() && logged {
            let _ = epoll::delete(&self.epoll, &output.pipe);
            self.parked.push((number, which));
            return;
        }
        let bytes = match read(&output.pipe, &mut self.buffer) {
            Ok(0) => return self.close_output(number, which),
            Ok(bytes) => bytes,
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => return self.close_output(number, which),
        };
        let at = wall();
        self.records.clear();
        output.take(&self.buffer[..bytes], at, &mut instance.last_lines, &mut self.records);
        if instance.is_logged() {
            self.scribe.write(&instance.name, at, &self.records);
            self.scribe.flush(Instant::now(), at);
        }
    }

    fn close_output(&mut self, number: u64, which: usize) {
        let Some(instance) = self.instances.get_mut(&number) else { return };
        let Some(mut output) = instance.outputs[which].take() else { return };
        let _ = epoll::delete(&self.epoll, &output.pipe);
        let at = wall();
        self.records.clear();
        output.finish(at, &mut instance.last_lines, &mut self.records);
        if instance.is_logged() {
            self.scribe.write(&instance.name, at, &self.records);
        }
    }

    /// Reads what an instance that has ended left in its pipes, and closes them. Somebody outside of its
    /// tree may hold them open (a descriptor can be given away): that does not keep us.
    pub(super) fn drain_outputs(&mut self, number: u64) {
        for which in [0, 1] {
            for _ in 0..LEFT_IN_PIPE / TURN {
                let Some(instance) = self.instances.get_mut(&number) else { return };
                let Some(output) = &mut instance.outputs[which] else { break };
                let Ok(bytes @ 1..) = read(&output.pipe, &mut self.buffer) else { break };
                let at = wall();
                self.records.clear();
                output.take(&self.buffer[..bytes], at, &mut instance.last_lines, &mut self.records);
                if instance.is_logged() {
                    self.scribe.write(&instance.name, at, &self.records);
                }
            }
            self.close_output(number, which);
        }
        self.parked.retain(|(parked, _)| *parked != number);
        if let Some(instance) = self.instances.get(&number)
            && instance.is_logged()
        {
            self.scribe.close(&instance.name);
        }
    }

    pub(super) fn read_scribe(&mut self) {
        for trouble in self.scribe.troubles() {
            let message =
                format!("cannot write the log of {trouble}; lines are dropped until it works again");
            self.notice("A0507", message, "free space under the state directory");
        }
    }

    /// The scribe was killed: another takes over. What was on its way to the old one is lost.
    pub(super) fn new_scribe(&mut self) {
        let Ok(scribe) = Scribe::spawn(&self.home.logs) else { return };
        let old = std::mem::replace(&mut self.scribe, scribe);
        self.unwatch(&old.socket);
        let _ = self.watch(&self.scribe.socket, Source::Scribe, epoll::EventFlags::IN);
        for instance in self.instances.values().filter(|i| i.is_living() && i.is_logged()) {
            self.scribe.open(&instance.name, instance.launch.logging);
        }
    }
}
