//! A Signet server in a process of its own, on a folder and ports of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{run, signet, wait_for};

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A YAML configuration, if it takes one.
    pub config: Option<String>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// `signet server run` in place of `signet up`: it makes no root.
    pub without_root: bool,
    /// Variables of its environment, beside those of the test.
    pub environment: Vec<(&'static str, String)>,
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    settings: Settings,
    folder: TempDir,
    /// The facts of `ready.json`.
    pub ready: Value,
}

impl Server {
    /// `signet up` in a new folder with its defaults.
    pub fn up() -> Self {
        Self::start(Settings::default())
    }

    /// `signet up` in a new folder.
    pub fn start(settings: Settings) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self::start_in(folder, settings)
    }

    /// The same in this folder, its data in `data`.
    pub fn start_in(folder: TempDir, settings: Settings) -> Self {
        let data = folder.path().join("data");
        let mut command = server_command(&data, folder.path(), &settings);
        let mut child = command.spawn().expect("signet starts");
        let pid = child.id();
        let log = folder.path().join("log");
        let ready = wait_for("the server to be ready", || {
            if let Some(status) = child.try_wait().expect("a child can be asked") {
                panic!(
                    "signet ended with {status}: {}",
                    std::fs::read_to_string(&log).unwrap_or_default()
                );
            }
            let facts = std::fs::read(data.join("ready.json")).ok()?;
            let facts: Value = serde_json::from_slice(&facts).ok()?;
            (facts["pid"] == pid).then_some(facts)
        });
        Self {
            child,
            settings,
            folder,
            ready,
        }
    }

    /// The folder around the data folder, for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in that folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `--data`.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A fact of `ready.json` that is text: `grpc`, `crl`, `metrics`, `fingerprint`, ...
    pub fn fact(&self, name: &str) -> &str {
        self.ready[name]
            .as_str()
            .unwrap_or_else(|| panic!("ready.json has no {name}"))
    }

    /// `signet ARGUMENTS --data DIR`
    pub fn signet(&self, arguments: &[&str]) -> Command {
        let mut command = signet();
        command.args(arguments).arg("--data").arg(self.data());
        command
    }

    /// A join token for this identity, in a file.
    pub fn token_file(&self, spiffe_id: &str, more: &[&str]) -> PathBuf {
        let path = self.path(&format!("{}.token", spiffe_id.replace([':', '/'], "-")));
        let mut command = self.signet(&["token", "create", "--spiffe-id", spiffe_id]);
        run(command.args(more).arg("--out").arg(&path));
        path
    }

    /// Applies these resources, and returns what `signet apply` said.
    pub fn apply(&self, documents: &str) -> String {
        let file = self.path("applied.yaml");
        std::fs::write(&file, documents).expect("a file");
        run(self.signet(&["apply"]).arg("-f").arg(file))
    }

    /// The certificates that it issued to an identity or a prefix with `*`, oldest first, as `signet cert list` has them.
    pub fn certificates(&self, spiffe_id: &str) -> Vec<Value> {
        let listed = run(&mut self.signet(&["cert", "list", "--spiffe-id", spiffe_id, "-o", "json"]));
        let mut listed: Value = serde_json::from_str(&listed).expect("JSON");
        let mut items: Vec<Value> = std::mem::take(listed["items"].as_array_mut().expect("a list"));
        items.sort_by_key(|item| {
            item["journalPosition"]
                .as_str()
                .and_then(|position| position.parse::<u64>().ok())
        });
        items
    }

    /// Everything that the server wrote to its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The value of a metric with its labels as they are printed; 0 if it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let text = http_get(self.fact("metrics"), "/metrics").1;
        text.lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .find_map(|value| value.parse().ok())
            .unwrap_or(0.0)
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(self) -> (i32, TempDir) {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for the end that a signal began, and returns the exit code.
    pub fn ended(mut self) -> (i32, TempDir) {
        let status = wait_for("the server to drain", || {
            self.child.try_wait().expect("a child can be asked")
        });
        let folder = std::mem::replace(&mut self.folder, TempDir::new().expect("a temporary folder"));
        (status.code().expect("it ended by itself"), folder)
    }

    /// Stops it in order and starts it again on the same folder.
    pub fn restart(self) -> Self {
        let settings = self.settings.clone();
        let (code, folder) = self.terminate();
        assert_eq!(code, 0, "the server did not stop cleanly");
        Self::start_in(folder, settings)
    }

    /// `kill -9`, and started again on the same folder.
    pub fn crash_and_restart(self) -> Self {
        let (folder, settings) = self.kill();
        Self::start_in(folder, settings)
    }

    /// `kill -9`; the folder and what it was started with, to start it again later.
    pub fn kill(mut self) -> (TempDir, Settings) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
        let folder = std::mem::replace(&mut self.folder, TempDir::new().expect("a temporary folder"));
        (folder, self.settings.clone())
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        run(Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on free ports, its log in `FOLDER/log`; for starts that are meant to fail too.
pub fn server_command(data: &Path, folder: &Path, settings: &Settings) -> Command {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .expect("a log file");
    let mut command = signet();
    let verb: &[&str] = if settings.without_root {
        &["server", "run"]
    } else {
        &["up"]
    };
    command.args(verb).arg("--data").arg(data);
    for listener in ["grpc", "crl", "metrics"] {
        let flag = format!("--listen-{listener}");
        if !settings.arguments.contains(&flag) {
            command.args([flag.as_str(), "127.0.0.1:0"]);
        }
    }
    if let Some(config) = &settings.config {
        let path = folder.join("server.yaml");
        std::fs::write(&path, config).expect("a configuration file");
        command.arg("--config").arg(path);
    }
    command.args(&settings.arguments);
    command.envs(settings.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command
}

/// Status and body of a plain HTTP GET.
pub fn http_get(address: &str, path: &str) -> (u16, String) {
    let (status, body) = http_get_bytes(address, path);
    (status, String::from_utf8(body).expect("the body is text"))
}

/// Status and body of a plain HTTP GET.
pub fn http_get_bytes(address: &str, path: &str) -> (u16, Vec<u8>) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("the port is open");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .expect("a request");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("a response");
    let split = response
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a header ends");
    let head = String::from_utf8_lossy(&response[..split]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    assert!(
        !head.to_lowercase().contains("transfer-encoding"),
        "a chunked body is not read here"
    );
    (status.expect("a status"), response[split + 4..].to_vec())
}
