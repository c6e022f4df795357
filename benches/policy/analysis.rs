//! `signet analyze` over files, as a process of its own: how long it takes, and the most memory that it holds.

use std::process::Command;

use tempfile::TempDir;

use crate::fleet::Fleet;
use crate::rows::{median, say};
use crate::{Error, ROUNDS};

/// Runs what it is given and prints seconds, peak memory in bytes, and what it said; the standard library cannot ask for a child's
/// memory.
const MEASURE: &str = "
import resource, subprocess, sys, time
began = time.perf_counter()
said = subprocess.run(sys.argv[1:], capture_output=True, text=True)
took = time.perf_counter() - began
print(took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
print(said.stdout + said.stderr)
";

pub(crate) struct Analysis {
    pub(crate) seconds: f64,
    pub(crate) bytes: f64,
}

pub(crate) fn run(fleet: &Fleet) -> Result<Analysis, Error> {
    let folder = TempDir::new()?;
    for (name, text) in [
        ("policies.yaml", &fleet.policies),
        ("services.yaml", &fleet.services),
        ("workloads.yaml", &fleet.workloads),
    ] {
        std::fs::write(folder.path().join(name), text)?;
        say(&format!("{name}: {:.1} MB", text.len() as f64 / 1e6));
    }
    say("");
    let (mut seconds, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let said = Command::new("python3")
            .args(["-c", MEASURE, env!("CARGO_BIN_EXE_signet"), "analyze", "-f"])
            .arg(folder.path())
            .output()?;
        let said = String::from_utf8(said.stdout)?;
        let (figures, findings) = said.split_once('\n').ok_or("python3 said nothing")?;
        if !findings.starts_with("Nothing found") {
            let first = findings.lines().next().unwrap_or_default();
            return Err(format!("signet analyze found {first}").into());
        }
        let (took, memory) = figures.split_once(' ').ok_or("python3 gave no figures")?;
        seconds.push(took.parse()?);
        bytes.push(memory.parse()?);
    }
    Ok(Analysis {
        seconds: median(&seconds),
        bytes: median(&bytes),
    })
}
