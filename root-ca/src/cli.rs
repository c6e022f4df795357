//! The command line: what can be asked, and the exit codes 0 done, 1 refused or failed, 2 wrong usage.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use identity::printable::printable_json;
use identity::{Facts, Reason, TrustDomain};
use issuance::AuthorityKeyType;
use time::OffsetDateTime;

use crate::console::Console;
use crate::error::CeremonyError;
use crate::{init, inspect, sign};

/// Makes and uses the root of a trust domain, on a machine without network.
#[derive(Debug, Parser)]
#[command(
    name = "root-ca",
    version,
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage. Nothing is ever overwritten."
)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
    /// How results and errors are printed: for people, or as one JSON object
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a root: its key and its self-signed certificate
    #[command(
        after_help = "Example:\n  root-ca init --trust-domain example.org --out root --passphrase-file pass\n\n\
        root/root.pem is for everybody, root/root-key.pem for nobody. Others recognise the root by the\n\
        fingerprint that is printed."
    )]
    Init(InitArguments),
    /// Sign an authority's certificate, after showing what it will be
    #[command(
        after_help = "Example:\n  signet authority prepare --data DIR --csr-out authority.csr        (on the server)\n  \
        root-ca sign --root root --csr authority.csr --out authority.pem    (here)\n  \
        signet authority activate --data DIR --chain authority.pem --root root.pem"
    )]
    Sign(SignArguments),
    /// Tell what a certificate, CSR or key is, in plain words
    #[command(after_help = "Example:\n  root-ca inspect root/root.pem")]
    Inspect {
        /// PEM, or a certificate or CSR in DER
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Name of the trust domain, such as example.org; it cannot be changed later
    #[arg(long, value_name = "NAME", value_parser = TrustDomain::new)]
    pub(crate) trust_domain: TrustDomain,
    /// Folder for root.pem and root-key.pem; made if it does not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How long the root counts, at most 25y
    #[arg(long, value_name = "DURATION", default_value = "10y", value_parser = identity::duration::parse)]
    pub(crate) life: Duration,
    /// Kind of key: p256, or p384, which makes every check of it many times slower
    #[arg(long, value_name = "KIND", default_value = "p256")]
    pub(crate) key: AuthorityKeyType,
    /// File with the passphrase that will encrypt the key; one line end is dropped
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SignArguments {
    /// Folder that `root-ca init` wrote
    #[arg(long, value_name = "DIR")]
    pub(crate) root: PathBuf,
    /// CSR that `signet authority prepare` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) csr: PathBuf,
    /// File for the authority's certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Lifetime of the authority, at most --max-life and never longer than the root's
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = identity::duration::parse)]
    pub(crate) life: Duration,
    /// Longest lifetime that is signed
    #[arg(long, value_name = "DURATION", default_value = "5y", value_parser = identity::duration::parse)]
    pub(crate) max_life: Duration,
    /// Sign without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// File with the passphrase of the root's key; one line end is dropped
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// Does what these arguments (the program's name first) ask for. Results go to the console, errors to `errors`.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    mut console: Console<'_>,
    now: OffsetDateTime,
    mut errors: impl Write,
) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command_line = match CommandLine::try_parse_from(&arguments) {
        Ok(command_line) => command_line,
        Err(usage) => return wrong_usage(&usage, &arguments, &mut errors),
    };
    let json = command_line.output == Output::Json;
    let done = match command_line.verb {
        Verb::Init(arguments) => init::run(&arguments, now),
        Verb::Sign(arguments) => sign::run(&arguments, &mut console, now),
        Verb::Inspect { file } => inspect::run(&file, now),
    };
    match done.and_then(|report| print(&report, json, &mut console)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let reason = error.reason();
            print_error(&error.to_string(), reason, json, &mut errors);
            ExitCode::FAILURE
        }
    }
}

fn print(report: &Facts, json: bool, console: &mut Console<'_>) -> Result<(), CeremonyError> {
    console.say(&if json {
        printable_json(&format!("{:#}", report.value()))
    } else {
        report.text()
    })
}

/// Help and version are no errors; clap prints them, and its own errors, best. A program that asked for JSON gets JSON.
fn wrong_usage(usage: &clap::Error, arguments: &[OsString], errors: &mut impl Write) -> ExitCode {
    let asked_for_json = arguments
        .windows(2)
        .any(|pair| (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json")
        || arguments.iter().any(|a| a == "-ojson" || a == "--output=json");
    if usage.use_stderr() && asked_for_json {
        print_error(
            usage.to_string().trim_end(),
            Reason::ResourceInvalid,
            true,
            errors,
        );
        return ExitCode::from(2);
    }
    // A closed pipe is all that can fail here, and then nobody reads the message.
    let _ = usage.print();
    if usage.use_stderr() {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}

fn print_error(message: &str, reason: Reason, json: bool, errors: &mut impl Write) {
    let line = if json {
        let kind = reason.kind().word();
        serde_json::json!({ "error": { "kind": kind, "reason": reason.word(), "message": message } })
            .to_string()
    } else {
        format!("error: {}", identity::printable(message))
    };
    // The exit code tells even if nobody reads.
    let _ = writeln!(errors, "{line}");
}
