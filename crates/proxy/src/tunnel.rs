//! After `101 Switching Protocols`: bytes both ways, until both sides have ended or neither says anything.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::Instant;

use crate::engine::{Duplex, Upgrade};
use crate::failure::Kind;
use crate::record::Recorder;

/// Bytes of each direction's buffer.
const BUFFER: usize = 8 * 1024;

/// Carries a tunnel to its end. The record and the place on the instance are held as long.
pub(crate) async fn run(client: Upgrade, upstream: Upgrade, mut record: Box<Recorder>, idle: Duration) {
    record.upgraded();
    let both = client.complete().and_then(|client| Ok((client, upstream.complete()?)));
    let ((client, _), (upstream, _lease)) = match both {
        Ok(both) => both,
        Err(failure) => return record.failed(&failure),
    };
    let moved = Rc::new(Moved { at: Cell::new(Instant::now()), up: Cell::new(0), down: Cell::new(0) });
    let (client_read, client_write) = tokio::io::split(client);
    let (upstream_read, upstream_write) = tokio::io::split(upstream);
    let up = pass(client_read, upstream_write, &moved, &moved.up);
    let down = pass(upstream_read, client_write, &moved, &moved.down);
    tokio::select! {
        // Either direction may end before the other; a broken one ends both.
        outcome = async { tokio::try_join!(up, down) } => {
            if outcome.is_err() {
                record.broke(Kind::AnswerIncomplete);
            }
        }
        () = silence(&moved, idle) => record.broke(Kind::AnswerStalled),
    }
    record.tunnelled(moved.up.get(), moved.down.get());
}

/// What has moved, and when last.
struct Moved {
    at: Cell<Instant>,
    up: Cell<u64>,
    down: Cell<u64>,
}

async fn pass(
    mut from: ReadHalf<Box<dyn Duplex>>,
    mut to: WriteHalf<Box<dyn Duplex>>,
    moved: &Moved,
    bytes: &Cell<u64>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        moved.at.set(Instant::now());
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
        moved.at.set(Instant::now());
        bytes.set(bytes.get() + length as u64);
    }
}

/// Returns once nothing has moved for so long.
async fn silence(moved: &Moved, idle: Duration) {
    loop {
        let until = moved.at.get() + idle;
        if until <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(until).await;
    }
}
