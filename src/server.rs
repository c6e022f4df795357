//! `up` and `server run`: hand over to `ca_server`, and print where the server is once it is ready.

use std::path::Path;

use ca_server::config::{Mode, ServerArgs, Settings};
use ca_server::server::{Ready, ServeError};
use clap::Subcommand;
use identity::Reason;

use crate::cli::Global;
use crate::failure::{Failure, Place};
use crate::output::{self, Format};

pub(crate) const UP_EXAMPLE: &str = "Example:\n  signet up --data ./signet --trust-domain example.org";

/// Run the CA
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the CA until SIGTERM or SIGINT
    #[command(
        after_help = "Example:\n  signet server run --config /etc/signet/server.yaml\n\n\
        The first time it needs an authority: signet authority prepare, root-ca sign, signet authority activate."
    )]
    Run(Box<ServerArgs>),
}

pub(crate) async fn up(args: ServerArgs, global: &Global) -> Result<(), Failure> {
    serve(args, Mode::Up, global.output).await
}

pub(crate) async fn run(verb: Verb, global: &Global) -> Result<(), Failure> {
    let Verb::Run(args) = verb;
    serve(*args, Mode::Server, global.output).await
}

async fn serve(args: ServerArgs, mode: Mode, format: Format) -> Result<(), Failure> {
    if args.print_config {
        let settings = Settings::load(&args, mode).map_err(|e| failure(ServeError::Config(e)))?;
        return output::say(settings.to_yaml().trim_end());
    }
    // Whoever closed our standard output is not told, and the server goes on.
    let told = |ready: &Ready| drop(announce(ready, mode, format));
    ca_server::server::run(args, mode, told).await.map_err(failure)
}

fn announce(ready: &Ready, mode: Mode, format: Format) -> Result<(), Failure> {
    let facts = serde_json::to_value(ready).expect("addresses and paths are JSON");
    output::show(format, &facts, || text(ready, mode))
}

fn text(ready: &Ready, mode: Mode) -> String {
    let fact = |label: &str, value: String| vec![format!("  {label}"), value];
    let fingerprint = ready.fingerprint.clone();
    let rows = [
        fact("trust domain", ready.trust_domain.clone()),
        fact(
            "fingerprint",
            fingerprint.unwrap_or_else(|| "none: no authority is active yet".to_owned()),
        ),
        fact("gRPC", ready.grpc.to_string()),
        fact("CRLs", ready.crl.to_string()),
        fact("metrics", ready.metrics.to_string()),
        fact("administrators", ready.admin_socket.display().to_string()),
        fact("roots", ready.bundle.display().to_string()),
    ];
    let facts = output::columns(&rows, 2);
    let state = if ready.fingerprint.is_some() {
        "is ready"
    } else {
        "runs and waits for an authority"
    };
    let headline = format!("signet {} {state}, pid {}", ready.version, ready.pid);
    match (mode, ready.admin_socket.parent()) {
        (Mode::Up, Some(dir)) => format!("{headline}\n{facts}\n{}", next_step(&ready.trust_domain, dir)),
        _ => format!("{headline}\n{facts}"),
    }
}

fn next_step(trust_domain: &str, dir: &Path) -> String {
    let root_key = dir.join("keys/root-key.pem");
    let dir = dir.display();
    let of_root = match root_key.exists() {
        true => format!(
            "The root key is {}: fit for one machine and for trying.\n",
            root_key.display()
        ),
        false => String::new(),
    };
    format!(
        "{of_root}Try next, in another terminal:\n  \
         signet token create --data {dir} --spiffe-id spiffe://{trust_domain}/ns/default/sa/web --out web.token\n  \
         signet cert issue --token-file web.token --out web"
    )
}

fn failure(error: ServeError) -> Failure {
    let ServeError::Config(config) = &error else {
        return Failure::new(error.reason(), error);
    };
    let place = Place {
        file: config.file().map(|file| file.display().to_string()),
        line: config.position().map(|(line, _)| line),
        column: config.position().map(|(_, column)| column),
        field: config.field().map(str::to_owned),
    };
    Failure::new(Reason::ResourceInvalid, &error).at(place)
}
