//! Flags that many commands share.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::failure::CliError;
use crate::show::clean;

/// Which app, for commands whose `-f` is free.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which app")]
pub(crate) struct AppFlags {
    /// Application file, or the directory it is in; repeat it to lay files over one another
    #[arg(short = 'f', long = "file", value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// The rest.
    #[command(flatten)]
    pub(crate) more: MoreFlags,
}

/// Which app, for commands whose `-f` means `--follow`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which app")]
pub(crate) struct AppFlagsLong {
    /// Application file, or the directory it is in; repeat it to lay files over one another
    #[arg(long = "file", value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// The rest.
    #[command(flatten)]
    pub(crate) more: MoreFlags,
}

/// What says which app it is, beside its files.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which app")]
pub(crate) struct MoreFlags {
    /// Name of the app [default: `name` of the file, then the directory]
    #[arg(short = 'p', long, value_name = "NAME")]
    pub(crate) project_name: Option<String>,
    /// Enable the services of this profile too; repeatable
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
    /// Take variables from this file instead of `.env`; repeatable
    #[arg(long = "env-file", value_name = "FILE")]
    pub(crate) env_files: Vec<PathBuf>,
    /// Where relative paths of the file start [default: the directory of the first file]
    #[arg(long, value_name = "DIR")]
    pub(crate) project_directory: Option<PathBuf>,
    /// Listen on ports that are free instead of the usual ones, for several copies side by side
    #[arg(long)]
    pub(crate) isolated: bool,
    /// Where the app's state lives [default: `ATOLL_STATE_DIR`, then `.atoll/<name>` in the project
    /// directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// What every verb of a command takes: how it shows what it has found, and which app.
#[derive(Args, Clone, Debug)]
pub(crate) struct How {
    /// How.
    #[command(flatten)]
    pub(crate) format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    pub(crate) app: AppFlags,
}

/// `NAME=VALUE` words as pairs.
pub(crate) fn pairs(words: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let pair = |word: &String| {
        let (name, value) = word.split_once('=')?;
        (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    words.iter().map(|word| pair(word).ok_or_else(|| CliError::NotAPair(clean::text(word)))).collect()
}

impl From<AppFlagsLong> for AppFlags {
    fn from(AppFlagsLong { files, more }: AppFlagsLong) -> Self {
        Self { files, more }
    }
}

impl AppFlags {
    /// These flags, written after the command, and those written before it. Where only one value can hold,
    /// the later one does.
    #[must_use]
    pub(crate) fn after(self, before: &Self) -> Self {
        let Self { files, more } = before.clone();
        let MoreFlags { project_name, profiles, env_files, project_directory, isolated, state_dir } = more;
        Self {
            files: joined(files, self.files),
            more: MoreFlags {
                project_name: self.more.project_name.or(project_name),
                profiles: joined(profiles, self.more.profiles),
                env_files: joined(env_files, self.more.env_files),
                project_directory: self.more.project_directory.or(project_directory),
                isolated: self.more.isolated || isolated,
                state_dir: self.more.state_dir.or(state_dir),
            },
        }
    }
}

fn joined<T>(mut first: Vec<T>, second: Vec<T>) -> Vec<T> {
    first.extend(second);
    first
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: the types of the admin API
    Json,
}

/// `--format`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct FormatFlag {
    /// How to print
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

impl FormatFlag {
    /// JSON is wanted.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }
}

/// `SERVICE=COUNT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    /// The service.
    pub(crate) service: String,
    /// How many instances.
    pub(crate) replicas: u32,
}

/// No service may have more instances than this.
const MOST_REPLICAS: u32 = 1_000;

impl std::str::FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, replicas) =
            text.split_once('=').ok_or_else(|| "write SERVICE=COUNT, such as `catalog=3`".to_owned())?;
        let replicas: u32 = replicas.parse().map_err(|_| format!("`{replicas}` is not a count"))?;
        if replicas > MOST_REPLICAS {
            return Err(format!("at most {MOST_REPLICAS} instances of a service"));
        }
        Ok(Self { service: service.to_owned(), replicas })
    }
}

/// Seconds, for `--timeout` and its kin: `10`, or a duration such as `1m30s`.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    kit::units::parse_duration(text)
        .map(|duration| duration.as_secs_f64().ceil() as u64)
        .map_err(|_| "write seconds, such as `30`, or a duration such as `1m30s`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_names_and_values() {
        let words = ["a=1".to_owned(), "b=x=y".to_owned(), "c=".to_owned()];
        let expected = [("a", "1"), ("b", "x=y"), ("c", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(pairs(&words).unwrap(), BTreeMap::from(expected));
        for bad in ["a", "=1"] {
            assert!(matches!(pairs(&[bad.to_owned()]), Err(CliError::NotAPair(_))), "{bad}");
        }
    }

    #[test]
    fn flags_before_and_after_the_command_add_up() {
        let before = AppFlags {
            files: vec!["a.yaml".into()],
            more: MoreFlags { project_name: Some("one".into()), isolated: true, ..MoreFlags::default() },
        };
        let after = AppFlags {
            files: vec!["b.yaml".into()],
            more: MoreFlags { project_name: Some("two".into()), ..MoreFlags::default() },
        };
        let both = after.after(&before);
        assert_eq!(both.files, [PathBuf::from("a.yaml"), "b.yaml".into()]);
        assert_eq!(both.more.project_name.as_deref(), Some("two"));
        assert!(both.more.isolated);
    }

    #[test]
    fn a_count_names_a_service_and_a_number() {
        assert_eq!("a=3".parse(), Ok(Count { service: "a".into(), replicas: 3 }));
        for bad in ["a", "a=", "a=x", "a=-1", "a=1001"] {
            assert!(bad.parse::<Count>().is_err(), "{bad}");
        }
        assert_eq!(seconds("1m30s"), Ok(90));
        assert_eq!(seconds("30"), Ok(30));
        assert!(seconds("soon").is_err());
    }
}
