//! What the node asks of its keeper.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use manifest::spec::InstanceId;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use super::engine::Keeper;
use super::instance::{Instance, Phase};
use super::launch;
use super::output::{LastLines, Output};
use crate::cgroup::Controller;
use crate::driver::{Launch, StartError};
use crate::logs::Stream;
use crate::procfs;
use crate::sandbox::warden;
use crate::wire::{PROTOCOL, Refusal, ToKeeper, ToNode, WireExit, WireLaunch, WireStartError, WireUsage};

impl Keeper {
    /// Why a new connection is not served, if so.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        if self.ending {
            return Some(Refusal::Ending);
        }
        self.node.as_ref().map(|link| Refusal::Busy { pid: link.pid.as_raw_nonzero().get() })
    }

    /// Serves what the node has asked so far.
    pub(super) fn serve_requests(&mut self) {
        loop {
            let Some(link) = &mut self.node else { return };
            match link.request() {
                Ok(Some(request)) => self.serve_request(request),
                Ok(None) => return,
                Err(_) => return self.node_gone(), // it does not speak our language
            }
        }
    }

    fn serve_request(&mut self, request: ToKeeper) {
        let Some(link) = &mut self.node else { return };
        if !link.greeted && !matches!(request, ToKeeper::Hello { .. }) {
            return self.node_gone();
        }
        match request {
            ToKeeper::Hello { protocol, detached } => {
                let pid = rustix::process::getpid().as_raw_nonzero().get();
                if protocol != PROTOCOL {
                    let refusal = Refusal::Protocol { keeper: PROTOCOL, pid };
                    link.tell(&ToNode::Refused { refusal });
                    link.flush();
                    return self.node_gone();
                }
                link.greeted = true;
                link.tell(&ToNode::Welcome { pid });
                self.detached = detached;
            }
            ToKeeper::Start { seq, launch } => {
                link.telling = true;
                self.serve_start(seq, *launch);
            }
            ToKeeper::Stop { seq, id, signal, grace_us } => {
                link.telling = true;
                self.serve_stop(seq, &id, signal, Duration::from_micros(grace_us));
            }
            ToKeeper::Recover { seq } => {
                link.telling = true;
                self.serve_recover(seq);
            }
            ToKeeper::Usage { seq } => {
                let list = self.usage();
                self.tell(&ToNode::Usage { seq, list });
            }
            ToKeeper::Ack { id } => self.instances.retain(|_, instance| {
                instance.is_living() || !instance.told || instance.id().to_string() != id
            }),
        }
    }

    fn serve_start(&mut self, seq: u64, launch: WireLaunch) {
        let Some(launch) = launch.into_domain() else {
            let why = "the request makes no sense".to_owned();
            return self.tell(&ToNode::NotStarted { seq, error: WireStartError::DriverGone { why } });
        };
        if let Some(instance) = self.instances.values_mut().find(|instance| *instance.id() == launch.id) {
            match instance.started {
                None => instance.starters.push(seq),
                Some(started) => {
                    let (pid, at) = (started.pid, started.at.as_micros());
                    self.tell(&ToNode::Started { seq, pid, at });
                }
            }
            return;
        }
        if let Err(error) = self.start(seq, launch) {
            self.tell(&ToNode::NotStarted { seq, error: WireStartError::from_domain(error) });
        }
    }

    fn start(&mut self, seq: u64, launch: Launch) -> Result<(), StartError> {
        if self.ending {
            let why = "the keeper is ending".to_owned();
            return Err(StartError::DriverGone { id: launch.id, why });
        }
        if let Some(holder) = self.holder_of_slot(&launch.id) {
            return Err(StartError::SlotTaken { id: launch.id, holder });
        }
        let system = |step: &str, errno: rustix::io::Errno| StartError::Setup {
            id: launch.id.clone(),
            step: step.to_owned(),
            why: std::io::Error::from(errno).to_string(),
        };
        let pipes = (output_pipe(), output_pipe());
        let (out, err) = (
            pipes.0.map_err(|errno| system("make a pipe for its output", errno))?,
            pipes.1.map_err(|errno| system("make a pipe for its output", errno))?,
        );
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|errno| system("make a socket for its warden", errno))?;
        let name = launch.id.name();
        let mut plan = launch::prepare(&launch, &self.home.digest, [out.1, err.1], self.nofile)?;
        let (group, missing) = self.cgroups.make(&format!("{name}@{}", launch.id.run), &launch.limits);
        plan.group = group;
        let null = std::os::fd::AsFd::as_fd(&self.home.null);
        let lock = std::os::fd::AsFd::as_fd(&self.home.lock);
        let warden = match warden::spawn(&plan, &theirs, lock, null) {
            Ok(warden) => warden,
            Err(error) => {
                plan.group.remove(Duration::ZERO);
                let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
                return Err(system("start a process for it", errno));
            }
        };
        if !missing.is_empty() {
            self.say_limits_are_missing(&missing);
        }
        let instance = Instance {
            name,
            phase: Phase::Starting,
            warden: Some(warden),
            control: Some(ours),
            group: plan.group,
            outputs: [Some(Output::new(out.0, Stream::Out)), Some(Output::new(err.0, Stream::Err))],
            last_lines: LastLines::default(),
            started: None,
            starters: vec![seq],
            stoppers: Vec::new(),
            stopping: None,
            told: false,
            launch,
        };
        if instance.is_logged() {
            self.scribe.open(&instance.name, instance.launch.logging);
        }
        let number = self.next_number;
        self.next_number += 1;
        self.instances.insert(number, instance);
        self.watch_instance(number);
        Ok(())
    }

    fn holder_of_slot(&self, wanted: &InstanceId) -> Option<InstanceId> {
        let same_slot = |id: &InstanceId| id.slot == wanted.slot && id.service == wanted.service;
        let mut living = self.instances.values().filter(|instance| instance.is_living());
        living.find(|instance| same_slot(instance.id())).map(|instance| instance.id().clone())
    }

    fn say_limits_are_missing(&mut self, missing: &[Controller]) {
        let names: Vec<&str> = missing.iter().map(|controller| controller.name()).collect();
        let message = format!(
            "limits of {} are not enforced: this machine does not let Atoll make control groups for them",
            names.join(", ")
        );
        self.notice("A0505", message, "run as root, or in a systemd unit with `Delegate=yes`");
    }

    fn serve_stop(&mut self, seq: u64, id: &str, signal: i32, grace: Duration) {
        let living = self.instances.values_mut().find(|instance| instance.id().to_string() == id);
        match living {
            Some(instance) if instance.is_living() || !instance.told => {
                instance.stoppers.push(seq);
                if instance.is_living() {
                    instance.stop(signal, grace, Instant::now());
                }
            }
            _ => self.tell(&ToNode::Stopped { seq }),
        }
    }

    fn serve_recover(&mut self, seq: u64) {
        let mut found = Vec::new();
        for instance in self.instances.values_mut() {
            let Some(started) = instance.started else { continue };
            let exit = match &instance.phase {
                Phase::Ended { exit, .. } => {
                    instance.told = true;
                    Some(WireExit::from_domain(exit))
                }
                _ => None,
            };
            found.push(ToNode::Found {
                seq,
                launch: Box::new(WireLaunch::from_domain(instance.launch.clone())),
                pid: started.pid,
                at: started.at.as_micros(),
                exit,
                asked: instance.stopping.is_some(),
            });
        }
        for message in found {
            self.tell(&message);
        }
        self.tell(&ToNode::Recovered { seq });
    }

    fn usage(&self) -> Vec<WireUsage> {
        let living = self.instances.values().filter(|instance| instance.is_living());
        living
            .map(|instance| {
                let processes = instance.group.processes();
                let cpu = instance.group.cpu();
                let (cpu, memory, count) = match (cpu, processes) {
                    (Some(cpu), Some(pids)) => {
                        let memory = instance.group.memory().unwrap_or_else(|| procfs::memory_of(&pids));
                        (cpu, memory, pids.len())
                    }
                    _ => {
                        let tree = instance.warden.map(procfs::usage_below).unwrap_or_default();
                        let memory = instance.group.memory().unwrap_or(tree.memory);
                        (tree.cpu, memory, tree.processes as usize)
                    }
                };
                WireUsage {
                    id: instance.id().to_string(),
                    cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
                    memory,
                    processes: u32::try_from(count).unwrap_or(u32::MAX),
                }
            })
            .collect()
    }
}

/// A pipe whose reading end does not block; the writing end does, as programs expect.
fn output_pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&reads, true)?;
    Ok((reads, writes))
}
