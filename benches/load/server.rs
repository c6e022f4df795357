//! A `signet up` in a process and folder of its own, as its operator and the kernel see it: ready, idle, CPU time, memory.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;
use serde_json::Value;
use tempfile::TempDir;

use super::Error;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often it is looked whether the server is ready: what a start is timed to.
const LOOK: Duration = Duration::from_micros(500);
/// A server that spent no CPU time for so long has nothing left to do: its inventory has caught up.
const QUIET: Duration = Duration::from_millis(300);

/// A server, killed when dropped.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    time_to_ready: Duration,
    /// Where it is called.
    pub(crate) grpc: String,
    metrics: String,
}

impl Server {
    /// In a new folder.
    pub(crate) fn first_start() -> Result<Self, Error> {
        Self::start_in(TempDir::new()?)
    }

    /// In a folder where one ran before.
    pub(crate) fn start_in(folder: TempDir) -> Result<Self, Error> {
        let mut command = signet();
        command.arg("up").arg("--data").arg(folder.path().join("data"));
        for listener in ["grpc", "crl", "metrics"] {
            command.arg(format!("--listen-{listener}")).arg("127.0.0.1:0");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(
            File::options()
                .create(true)
                .append(true)
                .open(folder.path().join("log"))?,
        );
        let ready = folder.path().join("data/ready.json");
        let began = Instant::now();
        let mut child = command.spawn()?;
        while !ready.exists() {
            if child.try_wait()?.is_some() || began.elapsed() > DEADLINE {
                let log = fs::read_to_string(folder.path().join("log"))?;
                return Err(format!("the server does not get ready: {log}").into());
            }
            sleep(LOOK);
        }
        let time_to_ready = began.elapsed();
        let facts: Value = serde_json::from_slice(&fs::read(ready)?)?;
        let fact = |name| Ok::<_, Error>(facts[name].as_str().ok_or("ready.json lacks a fact")?.to_owned());
        Ok(Self {
            child,
            folder,
            time_to_ready,
            grpc: fact("grpc")?,
            metrics: fact("metrics")?,
        })
    }

    /// From the start of the process until `ready.json` was there.
    pub(crate) fn time_to_ready(&self) -> Duration {
        self.time_to_ready
    }

    /// A path beside the data folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the command line against this server.
    pub(crate) fn signet(&self, arguments: &[&OsStr]) -> Result<(), Error> {
        let mut command = signet();
        command.args(arguments).env("SIGNET_DATA", self.path("data"));
        let output = command.output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// CPU time of all its threads, user and system (proc(5), fields 14 and 15).
    pub(crate) fn cpu(&self) -> Result<Duration, Error> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is a name in parentheses and may hold anything.
        let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
        Ok(Duration::from_secs_f64(
            f64::from(ticks) / clock_ticks_per_second() as f64,
        ))
    }

    /// The same once it has nothing left to do.
    pub(crate) fn cpu_when_idle(&self) -> Result<Duration, Error> {
        let mut last = self.cpu()?;
        let began = Instant::now();
        loop {
            sleep(QUIET);
            let now = self.cpu()?;
            if now == last {
                return Ok(now);
            }
            if began.elapsed() > DEADLINE {
                return Err("the server does not come to rest".into());
            }
            last = now;
        }
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<f64, Error> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
            .ok_or("no VmRSS in /proc/PID/status")?;
        Ok(kilobytes.trim().parse::<f64>()? * 1024.0)
    }

    /// The same once it has nothing left to do.
    pub(crate) fn resident_when_idle(&self) -> Result<f64, Error> {
        self.cpu_when_idle()?;
        self.resident()
    }

    /// Nothing was replayed and nothing refused.
    pub(crate) fn all_granted_anew(&self) -> Result<(), Error> {
        let mut stream = TcpStream::connect(&self.metrics)?;
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.metrics
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let counters: Vec<(&str, f64)> = text
            .lines()
            .filter(|line| {
                line.starts_with("signet_replays_total") || line.starts_with("signet_refusals_total")
            })
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| Ok((name, value.parse()?)))
            .collect::<Result<_, Error>>()?;
        if counters.len() < 2 {
            return Err("/metrics has no counters of replays and refusals".into());
        }
        match counters.iter().find(|(_, count)| *count > 0.0) {
            Some((name, count)) => Err(format!("{name} is {count}, expected 0").into()),
            None => Ok(()),
        }
    }

    /// SIGTERM, and the end. Returns its folder.
    pub(crate) fn stop(mut self) -> Result<TempDir, Error> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("the server ended with {status}").into());
        }
        let empty = TempDir::new()?;
        Ok(std::mem::replace(&mut self.folder, empty))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn signet() -> Command {
    Command::new(env!("CARGO_BIN_EXE_signet"))
}
