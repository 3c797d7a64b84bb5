//! `atoll key`: access keys for who is outside.

use std::time::Duration;

use api::{CreateKey, RevokeKey};
use clap::Subcommand;

use super::Context;
use super::up::now;
use crate::failure::{Failure, print, print_json};
use crate::flags::How;
use crate::place::Place;
use crate::show::{Paint, clean, keys, term};

/// Make and revoke access keys, for CI, laptops and other systems
///
/// Services need none: each is given credentials of its own. A key may do what it is made for and no more, where
/// the file says `pipes.access: enforce`. JSON: `Key` and `CreatedKey` of the admin API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct KeyArgs {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done with keys.
#[derive(Subcommand, Clone, Debug)]
enum Verb {
    /// Make a key and print it, as a shell reads it; its secret is never shown again
    Create {
        /// What to call it
        name: String,
        /// What it may do: `NAME:VERB,…` with the name of a queue or topic, in which `*` stands for any characters;
        /// `queue/NAME` and `topic/NAME` mean one kind alone. Verbs: send, receive, publish, subscribe, manage, or
        /// `*` for all. Repeatable
        #[arg(long, value_name = "GRANT", required = true)]
        allow: Vec<String>,
        /// How long it is good, such as `30d` [default: until it is revoked]
        #[arg(long, value_name = "DURATION", value_parser = lifetime)]
        expires: Option<Duration>,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// List keys: what each may do, and when it was used last
    Ls {
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Let a key in no longer, from now on
    Revoke {
        /// Its name, or its id
        name: String,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
}

/// Keys are good for whole seconds, and not for longer than anybody can mean.
fn lifetime(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(100 * 366 * 86_400);
    let duration = kit::units::parse_duration(text).map_err(|error| error.to_string())?;
    if duration < Duration::from_secs(1) || duration > MOST {
        return Err("a key is good for a second to a hundred years".to_owned());
    }
    Ok(duration)
}

/// Runs the command.
pub(crate) fn run(args: KeyArgs, context: &Context) -> Result<u8, Failure> {
    let KeyArgs { verb } = args;
    let (Verb::Create { how, .. } | Verb::Ls { how } | Verb::Revoke { how, .. }) = &verb;
    let How { format, app } = how.clone();
    let client = Place::new(app.after(&context.app), None).client()?;
    let json = format.is_json();
    match verb {
        Verb::Create { name, allow, expires, .. } => {
            let wish = CreateKey { name, allow, lifetime_s: expires.map(|good| good.as_secs()) };
            let made = context.block_on(async { Ok(client.create_key(&wish).await?) })?;
            if json { print_json(&made)? } else { print(&keys::created(&made, now()))? }
        }
        Verb::Ls { .. } => {
            let all = context.block_on(async { Ok(client.keys().await?) })?;
            if json {
                print_json(&all)?;
            } else {
                print(&keys::list(&all, now(), term::columns(), Paint::stdout()))?;
            }
        }
        Verb::Revoke { name, .. } => {
            let key = context.block_on(async { Ok(client.revoke_key(&RevokeKey { name }).await?) })?;
            if json {
                print_json(&key)?;
            } else {
                print(&format!("`{}` lets nobody in any more\n", clean::text(&key.name)))?;
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_good_for_a_while_that_somebody_can_mean() {
        assert_eq!(lifetime("30d"), Ok(Duration::from_secs(30 * 86_400)));
        for bad in ["", "0", "500ms", "90000d", "soon"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }
}
