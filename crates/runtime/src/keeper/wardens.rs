//! What wardens tell, and what is done when one is killed.

use std::time::Duration;

use kit::Timestamp;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::process::{self, Pid, WaitOptions};

use super::engine::{Keeper, wall};
use super::instance::{Phase, exit_of};
use super::launch;
use crate::cgroup::Group;
use crate::driver::{Exit, StartError, Started};
use crate::sandbox::report::{MESSAGE, Report};
use crate::sandbox::tree;
use crate::wire::{ToNode, WireStartError};

/// How long the keeper itself tries to remove the cgroups of an instance.
const REMOVE_LIMIT: Duration = Duration::from_millis(5);

impl Keeper {
    pub(super) fn reap(&mut self) {
        while let Ok(Some((pid, _))) = process::wait(WaitOptions::NOHANG) {
            if pid == self.scribe.pid {
                self.new_scribe();
                continue;
            }
            let warden = self.instances.iter().find(|(_, instance)| instance.warden == Some(pid));
            let Some((&number, _)) = warden else { continue };
            self.read_control(number); // its last words
            if let Some(instance) = self.instances.get_mut(&number) {
                instance.warden = None;
            }
            self.warden_gone(number);
        }
    }

    pub(super) fn read_control(&mut self, number: u64) {
        loop {
            let Some(instance) = self.instances.get_mut(&number) else { return };
            let Some(control) = &instance.control else { return };
            let mut message = [0; MESSAGE];
            let report = match recv(control, &mut message, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return self.warden_gone(number),
                Ok((read, _)) => Report::decode(&message[..read]),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return,
                Err(_) => return self.warden_gone(number),
            };
            match report {
                Some(Report::Started { pid, at }) => {
                    let pid = u32::try_from(pid).unwrap_or_default();
                    let started = Started { pid, at: Timestamp::from_micros(at) };
                    instance.started = Some(started);
                    instance.phase = Phase::Running;
                    let starters = std::mem::take(&mut instance.starters);
                    for seq in starters {
                        self.tell(&ToNode::Started { seq, pid, at });
                    }
                }
                Some(Report::Failed(failure)) => {
                    let error = launch::explain(&instance.launch, failure);
                    return self.not_started(number, error);
                }
                Some(Report::Ended { status, out_of_memory }) => {
                    return self.ended(number, exit_of(status, out_of_memory));
                }
                None => {}
            }
        }
    }

    /// The warden ended without a last word: somebody killed it. Its main process died with it; what that
    /// had forked has become ours.
    fn warden_gone(&mut self, number: u64) {
        let Some(instance) = self.instances.get_mut(&number) else { return };
        if let Some(control) = instance.control.take() {
            let _ = epoll::delete(&self.epoll, control);
        }
        if matches!(instance.phase, Phase::Starting | Phase::Running) {
            instance.phase = Phase::Lost;
            instance.group.kill();
        }
    }

    /// Kills what killed wardens left to us. Whoever is our child and neither a warden nor the scribe is such.
    pub(super) fn hunt(&mut self) {
        let wardens = self.instances.values().filter_map(|instance| instance.warden);
        let spared: Vec<Pid> = wardens.chain([self.scribe.pid]).collect();
        let left = tree::kill_children(&spared);
        self.reap();
        let lost: Vec<u64> = (self.instances.iter())
            .filter(|(_, instance)| instance.phase == Phase::Lost)
            .map(|(number, _)| *number)
            .collect();
        for number in lost {
            let Some(instance) = self.instances.get(&number) else { continue };
            instance.group.kill();
            if left == 0 && instance.warden.is_none() && instance.group.is_empty() {
                instance.group.remove(REMOVE_LIMIT);
                self.ended(number, Exit::Unknown);
            }
        }
    }

    /// Nothing of it lives any more.
    fn ended(&mut self, number: u64, exit: Exit) {
        if let Some(instance) = self.instances.get(&number)
            && instance.started.is_none()
        {
            let (step, why) = ("start a process for it".to_owned(), "its warden was killed".to_owned());
            return self.not_started(number, StartError::Setup { id: instance.id().clone(), step, why });
        }
        self.drain_outputs(number);
        let Some(instance) = self.instances.get_mut(&number) else { return };
        if let Some(control) = instance.control.take() {
            let _ = epoll::delete(&self.epoll, control);
        }
        instance.phase = Phase::Ended { exit, at: wall() };
        instance.stopping = None;
        instance.group = Group::default();
        if self.node.is_none() && !instance.is_logged() {
            self.instances.remove(&number);
        }
        self.tell_ends();
    }

    /// Its program never ran.
    fn not_started(&mut self, number: u64, error: StartError) {
        self.drain_outputs(number);
        let Some(mut instance) = self.instances.remove(&number) else { return };
        if let Some(control) = instance.control.take() {
            self.unwatch(control);
        }
        let error = WireStartError::from_domain(error);
        for seq in instance.starters {
            self.tell(&ToNode::NotStarted { seq, error: error.clone() });
        }
        for seq in instance.stoppers {
            self.tell(&ToNode::Stopped { seq });
        }
    }
}
