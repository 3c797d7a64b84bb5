//! `atoll init`: an application file to start from.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::failure::{CliError, Failure, print};
use crate::starter::{Start, look};

/// Write an application file to start from
///
/// Guesses the services from what is in the directory: a Procfile, Cargo.toml, package.json, manage.py,
/// go.mod, Python sources. Never overwrites anything.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct InitArgs {
    /// The directory
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Print the file instead of writing it
    #[arg(long)]
    stdout: bool,
}

/// Runs the command.
pub(crate) fn run(args: InitArgs) -> Result<u8, Failure> {
    let directory = args.directory;
    if let Err(source) = std::fs::read_dir(&directory) {
        return Err(CliError::NoSuchPlace { path: directory, source }.into());
    }
    match look(&directory) {
        Start::HasOwn(name) => Err(CliError::FileExists { path: directory.join(name) }.into()),
        Start::HasCompose(name) => {
            print(&format!("`{name}` works as it is: `atoll up`\n"))?;
            Ok(0)
        }
        Start::Write { file, .. } if args.stdout => {
            print(&file)?;
            Ok(0)
        }
        Start::Write { file, from } => {
            write(&directory.join("atoll.yaml"), &file)?;
            print(&format!("wrote atoll.yaml (from {from})\nlook it over, then `atoll up`\n"))?;
            Ok(0)
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    match made.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
            Err(CliError::FileExists { path: path.to_owned() }.into())
        }
        Err(source) => Err(CliError::State { path: path.to_owned(), source }.into()),
    }
}
