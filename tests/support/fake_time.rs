//! A wall clock that a test sets while a program runs, by libfaketime. It fakes the calls of libc, so the
//! program's boot-time clock, which is read by system call, stays true, as it does when a machine's clock is
//! set.

use std::path::{Path, PathBuf};

/// The wall clock of the programs that run in its environment.
pub struct FakeTime {
    file: PathBuf,
}

impl FakeTime {
    /// It differs by `offset` from the true time; the offset is kept in this folder.
    pub fn new(folder: &Path, offset: &str) -> Self {
        let time = Self {
            file: folder.join("offset"),
        };
        time.set(offset);
        time
    }

    /// Sets the wall clock: `+0`, `+3d`, `-1h`.
    pub fn set(&self, offset: &str) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, offset).expect("a file");
        std::fs::rename(&next, &self.file).expect("a file replaced as a whole");
    }

    /// For [`super::Settings::environment`].
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let file = self.file.to_str().expect("a path in UTF-8").to_owned();
        vec![
            ("LD_PRELOAD", library()),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }
}

/// Where Debian's package `faketime` has it, for the architecture of this machine.
fn library() -> String {
    let architecture = std::env::consts::ARCH;
    let path = format!("/usr/lib/{architecture}-linux-gnu/faketime/libfaketimeMT.so.1");
    assert!(
        Path::new(&path).exists(),
        "{path} is missing; .ci/need installs it"
    );
    path
}
