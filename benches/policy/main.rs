//! How fast the policy engine is: one table, over 10 000 policies in 1 000 namespaces, 10 000 services and 10 000 workloads. A
//! decision runs from the service's name to the end of the connection; `signet analyze` is the program itself, reading files.
//!
//! A run counts only if the decisions end as the set is written, if none of them allocates, and if the analysis finds nothing.
//! docs/PERFORMANCE.md says what the rows mean. `cargo bench --bench policy` runs it; these are figures, not tests.

mod analysis;
mod connections;
mod fleet;
#[path = "../rows.rs"]
mod rows;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use policy::Policies;
use resources::{Document, parse};

use connections::Connection;
use fleet::{Fleet, ROOT};
use rows::{Row, median, say};

type Error = Box<dyn std::error::Error>;

/// Of everything that is timed; the table has the medians.
const ROUNDS: usize = 9;
/// Policies that are changed in one round, each in a namespace of its own.
const CHANGES: usize = 500;

fn main() -> ExitCode {
    match run() {
        Ok(rows) => {
            rows::print(&rows, "");
            ExitCode::SUCCESS
        }
        Err(why) => {
            say(&format!("this run is void: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Vec<Row>, Error> {
    let fleet = Fleet::new();
    let began = Instant::now();
    let mut documents = Vec::new();
    for text in [&fleet.policies, &fleet.services, &fleet.workloads] {
        documents.extend(parse(text, "").map_err(|errors| errors[0].to_string())?);
    }
    say(&format!(
        "{} documents parsed in {:.0} ms\n",
        documents.len(),
        began.elapsed().as_secs_f64() * 1e3
    ));
    let compile = timed(|| Policies::compile(ROOT, &documents));
    let mut policies = Policies::compile(ROOT, &documents);
    let decision = decisions(&policies)?;
    let change = changes(&mut policies, &documents)?;
    let analysis = analysis::run(&fleet)?;
    let row = |what, found, target, met| Row {
        what,
        found,
        target,
        met,
        remarks: String::new(),
    };
    let within = |what, seconds: f64, unit: &str, a_second: f64, target, limit: f64| {
        let found = format!("{:.2} {unit}", seconds * a_second);
        row(what, found, target, seconds < limit)
    };
    Ok(vec![
        within(
            "decision for one connection, no allocation",
            decision,
            "us",
            1e6,
            "2 us",
            2e-6,
        ),
        within(
            "compile all policies, services and workloads",
            compile,
            "ms",
            1e3,
            "150 ms",
            0.15,
        ),
        within(
            "one policy changed: what it touches compiled again",
            change,
            "us",
            1e6,
            "1000 us",
            1e-3,
        ),
        row(
            "signet analyze over the same",
            format!("{:.2} s, {:.0} MB", analysis.seconds, analysis.bytes / 1e6),
            "1 s, 200 MB",
            analysis.seconds < 1.0 && analysis.bytes < 200e6,
        ),
    ])
}

/// Seconds of one decision.
fn decisions(policies: &Policies) -> Result<f64, Error> {
    let connections = Connection::all();
    let mut refused = 0;
    let counted = allocation_counter::measure(|| {
        refused = connections
            .iter()
            .filter(|connection| connection.decide(policies).is_none())
            .count();
    });
    if refused > 0 {
        return Err(format!("{refused} connections are not decided as the set is written").into());
    }
    if counted.count_total > 0 {
        return Err(format!("decisions allocated {} times", counted.count_total).into());
    }
    let all = timed(|| {
        for connection in &connections {
            black_box(connection.decide(policies));
        }
    });
    Ok(all / connections.len() as f64)
}

/// Seconds of one change of a policy; of both kinds and their scopes the slowest.
fn changes(policies: &mut Policies, documents: &[Document]) -> Result<f64, Error> {
    let mut slowest = 0.0_f64;
    for (kind, name) in [
        ("PeerAuthentication", "default"),
        ("PeerAuthentication", "service-1"),
        ("DestinationRule", "first"),
        ("DestinationRule", "others"),
    ] {
        let chosen: Vec<(usize, &Document)> = documents
            .iter()
            .enumerate()
            .filter(|(_, document)| document.kind.word() == kind && document.name == name)
            .take(CHANGES)
            .collect();
        let all = timed(|| {
            for (index, document) in &chosen {
                policies.put(*index, document);
            }
        });
        slowest = slowest.max(all / chosen.len() as f64);
    }
    if *policies != Policies::compile(ROOT, documents) {
        return Err("changes end elsewhere than compiling from nothing".into());
    }
    Ok(slowest)
}

/// The median of some rounds, in seconds; dropping what comes out is not timed.
fn timed<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut round = || {
        let began = Instant::now();
        let _kept = black_box(work());
        began.elapsed().as_secs_f64()
    };
    let rounds: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    median(&rounds)
}
