//! The node at the other end of the socket.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::{Errno, read};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SendFlags, send};
use rustix::process::{Pid, PidfdFlags, geteuid, pidfd_open};

use crate::wire::{self, ToKeeper, ToNode};

/// Bytes waiting to be sent from which on no further request is read.
const BUSY_ABOVE: usize = 1024 * 1024;

/// A connected node.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: UnixStream,
    /// Turns readable when the node's process ends, even if somebody else holds the socket open.
    pub(super) process: Option<OwnedFd>,
    pub(super) pid: Pid,
    /// Whether it has said hello.
    pub(super) greeted: bool,
    /// Whether ends are told as they happen: from the first request on that shows that it knows what was
    /// there before.
    pub(super) telling: bool,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Link {
    /// Takes a connection. Fails for a user who is neither ours nor root: the directory should have kept
    /// them out.
    pub(super) fn accept(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let peer = socket_peercred(&stream)?;
        if !peer.uid.is_root() && peer.uid != geteuid() {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        let process = pidfd_open(peer.pid, PidfdFlags::empty()).ok();
        Ok(Self {
            stream,
            process,
            pid: peer.pid,
            greeted: false,
            telling: false,
            input: Vec::new(),
            output: Vec::new(),
        })
    }

    /// Reads what has come. `false`: the node is gone.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> bool {
        match read(self.stream.as_fd(), &mut *buffer) {
            Ok(0) => false,
            Ok(bytes) => {
                self.input.extend_from_slice(&buffer[..bytes]);
                true
            }
            Err(errno) => errno == Errno::AGAIN || errno == Errno::INTR,
        }
    }

    /// The next request, unless the node does not take its answers.
    pub(super) fn request(&mut self) -> io::Result<Option<ToKeeper>> {
        if self.is_full() {
            return Ok(None);
        }
        let request = wire::decode(&mut self.input);
        if self.input.is_empty() {
            self.input.shrink_to(4096);
        }
        request
    }

    /// Queues a message. One that cannot be encoded is no message (and none of ours is such).
    pub(super) fn tell(&mut self, message: &ToNode) {
        let _ = wire::encode(message, &mut self.output);
    }

    /// Whether too much waits to be sent.
    pub(super) fn is_full(&self) -> bool {
        self.output.len() > BUSY_ABOVE
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Sends what the socket takes. `false`: the node is gone.
    pub(super) fn flush(&mut self) -> bool {
        let mut sent = 0;
        let mut alive = true;
        while sent < self.output.len() {
            match send(&self.stream, &self.output[sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(bytes) => sent += bytes,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    alive = errno == Errno::AGAIN;
                    break;
                }
            }
        }
        self.output.drain(..sent);
        if self.output.is_empty() {
            self.output.shrink_to(4096);
        }
        alive
    }
}
