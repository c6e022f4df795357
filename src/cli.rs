//! The command line as a whole: the verbs in their groups, what all of them take, and the exit codes 0 done, 1 refused or failed,
//! 2 wrong usage (`cert needs-renewal` has codes of its own).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::{
    analyze, apply, authority, bundle, cert, explain, health, inspect, journal, resource, server, token,
};

/// The verbs by what they are for; a test compares them with those that exist.
const HELP: &str = "\
{about}

Usage: signet [OPTIONS] <VERB>

Run
  up              One process: root, CA and embedded store, for one machine and for trying
  server          run | accept-clock: the CA, and an end to a dispute over its time
  health          Whether the server is live and ready; --wait waits for it
Authority
  authority       prepare | activate | list: signing authorities under an off-line root
  bundle          show: the roots that this CA is trusted by
Identities
  token           create | list | revoke: join tokens, each enrols once
  cert            issue | renew | needs-renewal: certificates of your own
                  list | show | revoke: everybody's, for administrators
  explain         identity: would a CSR be granted, by which registration, and if not, why
                  connection: what the client sends, what the server takes, how it ends
  inspect         A certificate, CSR, token, key or CRL in plain words
Resources
  apply           Create or change resources from YAML or JSON files, all or nothing
  analyze         What resources in files would break or do not do, without a server
  get, describe, delete    KIND [NAME] [-n NAMESPACE] [-A]
Record
  journal         verify | head | export: what the authority did

Options
{options}

`signet VERB --help` shows an example. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
";

/// Short-lived SPIFFE identity for every workload and device, without a cluster.
#[derive(Debug, Parser)]
#[command(name = "signet", version, help_template = HELP, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Folder of the instance; else SIGNET_DATA, else /var/lib/signet as root, $XDG_STATE_HOME/signet otherwise
    #[arg(long, global = true, value_name = "DIR", display_order = 900)]
    pub(crate) data: Option<PathBuf>,
    /// How results and errors are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        display_order = 901
    )]
    pub(crate) output: Format,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run everything in one process: root, CA and embedded store
    #[command(after_help = server::UP_EXAMPLE)]
    Up(Box<ca_server::config::ServerArgs>),
    /// Run the CA
    #[command(subcommand)]
    Server(server::Verb),
    /// Tell whether the server is live and ready
    #[command(after_help = health::EXAMPLE)]
    Health(health::Arguments),
    /// Signing authorities under an off-line root
    #[command(subcommand)]
    Authority(authority::Verb),
    /// The roots that this CA is trusted by
    #[command(subcommand)]
    Bundle(bundle::Verb),
    /// Join tokens: each enrols one identity once
    #[command(subcommand)]
    Token(token::Verb),
    /// Certificates
    #[command(subcommand)]
    Cert(cert::Verb),
    /// Why something is as it is
    #[command(subcommand)]
    Explain(explain::Verb),
    /// Tell what a certificate, chain, bundle, CSR, join token, key or CRL is, in plain words
    #[command(after_help = inspect::EXAMPLE)]
    Inspect(inspect::Arguments),
    /// Create or change resources, all or nothing
    #[command(after_help = apply::EXAMPLE)]
    Apply(apply::Arguments),
    /// Tell what resources in files would break or do not do, without a server
    #[command(after_help = analyze::EXAMPLE)]
    Analyze(analyze::Arguments),
    /// List resources
    #[command(after_help = resource::GET_EXAMPLE)]
    Get(resource::Selection),
    /// Show resources in full
    #[command(after_help = resource::DESCRIBE_EXAMPLE)]
    Describe(resource::Selection),
    /// Delete resources
    #[command(after_help = resource::DELETE_EXAMPLE)]
    Delete(resource::Deletion),
    /// The record of what the authority did
    #[command(subcommand)]
    Journal(journal::Verb),
}

/// How long threads that still work are waited for at the end.
const THREADS_END: Duration = Duration::from_secs(1);

/// How long the last lines of the log may hold up the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Does what these arguments (the program's name first) ask for.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => return wrong_usage(&usage, arguments),
    };
    let format = cli.global.output;
    let done = tokio::runtime::Runtime::new()
        .map_err(|e| Failure::internal(format!("cannot start threads: {e}")))
        .and_then(|runtime| {
            let done = runtime.block_on(dispatch(cli.verb, cli.global));
            // A system call on a disk that hangs never returns, and its thread cannot be ended: the process
            // is.
            runtime.shutdown_timeout(THREADS_END);
            done
        });
    runtime::logs::flush(LAST_LINES);
    match done {
        Ok(code) => code,
        Err(failure) => {
            output::complain(&failure, format);
            failure.exit_code()
        }
    }
}

async fn dispatch(verb: Verb, global: Global) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Up(args) => server::up(*args, &global).await,
        Verb::Server(verb) => server::run(verb, &global).await,
        Verb::Health(arguments) => health::run(&arguments, &global).await,
        Verb::Authority(verb) => authority::run(verb, &global).await,
        Verb::Bundle(verb) => bundle::run(verb, &global).await,
        Verb::Token(verb) => token::run(verb, &global).await,
        Verb::Cert(verb) => return cert::run(verb, &global).await,
        Verb::Explain(verb) => explain::run(verb, &global).await,
        Verb::Inspect(arguments) => inspect::run(&arguments, &global),
        Verb::Apply(arguments) => apply::run(&arguments, &global).await,
        Verb::Analyze(arguments) => return analyze::run(&arguments, &global),
        Verb::Get(selection) => resource::get(&selection, &global).await,
        Verb::Describe(selection) => resource::describe(&selection, &global).await,
        Verb::Delete(deletion) => resource::delete(&deletion, &global).await,
        Verb::Journal(verb) => journal::run(&verb, &global),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Help and version are no errors; clap prints them, and its own errors, best. A program that asked for JSON gets JSON.
fn wrong_usage(usage: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let asked_for_json = arguments
        .windows(2)
        .any(|pair| (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json")
        || ["-ojson", "-o=json", "--output=json"].into_iter().any(has);
    if !usage.use_stderr() {
        // A closed pipe is all that can fail here, and then nobody reads the help.
        let _ = usage.print();
        return ExitCode::SUCCESS;
    }
    let failure = Failure::usage(usage.to_string().trim_end());
    if asked_for_json {
        output::complain(&failure, Format::Json);
    } else {
        // As above.
        let _ = usage.print();
    }
    if has("needs-renewal") {
        return ExitCode::from(cert::OTHER_ERROR);
    }
    failure.exit_code()
}

#[cfg(test)]
mod tests;
