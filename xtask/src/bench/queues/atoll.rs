//! Atoll under comparison: an app with one queue, asked as its owner, who is refused if a signature is wrong.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::client::{Endpoint, sigv4::Keys, sqs};
use super::system::{self, Guard, System};
use crate::atoll::Detached;
use crate::bench::gateway::machine::{self, Tree};
use crate::go_on;
use crate::serve;

/// Its name in tables.
pub(crate) const NAME: &str = "Atoll, SQS wire";

/// Pause between two looks at the app's status.
const LOOK: Duration = Duration::from_millis(10);

/// How long the service may take to write down its environment.
const PATIENCE: Duration = Duration::from_secs(20);

/// The app's folder: what is needed to start it again after it was stopped or killed.
#[derive(Clone)]
pub(crate) struct Home {
    file: PathBuf,
    /// Its state directory.
    pub(crate) state: PathBuf,
    environment: PathBuf,
    slow: Option<PathBuf>,
}

impl Home {
    /// Writes the application file. `slow` is a library that is loaded into the node.
    pub(crate) fn make(parent: &Path, name: &str, slow: Option<&Path>) -> anyhow::Result<Self> {
        let folder = system::folder(parent, name)?;
        let (file, environment) = (folder.join("atoll.yaml"), folder.join("environment"));
        let program = std::env::current_exe()?;
        // The service exists for the credentials that it is given.
        let text = format!(
            "name: bench\npipes: {{ listen: \"127.0.0.1:0\", access: enforce }}\nservices:\n  bench:\n    \
             command: [sh, -c, 'env > \"{}\" && exec \"{}\" {}']\n    \
             queues: {{ bench: {{ visibility: 600s, dead_letter: off }} }}\n",
            environment.display(),
            program.display(),
            serve::VERB,
        );
        std::fs::write(&file, text)?;
        Ok(Self { file, state: folder.join("state"), environment, slow: slow.map(Path::to_owned) })
    }

    /// Starts the app, and waits until it is ready.
    pub(crate) fn up(&self) -> anyhow::Result<Detached> {
        let load: Vec<_> = self.slow.iter().map(|library| ("LD_PRELOAD", library.as_path())).collect();
        let app = Detached::up_with(&self.file, &self.state, &[], &load)?;
        app.wait_ready(LOOK)?;
        Ok(app)
    }

    /// Starts the app as a system of the comparison.
    pub(crate) fn system(&self) -> anyhow::Result<System> {
        let app = self.up()?;
        Ok(System {
            name: NAME.to_owned(),
            endpoint: Endpoint::Sqs(Arc::new(self.place()?)),
            tree: self.tree(),
            most: usize::MAX,
            durable: true,
            guard: Guard::App(app),
        })
    }

    /// The processes of the app that are Atoll's.
    pub(crate) fn tree(&self) -> Tree {
        Tree::Atoll(self.state.clone())
    }

    /// Where the queue is and how to sign, as the service was told.
    pub(crate) fn place(&self) -> anyhow::Result<sqs::Place> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&self.environment).unwrap_or_default();
            if let Some(place) = place_in(&text) {
                return Ok(place);
            }
            ensure!(Instant::now() < give_up, "the service was not told where its queue is: {text}");
            go_on()?;
            std::thread::sleep(LOOK);
        }
    }

    /// Bytes on disk of the store.
    pub(crate) fn disk(&self) -> anyhow::Result<u64> {
        size_of(&self.state.join("store"))
    }

    /// Resident bytes of its processes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        machine::rss(&self.tree().pids()?)
    }
}

/// What `env` wrote.
fn place_in(text: &str) -> Option<sqs::Place> {
    let value = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    let url = value("BENCH_QUEUE_URL")?;
    let endpoint = value("AWS_ENDPOINT_URL")?;
    let address: SocketAddr = endpoint.strip_prefix("http://")?.trim_end_matches('/').parse().ok()?;
    let keys = Keys { id: value("AWS_ACCESS_KEY_ID")?, secret: value("AWS_SECRET_ACCESS_KEY")? };
    Some(sqs::Place::new(address, keys, url.rsplit_once('/')?.0.to_owned()))
}

/// Bytes that the files below a folder take on disk. Files may go meanwhile.
fn size_of(folder: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_where_the_service_was_told() {
        let text = "PATH=/bin\nAWS_ENDPOINT_URL=http://127.0.0.1:4566\nAWS_ACCESS_KEY_ID=id\n\
                    AWS_SECRET_ACCESS_KEY=a=b\nBENCH_QUEUE_URL=http://127.0.0.1:4566/000000000000/bench\n";
        let place = place_in(text).unwrap();
        assert_eq!((place.address.port(), place.keys.secret.as_str()), (4566, "a=b"));
        assert_eq!(place.url(), "http://127.0.0.1:4566/000000000000/bench-0");
        assert!(place_in("AWS_ACCESS_KEY_ID=id\n").is_none());
    }

    #[test]
    fn the_size_of_a_folder_is_that_of_all_files_below_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("below")).unwrap();
        std::fs::write(folder.path().join("below/file"), vec![1; 100_000]).unwrap();
        assert!(size_of(folder.path()).unwrap() >= 100_000);
    }
}
