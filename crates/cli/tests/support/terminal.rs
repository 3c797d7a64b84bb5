//! A terminal to run a command in.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::eventually;

/// The terminal, seen from the person in front of it.
pub(crate) struct Terminal {
    seen: Arc<Mutex<String>>,
    slave: File,
}

impl Terminal {
    /// A terminal of 80 columns and 24 rows.
    pub(crate) fn new() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let no_controlling_terminal = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(no_controlling_terminal)
            .open(name.to_str().unwrap())
            .unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&seen);
        let mut master = File::from(master);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = master.read(&mut bytes) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { seen, slave }
    }

    /// Gives the command this terminal.
    pub(crate) fn attach(&self, command: &mut Command) {
        command.env("TERM", "xterm-256color");
        command.stdin(self.slave.try_clone().unwrap());
        command.stdout(self.slave.try_clone().unwrap()).stderr(self.slave.try_clone().unwrap());
    }

    /// Everything that was written, escapes included.
    pub(crate) fn seen(&self) -> String {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until this text was written.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        eventually(text, || self.seen().contains(text).then_some(()));
    }
}
