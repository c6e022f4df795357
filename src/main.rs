//! The `signet` command. Each module is one group of verbs: it parses arguments, calls a crate below, and prints.

mod analyze;
mod apply;
mod authority;
mod bundle;
mod cert;
mod cli;
mod documents;
mod explain;
mod failure;
mod health;
mod inspect;
mod instance;
mod journal;
mod message;
mod output;
mod resource;
mod server;
mod token;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    cli::run(&arguments)
}
