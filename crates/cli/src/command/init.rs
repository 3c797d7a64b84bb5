//! `atoll init`: an application file to start from.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::failure::{CliError, Failure, print};
use crate::starter::{Start, look, starter};

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
    if args.stdout {
        print(&starter(&directory).0)?;
        return Ok(0);
    }
    let up = up_command(&directory);
    match look(&directory) {
        Start::HasOwn(name) => Err(CliError::FileExists { path: directory.join(name) }.into()),
        Start::HasCompose(name) => {
            print(&format!("`{name}` works as it is: `{up}`\n"))?;
            Ok(0)
        }
        Start::Write { file, from } => {
            let path =
                if directory == Path::new(".") { "atoll.yaml".into() } else { directory.join("atoll.yaml") };
            write(&path, &file)?;
            print(&format!("wrote {} (from {from})\nlook it over, then `{up}`\n", path.display()))?;
            Ok(0)
        }
    }
}

/// What to type to run an app in this directory. The last `/` tells a directory from a service.
fn up_command(directory: &Path) -> String {
    if directory == Path::new(".") {
        return "atoll up".to_owned();
    }
    let directory = directory.display().to_string();
    format!("atoll up {}/", directory.trim_end_matches('/'))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_type_next_names_the_directory() {
        assert_eq!(up_command(Path::new(".")), "atoll up");
        assert_eq!(up_command(Path::new("shop")), "atoll up shop/");
        assert_eq!(up_command(Path::new("../shop/")), "atoll up ../shop/");
    }
}
