//! Python with the foreign judges that the tests need, in an environment of its own below the target folder.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::run;

const PACKAGES: [&str; 4] = [
    "grpcio==1.85.1",
    "grpcio-status==1.85.1",
    "grpcio-tools==1.85.1",
    "cryptography==50.0.2",
];

/// A Python that can import grpc, grpc_status, grpc_tools and cryptography; installed at the first use.
pub fn python() -> Command {
    static INSTALLED: OnceLock<std::path::PathBuf> = OnceLock::new();
    let python = INSTALLED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
        let lock = File::create(folder.with_extension("lock")).expect("a lock file");
        lock.lock().expect("other test processes let go of it");
        let python = folder.join("bin/python");
        let done = folder.join("installed");
        let wanted = PACKAGES.join("\n");
        if std::fs::read_to_string(&done).ok().as_deref() != Some(&wanted) {
            run(Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&folder));
            run(Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(PACKAGES));
            std::fs::write(&done, wanted).expect("a note of what is installed");
        }
        python
    });
    Command::new(python)
}
