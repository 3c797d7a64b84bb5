//! `atoll errors`: what was thrown, grouped.

use api::{DecideError, ErrorQuery, ErrorState, Range};
use clap::{Subcommand, ValueEnum};

use super::Context;
use super::up::now;
use crate::failure::{Failure, print, print_json};
use crate::flags::How;
use crate::place::Place;
use crate::show::{Paint, errors, term, time};

/// See what services threw, grouped, and decide about it
///
/// JSON: `ErrorGroup` and `ErrorDetail` of the admin API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ErrorsArgs {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done with groups of errors.
#[derive(Subcommand, Clone, Debug)]
enum Verb {
    /// List groups of errors, the last seen first; those that are open or came back
    Ls {
        /// Thrown by this service
        service: Option<String>,
        /// In this state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Seen after this: so long ago (10m), or a time (2026-01-31T12:00:00Z)
        #[arg(long, value_name = "TIME", value_parser = |text: &str| time::since(text, now()))]
        since: Option<kit::Timestamp>,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Show a group: where it was thrown, and the traces that led to it
    Show {
        /// The group
        group: String,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Say that a group is mended; it comes back as a regression if it happens again
    Resolve {
        /// The group
        group: String,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Hear no more of a group
    Ignore {
        /// The group
        group: String,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Take such a decision back
    Reopen {
        /// The group
        group: String,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// Nobody has decided anything.
    Open,
    /// Somebody said that it is mended.
    Resolved,
    /// It was resolved and has happened again.
    Regressed,
    /// Nobody wants to hear of it.
    Ignored,
}

impl From<State> for ErrorState {
    fn from(state: State) -> Self {
        match state {
            State::Open => Self::Open,
            State::Resolved => Self::Resolved,
            State::Regressed => Self::Regressed,
            State::Ignored => Self::Ignored,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: ErrorsArgs, context: &Context) -> Result<u8, Failure> {
    let client = |how: &How| Place::new(how.app.clone().after(&context.app), None).client();
    let (how, group, decision) = match args.verb {
        Verb::Ls { service, state, since, how } => {
            let client = client(&how)?;
            let range = Range { since, until: None };
            let query = ErrorQuery { service, state: state.map(ErrorState::from), range, limit: None };
            let found = context.block_on(async { Ok(client.errors(&query).await?) })?;
            return match how.format.is_json() {
                true => print_json(&found),
                false => print(&errors::list(&found, now(), term::columns(), Paint::stdout())),
            }
            .map(|()| 0);
        }
        Verb::Show { group, how } => (how, group, None),
        Verb::Resolve { group, how } => (how, group, Some(ErrorState::Resolved)),
        Verb::Ignore { group, how } => (how, group, Some(ErrorState::Ignored)),
        Verb::Reopen { group, how } => (how, group, Some(ErrorState::Open)),
    };
    let client = client(&how)?;
    let detail = context.block_on(async {
        Ok(match decision {
            Some(state) => client.decide_error(&group, &DecideError { state }).await?,
            None => client.error(&group).await?,
        })
    })?;
    if how.format.is_json() {
        print_json(&detail)?;
    } else {
        print(&errors::detail(&detail, now(), Paint::stdout()))?;
    }
    Ok(0)
}
