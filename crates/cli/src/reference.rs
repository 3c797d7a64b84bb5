//! `docs/cli.md`, made from the same definitions as `--help`. A test compares; to write it anew run
//! `ATOLL_WRITE_DOCS=1 cargo test -p cli reference`.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

/// The arguments under this heading are the same for every command: they are told once.
const SHARED: &str = "Which app";

fn reference() -> String {
    let mut atoll = crate::command::Cli::command();
    atoll.build();
    let mut text = String::from(
        "# The command line\n\n\
         Made from the definitions behind `atoll --help`; do not edit by hand.\n\n\
         Exit status of every command: **0** done, **1** it did not work, **2** the command line or the\n\
         application file is wrong and nothing was tried. Errors are on standard error, as\n\
         `error[A0801]: …` with a hint; `atoll explain A0801` has the whole story.\n\n\
         Standard output is for people when it is a terminal, plain lines without escapes when it is not;\n\
         `NO_COLOR` and `CLICOLOR_FORCE` are honoured. `--format json` prints the types of the admin API\n\
         and nothing else. `ATOLL_LOG` sets what the node says about itself (`warn` by default).\n\n",
    );
    let commands: Vec<&Command> = atoll
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
        .collect();
    for command in &commands {
        let name = command.get_name();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "- [`atoll {name}`](#atoll-{name}): {}", first_lower(&about));
    }
    text.push_str("\n## Which app\n\n");
    text.push_str(
        "These flags go before or after the command. For `logs` and `events` the short `-f` after the command\n\
         means `--follow`.\n\n",
    );
    for argument in atoll.get_arguments().filter(|argument| argument.get_help_heading() == Some(SHARED)) {
        text.push_str(&item(argument));
    }
    text.push('\n');
    for command in commands {
        section(command, &mut text);
    }
    text.trim_end().to_owned() + "\n"
}

fn section(command: &Command, text: &mut String) {
    let name = command.get_name();
    let _ = writeln!(text, "## atoll {name}\n");
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(text, "{about}\n");
    let own = |argument: &&Arg| {
        argument.get_help_heading() != Some(SHARED)
            && !matches!(argument.get_id().as_str(), "help" | "version")
    };
    let mut usage = format!("atoll {name}");
    if command.get_opts().any(|argument| own(&argument)) {
        usage.push_str(" [OPTIONS]");
    }
    for argument in command.get_positionals() {
        let _ = write!(usage, " {argument}");
    }
    let _ = writeln!(text, "```text\n{usage}\n```\n");
    let items: String = command.get_arguments().filter(own).map(item).collect();
    if !items.is_empty() {
        text.push_str(&items);
        text.push('\n');
    }
}

/// One argument as an item of a list.
fn item(argument: &Arg) -> String {
    let mut head = Vec::new();
    if argument.is_positional() {
        head.push(argument.to_string());
    } else {
        let short = argument.get_short().map(|short| format!("-{short}"));
        let long = argument.get_long().map(|long| format!("--{long}"));
        head.extend(short.into_iter().chain(long));
        if argument.get_action().takes_values()
            && let (Some(last), Some(values)) = (head.last_mut(), argument.get_value_names())
        {
            let _ = write!(last, " <{}>", values.join("> <"));
        }
    }
    let head: Vec<String> = head.iter().map(|part| format!("`{part}`")).collect();
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let mut line = format!("- {}: {}", head.join(", "), first_lower(&help));
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if argument.get_action().takes_values() && !values.is_empty() {
        let _ = write!(line, "; {}", values.join(", "));
    }
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(line, " [default: `{}`]", defaults.join(" "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(line, " [environment: `{}`]", variable.to_string_lossy());
    }
    line + "\n"
}

/// The first letter small, for the middle of a sentence, unless the word is an abbreviation.
fn first_lower(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), second) if !second.is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

#[test]
fn the_reference_in_the_documentation_is_that_of_the_binary() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let made = reference();
    if std::env::var_os("ATOLL_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == made, "docs/cli.md is old: ATOLL_WRITE_DOCS=1 cargo test -p cli reference");
}

#[test]
fn the_definitions_of_all_commands_hold_together() {
    crate::command::Cli::command().debug_assert();
}
