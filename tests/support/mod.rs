//! What the tests share: servers and commands in processes of their own, and waiting for a condition with a deadline.

mod admin;
mod background;
mod caller;
mod ceremony;
mod company;
mod fake_time;
mod faulty_disk;
pub mod issuer;
mod mesh;
mod openssl;
mod python;
mod server;
mod wanted;
pub mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub use admin::Admin;
pub use background::Background;
pub use caller::{Caller, Refused, leaf_of};
pub use ceremony::{root_ca_sign, server_under_root};
pub use company::{Company, Order, POLICY_PROFILE};
pub use fake_time::FakeTime;
pub use faulty_disk::{Fault, FaultyDisk};
pub use mesh::Mesh;
pub use openssl::{AUTHORITY_PROFILE, OpensslRoot, REQUEST, openssl};
pub use python::python;
pub use server::{Server, Settings, http_get, http_get_bytes, server_command};
pub use wanted::{Wanted, ask_openssl, certificate_text, serial_of};
pub use wire::Wire;

/// How long anything may take that is not expected to take long.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The `signet` command under test.
pub fn signet() -> Command {
    Command::new(env!("CARGO_BIN_EXE_signet"))
}

/// Another program of this workspace, `root-ca` or an example of client-lib (`examples/echo_server`), built at its first use.
pub fn program(name: &str) -> Command {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args([
                "build",
                "--quiet",
                "--workspace",
                "--bin",
                "root-ca",
                "--examples",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        // What cargo tells a test of its package: ring's build script would take it for a change, and all be built twice.
        for (name, _) in std::env::vars_os() {
            let is_of_package = |prefix| name.to_str().is_some_and(|name| name.starts_with(prefix));
            if ["CARGO_MANIFEST_", "CARGO_PKG_"].into_iter().any(is_of_package) {
                cargo.env_remove(&name);
            }
        }
        let built = cargo.status().expect("cargo runs");
        assert!(built.success(), "the programs do not build");
    });
    let path = Path::new(env!("CARGO_BIN_EXE_signet"))
        .parent()
        .expect("a program lies in a folder")
        .join(name);
    Command::new(path)
}

/// Runs a command to its end and returns stdout; a failure shows everything it said.
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{command:?} failed: {}", said(&output));
    // `openssl s_client` prints what the server sends, the first frame of HTTP/2 too if that comes in time.
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command that must fail, and returns its exit code and stderr.
pub fn fails(command: &mut Command) -> (i32, String) {
    let output = command.output().expect("the program starts");
    assert!(
        !output.status.success(),
        "{command:?} succeeded: {}",
        said(&output)
    );
    let code = output.status.code().expect("it was not killed");
    (code, String::from_utf8(output.stderr).expect("stderr is text"))
}

/// Both streams of an ended program.
pub fn said(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Asks until there is an answer, or panics with `what` after [`DEADLINE`].
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited {DEADLINE:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
