//! `up` and `server run`: hand over to `ca_server`, and print where the server is once it is ready. `server
//! accept-clock` ends a dispute over the time.

use std::path::Path;

use ca_server::authority::offline;
use ca_server::config::{Mode, ServerArgs, Settings};
use ca_server::server::{Ready, ServeError};
use clap::Subcommand;
use identity::Reason;
use proto::v1;
use proto::v1::clock_client::ClockClient;

use crate::cli::Global;
use crate::failure::{Failure, Place};
use crate::instance::Instance;
use crate::output::{self, Format};
use crate::{authority, message};

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
    /// Take the machine's wall clock as right, while the server does not believe it
    #[command(
        after_help = "Example:\n  signet health --data DIR; date; signet server accept-clock --data DIR\n\n\
        A server whose wall clock jumps, or lies before the last entry of its journal, signs and deletes nothing until the clocks \
        agree again, or the kernel calls the new time synchronised. Where no time service runs, set the clock, compare it with \
        another, then accept it. The journal records who did, and both times. Without a dispute nothing changes. If no server runs \
        on the folder, this ends a dispute that the next start would find."
    )]
    AcceptClock,
}

pub(crate) async fn up(args: ServerArgs, global: &Global) -> Result<(), Failure> {
    serve(args, Mode::Up, global.output).await
}

pub(crate) async fn run(verb: Verb, global: &Global) -> Result<(), Failure> {
    match verb {
        Verb::Run(args) => serve(*args, Mode::Server, global.output).await,
        Verb::AcceptClock => accept_clock(global).await,
    }
}

async fn accept_clock(global: &Global) -> Result<(), Failure> {
    let instance = Instance::locate(global)?;
    let answer = if instance.is_served().await {
        let mut client = ClockClient::new(instance.connect().await?);
        client.accept_clock(v1::AcceptClockRequest {}).await?.into_inner()
    } else {
        authority::expect_folder(&instance)?;
        let accepted = offline::accept_clock(instance.dir()).await;
        accepted.map_err(authority::failure)?
    };
    output::show(
        global.output,
        &message::json("AcceptClockResponse", &answer),
        || {
            let wall = message::moment(answer.wall.as_ref());
            let mut said = match answer.accepted {
                true => format!(
                    "the wall clock is accepted, it read {wall}; before, {}",
                    answer.dispute
                ),
                false => format!("the time is not disputed, nothing was changed; the wall clock read {wall}"),
            };
            if !answer.advice.is_empty() {
                said.push_str("\nnothing can be signed yet: ");
                said.push_str(&answer.advice);
            }
            said
        },
    )
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
    let state = match (ready.has_certificate, &ready.fingerprint) {
        (true, _) => "is ready",
        (false, None) => "runs and waits for an authority",
        (false, Some(_)) => "runs and is not ready, `signet health` says why",
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
