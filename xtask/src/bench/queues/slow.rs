//! A library that makes each sync take a millisecond longer, compiled where it is needed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::bench::gateway::machine;

const SOURCE: &str = include_str!("slow_fsync.c");

/// Compiles it; `None`: there is no C compiler.
pub(crate) fn library(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let Some(compiler) = ["cc", "gcc", "clang"].into_iter().find_map(machine::find) else { return Ok(None) };
    let (source, library) = (folder.join("slow_fsync.c"), folder.join("slow_fsync.so"));
    std::fs::write(&source, SOURCE)?;
    let mut command = Command::new(compiler);
    command.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    let status = command.status().context("compile slow_fsync.c")?;
    ensure!(status.success(), "the C compiler does not take slow_fsync.c: {status}");
    Ok(Some(library))
}
