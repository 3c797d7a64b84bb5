//! Standard output on a thread of its own, so that a reader that stalls (`| less`, a stopped terminal)
//! holds up neither signals nor the app.

use std::io::{self, Write};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

/// Pieces of text on their way to the terminal.
const QUEUE: usize = 64;

/// How long the last pieces may take on the way out.
const FLUSH: Duration = Duration::from_secs(2);

/// The way out.
pub(crate) struct Outbox {
    sender: mpsc::Sender<String>,
    writer: JoinHandle<()>,
}

/// Nobody reads any more: the pipe is closed or the terminal is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Outbox {
    /// Starts the writer.
    pub(crate) fn stdout() -> io::Result<Self> {
        let (sender, mut receiver) = mpsc::channel::<String>(QUEUE);
        let writer = std::thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            let mut out = io::stdout();
            while let Some(text) = receiver.blocking_recv() {
                if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                    return; // the receiver is dropped: the sender sees it
                }
            }
        })?;
        Ok(Self { sender, writer })
    }

    /// Waits until there is room and sends what `pending` holds then. Cancel safe: `pending` keeps its text
    /// until it is sent.
    pub(crate) async fn send(&self, pending: &mut String) -> Result<(), Closed> {
        let permit = self.sender.reserve().await.map_err(|_| Closed)?;
        permit.send(std::mem::take(pending));
        Ok(())
    }

    /// Writes what is left and waits for it, within a limit.
    pub(crate) fn finish(self, last: String) {
        let Self { sender, writer } = self;
        let _ = sender.try_send(last);
        drop(sender);
        let give_up = Instant::now() + FLUSH;
        while !writer.is_finished() && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
