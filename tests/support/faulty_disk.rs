//! A disk that hangs, is full, is read-only or lies, under one path of a server: `faulty_disk.c`, compiled at
//! its first use, in `LD_PRELOAD`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{Settings, repository, run};

/// How the disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Writes and syncs do not return.
    Hang,
    /// `ENOSPC`.
    Full,
    /// `EROFS`.
    ReadOnly,
    /// Writes claim more bytes than they were given, at which the standard library panics.
    Lie,
}

/// The disk below one path in a test's folder.
pub struct FaultyDisk {
    control: PathBuf,
    below: PathBuf,
    synced: PathBuf,
}

impl FaultyDisk {
    /// Of what lies below `folder`/`path`. It is sound at first.
    pub fn new(folder: &Path, path: &str) -> Self {
        let folder = folder.canonicalize().expect("a folder");
        Self {
            control: folder.join("disk"),
            below: folder.join(path),
            synced: folder.join("synced"),
        }
    }

    /// The settings of a server on this disk.
    pub fn under(&self, settings: Settings) -> Settings {
        let environment = [
            ("LD_PRELOAD", library()),
            ("FAULTY_DISK_DIR", self.below.as_path()),
            ("FAULTY_DISK_CONTROL", &self.control),
            ("FAULTY_DISK_SYNCED", &self.synced),
        ];
        let environment = environment.map(|(name, path)| (name, path.display().to_string()));
        Settings {
            environment: environment.to_vec(),
            ..settings
        }
    }

    /// From now on it behaves like this; what hangs fails so, if it does.
    pub fn set(&self, fault: Fault) {
        self.write(match fault {
            Fault::Hang => "hang",
            Fault::Full => "full",
            Fault::ReadOnly => "readonly",
            Fault::Lie => "lie",
        });
    }

    /// It works again.
    pub fn heal(&self) {
        self.write("");
    }

    /// The folders that were synced so far.
    pub fn synced(&self) -> Vec<PathBuf> {
        let text = std::fs::read_to_string(&self.synced).unwrap_or_default();
        text.lines().map(PathBuf::from).collect()
    }

    /// By rename, so that no half of a word is read.
    fn write(&self, word: &str) {
        let unfinished = self.control.with_extension("new");
        std::fs::write(&unfinished, word).expect("a file");
        std::fs::rename(unfinished, &self.control).expect("a file in its place");
    }
}

impl Drop for FaultyDisk {
    /// A server that hangs can be killed only by a signal that it does not see; this lets it go on.
    fn drop(&mut self) {
        // The folder may be gone already.
        let _ = std::fs::remove_file(&self.control);
    }
}

fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faulty_disk.so");
        let lock = File::create(path.with_extension("lock")).expect("a lock file");
        lock.lock().expect("other test processes let go of it");
        let unfinished = path.with_extension("new");
        run(Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&unfinished)
            .arg(repository("tests/support/faulty_disk.c"))
            .arg("-ldl"));
        std::fs::rename(&unfinished, &path).expect("a file in its place");
        path
    })
}
