//! `atoll queue`: queues, seen, filled and emptied.

use std::io::Read;

use api::{MoveMessages, ReceiveMessages, SendMessage};
use clap::Subcommand;

use super::Context;
use super::up::now;
use crate::failure::{CliError, Failure, print, print_json};
use crate::flags::{How, pairs};
use crate::place::Place;
use crate::show::{Paint, clean, queues, term};

/// The longest message that is read from standard input, in bytes: what a queue takes at most.
const MOST_BODY: u64 = 1024 * 1024;

/// See queues, send to them, look into them, empty them
///
/// JSON: `Queue`, `QueueDetail` and `Message` of the admin API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct QueueArgs {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done with queues.
#[derive(Subcommand, Clone, Debug)]
enum Verb {
    /// List queues: what waits, what is in flight, how old the oldest message is
    Ls {
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Show a queue: its settings, and what is moved out of it
    Show {
        /// The queue
        queue: String,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Look at the next messages, which stay as they are
    Peek {
        /// The queue
        queue: String,
        /// Messages at most
        #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
        number: u32,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Send a message; without BODY standard input is the body
    Send {
        /// The queue
        queue: String,
        /// The body
        body: Option<String>,
        /// An attribute; repeatable
        #[arg(short = 'a', long = "attribute", value_name = "NAME=VALUE")]
        attributes: Vec<String>,
        /// The group; required where the queue keeps order
        #[arg(long)]
        group: Option<String>,
        /// The identity, where the queue keeps order: a second one within five minutes is not sent
        #[arg(long, value_name = "ID")]
        dedup: Option<String>,
        /// Hide it for so many seconds
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=900))]
        delay: Option<u32>,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Receive messages and delete them
    Receive {
        /// The queue
        queue: String,
        /// Messages at most
        #[arg(short = 'n', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
        number: u32,
        /// Wait for the first one for so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=20))]
        wait: u32,
        /// Leave them in the queue: they come back when they have been hidden for as long as the queue says
        #[arg(long)]
        keep: bool,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Delete every message of a queue
    Purge {
        /// The queue
        queue: String,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Move dead letters back to the queues that they came from
    Redrive {
        /// The queue of dead letters
        queue: String,
        /// Messages a second at most
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=500))]
        rate: Option<u32>,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
    /// Move dead letters to another queue
    Move {
        /// The queue of dead letters
        queue: String,
        /// Where to
        to: String,
        /// Messages a second at most
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=500))]
        rate: Option<u32>,
        /// How, and which app.
        #[command(flatten)]
        how: How,
    },
}

impl Verb {
    fn how(&self) -> &How {
        match self {
            Self::Ls { how }
            | Self::Show { how, .. }
            | Self::Peek { how, .. }
            | Self::Send { how, .. }
            | Self::Receive { how, .. }
            | Self::Purge { how, .. }
            | Self::Redrive { how, .. }
            | Self::Move { how, .. } => how,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: QueueArgs, context: &Context) -> Result<u8, Failure> {
    let QueueArgs { verb } = args;
    let How { format, app } = verb.how().clone();
    let client = Place::new(app.after(&context.app), None).client()?;
    let json = format.is_json();
    let detail = |shown: &api::QueueDetail| {
        if json { print_json(shown) } else { print(&queues::detail(shown, now(), Paint::stdout())) }
    };
    match verb {
        Verb::Ls { .. } => {
            let all = context.block_on(async { Ok(client.queues().await?) })?;
            if json {
                print_json(&all)?;
            } else {
                print(&queues::list(&all, now(), term::columns(), Paint::stdout()))?;
            }
        }
        Verb::Show { queue, .. } => {
            detail(&context.block_on(async { Ok(client.queue(&queue).await?) })?)?;
        }
        Verb::Peek { queue, number, .. } => {
            let messages = context.block_on(async { Ok(client.peek(&queue, number).await?) })?;
            show_messages(&messages, json)?;
        }
        Verb::Receive { queue, number, wait, keep, .. } => {
            let want = ReceiveMessages { max: number, wait_s: wait, keep };
            let messages = context.block_on(async { Ok(client.receive_messages(&queue, &want).await?) })?;
            show_messages(&messages, json)?;
        }
        Verb::Send { queue, body, attributes, group, dedup, delay, .. } => {
            let body = body.map_or_else(read_body, Ok)?;
            let message = SendMessage { body, attributes: pairs(&attributes)?, group, dedup, delay_s: delay };
            let sent = context.block_on(async { Ok(client.send_message(&queue, &message).await?) })?;
            match json {
                true => print_json(&sent)?,
                false if sent.duplicate => print(&format!("{} (sent before)\n", clean::text(&sent.id)))?,
                false => print(&format!("{}\n", clean::text(&sent.id)))?,
            }
        }
        Verb::Purge { queue, .. } => {
            let shown = context.block_on(async { Ok(client.purge(&queue).await?) })?;
            if json {
                print_json(&shown)?;
            } else {
                print(&format!("`{}` is empty\n", clean::text(&queue)))?;
            }
        }
        Verb::Redrive { queue, rate, .. } => {
            let wish = MoveMessages { to: None, per_second: rate };
            detail(&context.block_on(async { Ok(client.move_messages(&queue, &wish).await?) })?)?;
        }
        Verb::Move { queue, to, rate, .. } => {
            let wish = MoveMessages { to: Some(to), per_second: rate };
            detail(&context.block_on(async { Ok(client.move_messages(&queue, &wish).await?) })?)?;
        }
    }
    Ok(0)
}

fn show_messages(messages: &[api::Message], json: bool) -> Result<(), Failure> {
    if json { print_json(&messages) } else { print(&queues::messages(messages, now(), Paint::stdout())) }
}

/// The body of a message that stands nowhere else.
pub(super) fn read_body() -> Result<String, Failure> {
    let mut body = String::new();
    let read = std::io::stdin().take(MOST_BODY + 1).read_to_string(&mut body);
    read.map_err(|source| CliError::Machine { what: "read the message from standard input", source })?;
    Ok(body)
}
