//! A process of the comparison that ends with its value, however the measurement ends.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::machine;
use crate::go_on;

/// How long a process may take until it listens.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long a process may take to end when asked, before it is killed with all below it.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// A running process. Ended when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts a command on one core.
    pub(crate) fn start(name: &str, command: Command, core: usize) -> anyhow::Result<Self> {
        machine::on_core(core, || Self::start_anywhere(name, command))
    }

    /// Starts a command, in a process group of its own so that Ctrl-C reaches it through us alone.
    pub(crate) fn start_anywhere(name: &str, mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).process_group(0);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until somebody listens at `address`.
    pub(crate) fn wait_listening(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.wait_listening_within(address, START_PATIENCE)
    }

    /// The same, for one that takes its time.
    pub(crate) fn wait_listening_within(
        &mut self,
        address: SocketAddr,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let give_up = Instant::now() + patience;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at its start: {status}", self.name);
            }
            if Instant::now() > give_up {
                bail!("{} does not listen at {address} within {patience:?}", self.name);
            }
            go_on()?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let family = machine::descendants(self.pid()).unwrap_or_default();
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM); // gone already: so much the better
        let give_up = Instant::now() + END_PATIENCE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > give_up {
                eprintln!("xtask: {} does not end: killed", self.name);
                for pid in family.iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
                    let _ = kill_process(pid, Signal::KILL);
                }
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_with_its_value() {
        let mut command = Command::new("sleep");
        command.arg("100");
        let core = machine::Cores::of_this_machine().unwrap().load;
        let process = Process::start("sleep", command, core).unwrap();
        let pid = process.pid();
        assert!(machine::descendants(pid).is_ok());
        drop(process);
        assert!(machine::descendants(pid).is_err());
    }
}
