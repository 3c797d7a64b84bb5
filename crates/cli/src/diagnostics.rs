//! Where the node's own remarks go. Quiet unless something is wrong; `ATOLL_LOG` says otherwise, in the
//! syntax of `tracing` filters: `debug`, `proxy=trace,info`.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::failure::{CliError, Failure};

/// The environment variable with the filter.
const FILTER: &str = "ATOLL_LOG";

fn filter() -> EnvFilter {
    EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .with_env_var(FILTER)
        .from_env_lossy()
}

/// To standard error; for a detached node that is its log.
pub(crate) fn to_stderr() {
    let color = crate::show::Paint::stderr().is_on();
    // Fails only when a subscriber is set already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_ansi(color)
        .with_writer(std::io::stderr)
        .try_init();
}

/// To `node.log` in the state directory.
pub(crate) fn to_file(state_dir: &Path) -> Result<(), Failure> {
    let path = state_dir.join("node.log");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|source| CliError::State { path, source })?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init();
    Ok(())
}
