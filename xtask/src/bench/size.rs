//! The release binary: how large it is, and how long it takes to build from nothing.

use std::process::Command;
use std::time::Instant;

use anyhow::ensure;

use super::table::{Table, mb, ms};
use crate::{atoll, schema};

/// The size of the binary.
pub(crate) fn binary(table: &mut Table) -> anyhow::Result<()> {
    let bytes = std::fs::metadata(atoll::binary())?.len();
    table.goal("size: release binary", mb(bytes), "≤ 30 MB", bytes <= 30_000_000);
    Ok(())
}

/// A cold release build. Sources of dependencies are fetched before, so that the network is not measured.
pub(crate) fn build(table: &mut Table) -> anyhow::Result<()> {
    let cargo = || {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(schema::root());
        cargo
    };
    ensure!(cargo().args(["fetch", "--quiet", "--locked"]).status()?.success(), "cargo fetch failed");
    let target = tempfile::tempdir()?;
    let start = Instant::now();
    let built = cargo()
        .args(["build", "--release", "--quiet", "--locked", "--package", "cli"])
        .env("CARGO_TARGET_DIR", target.path())
        .status()?;
    let took = start.elapsed();
    ensure!(built.success(), "cargo build failed");
    table.goal("build: cold release build", ms(took), "≤ 4 min", took.as_secs() <= 240);
    Ok(())
}
