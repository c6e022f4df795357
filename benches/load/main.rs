//! How fast the authority is: one table, in ratios against what no authority can do without, a P-256 verification and a P-256
//! signature by ring (*the pair*), measured in the same run. Real processes and sockets; the load generator shares the machine.
//!
//! A run counts only if every request was granted anew, and the record holds exactly the certificates that callers were given.
//! docs/PERFORMANCE.md says what the rows mean. `cargo bench --bench load` runs it all; these are figures, not tests.

mod client;
mod journal;
mod pair;
mod requests;
#[path = "../rows.rs"]
mod rows;
mod server;
mod table;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use client::Caller;
use requests::{Protocol, Requests};
use server::Server;
use table::Figures;

type Error = Box<dyn std::error::Error>;

/// Rounds of each protocol; the table has their medians.
const ROUNDS: usize = 5;
/// Certificates of one round.
const CERTIFICATES: usize = 20_000;
/// Connections, each with a client certificate of its own.
const CALLERS: usize = 8;
/// Starts that are timed, of each kind.
const STARTS: usize = 5;

fn main() -> ExitCode {
    match run() {
        Ok(figures) => {
            table::print(&figures);
            ExitCode::SUCCESS
        }
        Err(why) => {
            rows::say(&format!("this run is void: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Figures, Error> {
    let mut figures = Figures {
        cores: std::thread::available_parallelism()?.get(),
        ..Figures::default()
    };
    rows::say("one certificate, in process");
    for _ in 0..ROUNDS {
        let (pair, issuance) = pair::and_issuance()?;
        figures.issuance.push(issuance / pair);
    }
    rows::say("starts");
    starts(&mut figures)?;
    load(&mut figures)?;
    Ok(figures)
}

/// Starts in new folders, and once more in each.
fn starts(figures: &mut Figures) -> Result<(), Error> {
    for _ in 0..STARTS {
        let server = Server::first_start()?;
        figures.first_start.push(server.time_to_ready().as_secs_f64());
        figures.idle_bytes.push(server.resident_when_idle()?);
        let server = Server::start_in(server.stop()?)?;
        figures.later_start.push(server.time_to_ready().as_secs_f64());
        server.stop()?;
    }
    Ok(())
}

/// Rounds of both protocols in turn, on one server, at the end its record against the answers, and starts with all of them.
fn load(figures: &mut Figures) -> Result<(), Error> {
    let server = Server::first_start()?;
    let callers: Vec<Caller> = (0..CALLERS)
        .map(|number| Caller::enrol(&server, number))
        .collect::<Result<_, Error>>()?;
    let mut answers = BTreeSet::new();
    let mut given = 0;
    for round in 1..=ROUNDS {
        for protocol in Protocol::ALL {
            let requests = Requests::make(protocol, &callers, CERTIFICATES)?;
            let pair_before = pair::seconds()?;
            let before = server.cpu()?;
            let (bodies, took) = client::round(&server, &callers, &requests)?;
            let cpu = server.cpu_when_idle()? - before;
            let pair = (pair_before + pair::seconds()?) / 2.0;
            let count = bodies.len() as f64;
            let (ratio, rate) = (cpu.as_secs_f64() / count / pair, count / took.as_secs_f64());
            let of_limit = rate * pair / figures.cores as f64;
            rows::say(&format!(
                "round {round} {protocol}: {:.1} us of server CPU each = {ratio:.2} pairs of {:.1} us; {rate:.0}/s = {of_limit:.2} x",
                micros(cpu) / count,
                pair * 1e6,
            ));
            figures.pair.push(pair);
            match protocol {
                Protocol::Signet => {
                    figures.signet_cpu.push(ratio);
                    figures.signet_rate.push((rate, of_limit));
                }
                Protocol::Istio => figures.istio_cpu.push(ratio),
            }
            given += bodies.len();
            for body in bodies {
                answers.insert(protocol.serial(&body)?);
            }
        }
    }
    server.all_granted_anew()?;
    figures.loaded_bytes = Some(server.resident()?);
    let mut folder = server.stop()?;
    journal::compare(&folder, &answers, given)?;
    figures.recorded = given;
    for _ in 0..STARTS {
        let server = Server::start_in(folder)?;
        figures.loaded_start.push(server.time_to_ready().as_secs_f64());
        folder = server.stop()?;
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
