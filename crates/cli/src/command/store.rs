//! `atoll store`: the store under queues and topics, checked, backed up and restored.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use kit::units::Bytes;
use node::upkeep::{self, EngineKind, VerifyReport};

use super::Context;
use crate::failure::{CliError, Failure, print, print_json};
use crate::flags::How;
use crate::place::Place;
use crate::show::clean;

/// Check, back up and restore the store of queues and topics
///
/// A backup is taken while the app runs, and is consistent. `verify`, `restore` and `salvage` need it stopped.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct StoreArgs {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done with a store.
#[derive(Subcommand, Clone, Debug)]
enum Verb {
    /// Read all of it, and say whether it is whole
    Verify {
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Write a copy into an empty directory while the app runs
    Backup {
        /// The directory; made if it is not there
        to: PathBuf,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Fill the store of an app that has none from a backup
    Restore {
        /// The directory of the backup
        from: PathBuf,
        /// What is to keep it: as `pipes.engine` says
        #[arg(long, value_enum, default_value_t = Engine::Fjall)]
        engine: Engine,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Make a damaged store usable with all that can be read of it; what is lost is lost
    Salvage {
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
}

/// What keeps a store.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    /// A log-structured merge tree.
    Fjall,
    /// A B-tree in one file.
    Redb,
}

/// Runs the command.
pub(crate) fn run(args: StoreArgs, context: &Context) -> Result<u8, Failure> {
    let how = match &args.verb {
        Verb::Verify { how }
        | Verb::Backup { how, .. }
        | Verb::Restore { how, .. }
        | Verb::Salvage { how } => how.clone(),
    };
    let client = Place::new(how.app.after(&context.app), None).client()?;
    let state_dir = client.state_dir();
    let json = how.format.is_json();
    match args.verb {
        Verb::Verify { .. } => show(&upkeep::verify(state_dir)?, json),
        Verb::Salvage { .. } => show(&upkeep::salvage(state_dir)?, json),
        Verb::Backup { to, .. } => {
            let to = std::path::absolute(&to)
                .map_err(|source| CliError::Machine { what: "tell the working directory", source })?;
            let wish = api::BackupStore { directory: to.display().to_string() };
            let taken = context.block_on(async { Ok(client.backup_store(&wish).await?) })?;
            if json {
                print_json(&taken)?;
            } else {
                let place = clean::text(&to.display().to_string());
                print(&format!("{} keys, {} in `{place}`\n", taken.keys, Bytes(taken.bytes)))?;
            }
            Ok(0)
        }
        Verb::Restore { from, engine, .. } => {
            let engine = match engine {
                Engine::Fjall => EngineKind::Fjall,
                Engine::Redb => EngineKind::Redb,
            };
            let report = upkeep::restore(&from, state_dir, engine)?;
            let restored =
                api::StoreBackup { version: report.version.0, keys: report.keys, bytes: report.bytes };
            if json {
                print_json(&restored)?;
            } else {
                print(&format!("{} keys, {} restored\n", restored.keys, Bytes(restored.bytes)))?;
            }
            Ok(0)
        }
    }
}

/// What was found; the exit status says whether it is whole.
fn show(report: &VerifyReport, json: bool) -> Result<u8, Failure> {
    if json {
        let spaces = report
            .spaces
            .iter()
            .map(|space| serde_json::json!({ "name": space.name, "keys": space.keys, "bytes": space.bytes }));
        print_json(&serde_json::json!({
            "version": report.version.0,
            "spaces": spaces.collect::<Vec<_>>(),
            "problems": report.problems,
        }))?;
    } else {
        let mut text = String::new();
        for space in &report.spaces {
            let name = clean::text(&space.name);
            let _ =
                writeln!(text, "{name:<16} {:>10} keys  {:>10}", space.keys, Bytes(space.bytes).to_string());
        }
        for problem in &report.problems {
            let _ = writeln!(text, "! {}", clean::text(problem));
        }
        if report.problems.is_empty() {
            let _ = writeln!(text, "the store is whole, up to commit {}", report.version.0);
        }
        print(&text)?;
    }
    Ok(u8::from(!report.problems.is_empty()))
}
