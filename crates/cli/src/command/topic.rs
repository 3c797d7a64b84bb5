//! `atoll topic`: topics, seen and published to.

use std::collections::BTreeMap;

use api::{PublishMessage, TopicAttribute};
use clap::Subcommand;

use super::Context;
use super::queue::read_body;
use super::up::now;
use crate::failure::{CliError, Failure, print, print_json};
use crate::flags::How;
use crate::place::Place;
use crate::show::{Paint, clean, term, topics};

/// The type of an attribute that says none.
const TEXT: &str = "String";

/// See topics and who is subscribed to them, publish to them
///
/// JSON: `Topic`, `TopicDetail` and `PublishedMessage` of the admin API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TopicArgs {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done with topics.
#[derive(Subcommand, Clone, Debug)]
enum Verb {
    /// List topics: how many are subscribed, what waits to be delivered to addresses
    Ls {
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Show a topic: its settings and its subscriptions
    Show {
        /// The topic
        topic: String,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Publish a message; without BODY standard input is the body
    Publish {
        /// The topic
        topic: String,
        /// The body
        body: Option<String>,
        /// An attribute; repeatable. NAME:Number=VALUE is a number for filters, NAME:String.Array=[…] a list
        #[arg(short = 'a', long = "attribute", value_name = "NAME=VALUE")]
        attributes: Vec<String>,
        /// What it is about, in a line
        #[arg(long)]
        subject: Option<String>,
        /// The group; required where the topic keeps order
        #[arg(long)]
        group: Option<String>,
        /// The identity, where the topic keeps order: a second one within five minutes is not published
        #[arg(long, value_name = "ID")]
        dedup: Option<String>,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
}

impl Verb {
    fn how(&self) -> &How {
        match self {
            Self::Ls { how } | Self::Show { how, .. } | Self::Publish { how, .. } => how,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: TopicArgs, context: &Context) -> Result<u8, Failure> {
    let TopicArgs { verb } = args;
    let How { format, app } = verb.how().clone();
    let client = Place::new(app.after(&context.app), None).client()?;
    let json = format.is_json();
    match verb {
        Verb::Ls { .. } => {
            let all = context.block_on(async { Ok(client.topics().await?) })?;
            if json {
                print_json(&all)?;
            } else {
                print(&topics::list(&all, term::columns(), Paint::stdout()))?;
            }
        }
        Verb::Show { topic, .. } => {
            let shown = context.block_on(async { Ok(client.topic(&topic).await?) })?;
            if json {
                print_json(&shown)?;
            } else {
                print(&topics::detail(&shown, now(), Paint::stdout()))?;
            }
        }
        Verb::Publish { topic, body, attributes, subject, group, dedup, .. } => {
            let attributes = read_attributes(&attributes)?;
            let body = body.map_or_else(read_body, Ok)?;
            let message = PublishMessage { body, subject, attributes, group, dedup };
            let published = context.block_on(async { Ok(client.publish(&topic, &message).await?) })?;
            match json {
                true => print_json(&published)?,
                false if published.duplicate => {
                    print(&format!("{} (published before)\n", clean::text(&published.id)))?;
                }
                false => print(&format!("{}\n", clean::text(&published.id)))?,
            }
        }
    }
    Ok(0)
}

fn read_attributes(words: &[String]) -> Result<BTreeMap<String, TopicAttribute>, CliError> {
    let read = |word: &String| {
        let (name, value) = word.split_once('=')?;
        let (name, kind) = name.split_once(':').unwrap_or((name, TEXT));
        let attribute = TopicAttribute { kind: kind.to_owned(), value: value.to_owned() };
        (!name.is_empty() && !kind.is_empty()).then(|| (name.to_owned(), attribute))
    };
    words.iter().map(|word| read(word).ok_or_else(|| CliError::NotAPair(clean::text(word)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_text_unless_it_says_what_else() {
        let words = ["kind=a=b", "total:Number=5", "tags:String.Array=[\"x:y\"]", "time=12:30"];
        let read = read_attributes(&words.map(str::to_owned)).unwrap();
        let read: Vec<_> =
            read.iter().map(|(name, one)| (name.as_str(), one.kind.as_str(), one.value.as_str())).collect();
        let expected = [
            ("kind", "String", "a=b"),
            ("tags", "String.Array", "[\"x:y\"]"),
            ("time", "String", "12:30"),
            ("total", "Number", "5"),
        ];
        assert_eq!(read, expected);
        for bad in ["a", "=1", ":Number=1", "a:=1"] {
            let refused = read_attributes(&[bad.to_owned()]);
            assert!(matches!(refused, Err(CliError::NotAPair(_))), "{bad}");
        }
    }
}
