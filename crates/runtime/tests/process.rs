//! A whole process, from its start to its end: this test binary starts itself again as a small program built from every part of the crate,
//! and sends it real signals.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests, too")]

use runtime::drain::{DEADLINE, Drain, Hangups, Outcome};
use runtime::instance::InstanceFolder;
use runtime::listen::{bind, parse_address, unix_socket};
use runtime::logs::{AuditLog, Format};
use runtime::readiness::Readiness;
use runtime::ready::ReadyFile;
use runtime::{http, logs, metrics, notify};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::error::Error;
use std::fs;
use std::io::{PipeReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Tells this binary to be the program, and which folder is its own.
const FOLDER: &str = "RUNTIME_TEST_FOLDER";

/// Where set, the program holds a guard that it never drops.
const STUCK: &str = "RUNTIME_TEST_STUCK";

#[test]
fn the_program_itself() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let done = runtime.block_on(program(Path::new(&folder)));
        logs::flush(Duration::from_secs(1));
        if let Err(error) = done {
            eprintln!("error: {error}");
            std::process::exit(1);
        }
    }
}

async fn program(folder: &Path) -> Result<(), Box<dyn Error>> {
    logs::start(Format::Text, None)?;
    let folder = InstanceFolder::claim(folder)?;
    let keys = folder.subfolder("keys", 0o700)?;
    let (readiness, drain) = (Readiness::new(), Drain::new());
    drain.on_signals()?;
    let mut hangups = Hangups::listen()?;
    let work = readiness.condition("work");
    tokio::spawn(notify::follow(readiness.clone(), drain.clone()));

    let flag = "--listen-metrics";
    let listener = bind(flag, parse_address(flag, "127.0.0.1:0")?)?;
    let address = listener.local_addr()?;
    let router = metrics::router(metrics::registry("0.1.0"), readiness.clone(), drain.clone());
    tokio::spawn(http::serve(listener, router, drain.clone()));
    let (_listener, admin) = unix_socket(&folder.join("admin.sock"), 0o600, &keys)?;
    let audit = AuditLog::file(&folder.join("audit.log"))?;

    work.set_ready();
    readiness.ready().await;
    let facts = json!({ "pid": std::process::id(), "metrics": address, "adminSocket": admin.path() });
    let ready = ReadyFile::publish(&folder, &facts)?;
    let _stuck = std::env::var_os(STUCK).map(|_| drain.guard());
    loop {
        tokio::select! {
            () = drain.begun() => break,
            () = hangups.next() => {
                audit.reopen()?;
                audit.write(&json!({ "event": "reopened" }))?;
                work.set_not_ready("was hung up");
                work.set_ready();
            }
        }
    }
    drop(ready);
    match drain.finish(DEADLINE).await {
        Outcome::AllEnded => Ok(()),
        Outcome::Cut { left } => Err(format!("{left} left").into()),
    }
}

/// Ended by its destructor if a test fails half-way.
struct Program(Option<Child>);

impl Program {
    fn start(folder: &Path, variables: &[(&str, &Path)]) -> Self {
        Self::run(Command::new(std::env::current_exe().unwrap()), folder, variables)
    }

    /// With a stderr that is full and never read. The reading end has to be kept.
    fn start_unread(folder: &Path, variables: &[(&str, &Path)]) -> (Self, PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut filling = writer.try_clone().unwrap();
        // It ends with the reading end.
        std::thread::spawn(move || while filling.write_all(&[b'x'; 4096]).is_ok() {});
        let command = Command::new(std::env::current_exe().unwrap());
        (Self::spawn(command, folder, variables, writer.into()), reader)
    }

    fn run(command: Command, folder: &Path, variables: &[(&str, &Path)]) -> Self {
        Self::spawn(command, folder, variables, Stdio::piped())
    }

    fn spawn(mut command: Command, folder: &Path, variables: &[(&str, &Path)], stderr: Stdio) -> Self {
        let child = command
            .args(["--exact", "the_program_itself", "--nocapture"])
            .env_remove("NOTIFY_SOCKET")
            .env(FOLDER, folder)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self(Some(child))
    }

    fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The exit code, in time.
    fn ended(mut self) -> Option<i32> {
        let child = self.0.as_mut().unwrap();
        wait_for("the end", || child.try_wait().unwrap()).code()
    }

    /// Exit status and stderr.
    fn end(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(met) = condition() {
            return met;
        }
        assert!(begun.elapsed() < PATIENCE, "no {what} within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ready(folder: &Path) -> Value {
    wait_for("ready.json", || {
        let text = fs::read(folder.join("ready.json")).ok()?;
        Some(serde_json::from_slice(&text).expect("it appears whole"))
    })
}

fn readyz(facts: &Value) -> String {
    let mut stream = TcpStream::connect(facts["metrics"].as_str().unwrap()).unwrap();
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn sigterm_and_sigint_drain_with_exit_code_0_and_leave_no_trace() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let program = Program::start(dir.path(), &[]);
        let facts = ready(dir.path());
        assert_eq!(facts["pid"], program.pid());
        assert!(readyz(&facts).starts_with("HTTP/1.1 200"));
        program.signal(signal);
        let output = program.end();
        assert!(output.status.success(), "{output:?}");
        for gone in ["ready.json", "admin.sock"] {
            assert!(!dir.path().join(gone).exists(), "{gone}");
        }
    }
}

#[test]
fn a_strict_umask_does_not_change_the_modes() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap());
    let _program = Program::run(command, &data, &[]);
    ready(&data);
    for (name, mode) in [
        ("", 0o755),
        ("ready.json", 0o644),
        ("keys", 0o700),
        ("admin.sock", 0o600),
    ] {
        let found = fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{name} has {found:o}");
    }
}

#[test]
fn a_drain_takes_ready_json_away_and_turns_readyz_and_a_second_signal_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path(), &[(STUCK, Path::new("1"))]);
    let facts = ready(dir.path());
    program.signal(Signal::TERM);
    wait_for("removal of ready.json", || {
        (!dir.path().join("ready.json").exists()).then_some(())
    });
    assert!(readyz(&facts).starts_with("HTTP/1.1 503"));
    program.signal(Signal::INT);
    assert_eq!(program.end().status.code(), Some(130));
}

#[test]
fn a_log_that_is_not_read_holds_up_neither_the_start_nor_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (program, _unread) = Program::start_unread(dir.path(), &[]);
    let facts = ready(dir.path());
    assert!(readyz(&facts).starts_with("HTTP/1.1 200"));
    program.signal(Signal::TERM);
    assert_eq!(program.ended(), Some(0));

    let (program, _unread) = Program::start_unread(dir.path(), &[(STUCK, Path::new("1"))]);
    let pid = program.pid();
    wait_for("the facts of the second", || {
        (ready(dir.path())["pid"] == pid).then_some(())
    });
    program.signal(Signal::TERM);
    wait_for("removal of ready.json", || {
        (!dir.path().join("ready.json").exists()).then_some(())
    });
    program.signal(Signal::TERM);
    assert_eq!(program.ended(), Some(143));
}

#[test]
fn a_second_process_fails_with_the_pid_of_the_first_and_a_killed_one_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let first = Program::start(dir.path(), &[]);
    ready(dir.path());
    let output = Program::start(dir.path(), &[]).end();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("pid {},", first.pid())), "{said}");

    first.signal(Signal::KILL);
    first.end();
    let third = Program::start(dir.path(), &[]);
    let pid = third.pid();
    wait_for("the facts of the third", || {
        (ready(dir.path())["pid"] == pid).then_some(())
    });
}

#[test]
fn sighup_opens_the_audit_log_again() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path(), &[]);
    ready(dir.path());
    let log = dir.path().join("audit.log");
    fs::rename(&log, dir.path().join("audit.log.1")).unwrap();
    program.signal(Signal::HUP);
    let line = wait_for("line in the new file", || {
        fs::read_to_string(&log).ok().filter(|text| text.ends_with('\n'))
    });
    assert_eq!(line, "{\"event\":\"reopened\"}\n");
}

#[test]
fn systemd_hears_ready_once_then_stopping_and_the_watchdog() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("a message in time");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let limit = Path::new("20000");
    let program = Program::start(
        &dir.path().join("data"),
        &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", limit)],
    );
    let mut messages = Vec::new();
    while messages.iter().filter(|m| *m == "WATCHDOG=1\n").count() < 3
        || !messages.iter().any(|m: &String| m.contains("READY=1"))
    {
        messages.push(heard());
    }
    program.signal(Signal::HUP);
    messages.push(String::new());
    while !messages.last().unwrap().contains("STATUS=ready") {
        messages.push(heard());
    }
    program.signal(Signal::TERM);
    while !messages.last().unwrap().contains("STOPPING=1") {
        messages.push(heard());
    }
    assert!(program.end().status.success());
    let ready: Vec<_> = messages.iter().filter(|m| m.contains("READY=1")).collect();
    assert_eq!(ready, ["READY=1\nSTATUS=ready\n"]);
}
