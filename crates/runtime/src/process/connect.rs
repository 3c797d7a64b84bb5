//! Finding the keeper of a state directory, or starting one.

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::{OpenError, Options};
use crate::keeper::BUSY_STATUS;
use crate::wire::{self, PROTOCOL, Refusal, ToKeeper, ToNode};

/// How long it may take until a keeper serves: an earlier one may still be ending its instances.
const OPEN_LIMIT: Duration = Duration::from_secs(20);

/// How long a keeper may take to say hello.
const HELLO_LIMIT: Duration = Duration::from_secs(5);

/// How long a node that has just been killed may still count as connected.
const BUSY_LIMIT: Duration = Duration::from_millis(500);

const PAUSE: Duration = Duration::from_millis(10);

/// A connection that has said hello, and the keeper's process id.
pub(super) async fn join_or_start(options: &Options) -> Result<(UnixStream, i32), OpenError> {
    let state_dir = |source| OpenError::StateDir { path: options.state_dir.clone(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&options.state_dir).map_err(state_dir)?;
    let path = options.state_dir.canonicalize().map_err(state_dir)?;
    let directory = File::open(&path).map_err(state_dir)?;
    let failed = |why: String| OpenError::Keeper { path: path.clone(), why };
    let began = Instant::now();
    loop {
        match join(&directory, options).await {
            Ok(Joined::Yes { stream, keeper }) => return Ok((stream, keeper)),
            Ok(Joined::No(Refusal::Busy { pid })) if began.elapsed() > BUSY_LIMIT => {
                return Err(OpenError::Busy { path, pid });
            }
            Ok(Joined::No(Refusal::Protocol { keeper, pid })) => {
                return Err(OpenError::OtherVersion { pid, theirs: keeper, ours: PROTOCOL });
            }
            // It is about to go, or to see that its node has gone.
            Ok(Joined::No(Refusal::Ending | Refusal::Busy { .. })) => {}
            Err(_) => spawn(options, &path).await.map_err(&failed)?,
        }
        if began.elapsed() > OPEN_LIMIT {
            return Err(failed(format!("it does not answer within {} s", OPEN_LIMIT.as_secs())));
        }
        sleep(PAUSE).await;
    }
}

enum Joined {
    Yes { stream: UnixStream, keeper: i32 },
    No(Refusal),
}

async fn join(directory: &File, options: &Options) -> io::Result<Joined> {
    let mut stream = UnixStream::connect(crate::keeper::socket_path(directory)).await?;
    let mut hello = Vec::new();
    let detached = wire::is_detached(options.lifetime);
    wire::encode(&ToKeeper::Hello { protocol: PROTOCOL, detached }, &mut hello)?;
    // A keeper that refuses may have closed already: what it said can still be read.
    let written = stream.write_all(&hello).await;
    match timeout(HELLO_LIMIT, read_message(&mut stream)).await {
        Ok(Ok(ToNode::Welcome { pid })) => Ok(Joined::Yes { stream, keeper: pid }),
        Ok(Ok(ToNode::Refused { refusal })) => Ok(Joined::No(refusal)),
        Ok(Ok(_)) => Err(io::Error::other("the keeper does not say hello")),
        Ok(Err(error)) => written.and(Err(error)),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
    }
}

/// Reads the first message, byte for byte: what follows it is for the reader task.
async fn read_message(stream: &mut UnixStream) -> io::Result<ToNode> {
    let mut message = vec![0; 4];
    stream.read_exact(&mut message).await?;
    let length = message.first_chunk().map_or(0, |head| u32::from_be_bytes(*head)) as usize;
    if length > wire::MAX_MESSAGE {
        return Err(io::Error::other("the message is too long"));
    }
    message.resize(4 + length, 0);
    stream.read_exact(&mut message[4..]).await?;
    wire::decode(&mut message)?.ok_or_else(|| io::Error::other("the message is cut short"))
}

/// Starts a keeper and waits until it serves. One that another node has started meanwhile is as good.
async fn spawn(options: &Options, state_dir: &Path) -> Result<(), String> {
    let Some((program, arguments)) = options.keeper_command.split_first() else {
        return Err("no command to start it with".to_owned());
    };
    let child = Command::new(program)
        .args(arguments)
        .arg("--state-dir")
        .arg(state_dir)
        .env_clear() // what the keeper's environment holds would be open to whoever may read `/proc`
        .envs(std::env::var_os("RUST_BACKTRACE").map(|value| ("RUST_BACKTRACE", value)))
        .stdin(Stdio::null())
        .output();
    let output = match timeout(OPEN_LIMIT, child).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("cannot run `{}`: {error}", Path::new(program).display())),
        Err(_) => return Err(format!("it does not serve within {} s", OPEN_LIMIT.as_secs())),
    };
    if output.status.success() || output.status.code() == Some(i32::from(BUSY_STATUS)) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    if said.is_empty() { Err(format!("it ended with {}", output.status)) } else { Err(said.to_owned()) }
}
