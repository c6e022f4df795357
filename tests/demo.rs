//! The demo that newcomers play, and that it fails where a step does not do what it says.

use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use crate::support::{program, python, repository, said};

const SCRIPT: &str = "docs/demo/identity.sh";

#[test]
fn the_demo_shows_what_it_says_within_ninety_seconds() {
    let stage = Stage::new();
    let output = stage.play(&repository(SCRIPT));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let shown = String::from_utf8(output.stdout).expect("the demo prints text");
    let last = shown.lines().last().expect("the demo says something");
    let seconds: u32 = last
        .strip_prefix("shown in ")
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("the last line is {last:?}"));
    assert!(seconds < 90, "{last}");
    for total in ["certificates issued", "with 0 failures", "records, all whole"] {
        assert!(last.contains(total), "{last}");
    }
}

#[test]
fn the_demo_fails_when_the_thief_is_let_in() {
    let stage = Stage::new();
    let output = stage.play_with("--key thief.key", "--key productpage/svid_key.pem");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(
        shown.contains("\nlet in\n\nFAILED: exit code 0, expected a refusal, 1"),
        "{shown}"
    );
}

#[test]
fn the_demo_fails_when_the_bytes_stop_for_two_seconds() {
    let stage = Stage::new();
    let pause = "kill -STOP ${pids[productpage]}; sleep 2.5; kill -CONT ${pids[productpage]}";
    let chapter = "chapter \"4.";
    let output = stage.play_with(chapter, &format!("{pause}\n{chapter}"));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("\nFAILED: a second passed in which"), "{shown}");
}

/// A folder for everything that one play makes.
struct Stage(TempDir);

impl Stage {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    /// Plays the script with one change.
    fn play_with(&self, from: &str, to: &str) -> Output {
        let script = std::fs::read_to_string(repository(SCRIPT)).expect("the demo");
        assert_eq!(script.matches(from).count(), 1, "{from} is not there once");
        let copy = TempDir::new().expect("a temporary folder");
        let path = copy.path().join("identity.sh");
        std::fs::copy(repository(SCRIPT), &path).expect("a copy that can be run");
        std::fs::write(&path, script.replace(from, to)).expect("the change");
        std::os::unix::fs::symlink(
            repository("docs/demo/proxy_csr.py"),
            copy.path().join("proxy_csr.py"),
        )
        .expect("the proxy beside it");
        self.play(&path)
    }

    /// Plays a script to its end; nothing may stay, neither files nor processes.
    fn play(&self, script: &Path) -> Output {
        let impostor = PathBuf::from(program("examples/impostor").get_program());
        let programs = impostor.ancestors().nth(2).expect("a folder of programs");
        let output = std::process::Command::new(script)
            .arg(programs)
            .env("TMPDIR", self.0.path())
            .env("SIGNET_DEMO_PYTHON", python().get_program())
            .output()
            .expect("the demo starts");
        let left: Vec<_> = std::fs::read_dir(self.0.path()).expect("the stage").collect();
        assert!(left.is_empty(), "left behind: {left:?}\n{}", said(&output));
        let running = self.processes();
        assert!(running.is_empty(), "left running: {running:?}\n{}", said(&output));
        output
    }

    /// Processes that work in this folder.
    fn processes(&self) -> Vec<PathBuf> {
        std::fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok())
            .filter(|folder| folder.starts_with(self.0.path()))
            .collect()
    }
}
