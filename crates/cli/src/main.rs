//! The `atoll` binary: flags, commands, what people see.

mod command;
mod diagnostics;
mod doctor;
mod failure;
mod flags;
mod follow;
mod load;
mod place;
mod ready;
#[cfg(test)]
mod reference;
mod show;
mod signals;
mod starter;

use std::process::ExitCode;

use clap::Parser;

/// What the store frees at once, a hundred megabytes of one thread's, must not hold up whoever allocates on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The hidden command that keeps one instance. It must run before this process has a second thread.
const KEEP: &str = "__keep";

fn main() -> ExitCode {
    node::install_crypto_provider();
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    if first.as_ref().is_some_and(|first| first == KEEP) {
        return node::keeper::main(arguments);
    }
    if first.as_ref().is_some_and(|first| first == command::WORKER) {
        return match command::run_worker(&arguments.collect::<Vec<_>>()) {
            Ok(status) => ExitCode::from(status),
            Err(failure) => ExitCode::from(failure.tell()),
        };
    }
    let done = if first.is_some_and(|first| first == command::NODE) {
        command::run_node(command::NodeArgs::parse_from(std::env::args_os().skip(1)))
    } else {
        command::run(command::Cli::parse())
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(failure) => ExitCode::from(failure.tell()),
    }
}
