//! `atoll completion`: scripts for shells.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::{Failure, print};

/// Print a completion script
///
/// bash: `atoll completion bash > ~/.local/share/bash-completion/completions/atoll`;
/// zsh: a file `_atoll` in a directory of `$fpath`; fish: `~/.config/fish/completions/atoll.fish`.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: CompletionArgs) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "atoll", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
