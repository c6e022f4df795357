//! The house: which crate may see which, and the few rules of style that no lint knows. docs/ARCHITECTURE.md has the table in words.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{repository, run};

/// A crate: the floor it stands on, those of ours it may see, and what it must not link.
struct Room {
    name: &'static str,
    floor: u8,
    uses: &'static [&'static str],
    never: &'static [&'static str],
}

/// Crates that open sockets, or speak over them.
const NETWORK: &[&str] = &[
    "async-io",
    "axum",
    "curl",
    "h2",
    "hyper",
    "hyper-util",
    "mio",
    "quinn",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tokio-rustls",
    "tonic",
    "tower",
    "ureq",
];

#[rustfmt::skip]
const ROOMS: &[Room] = &[
    Room { name: "identity", floor: 0, uses: &[], never: &["tokio", "tonic", "rcgen", "rustls"] },
    Room { name: "proto", floor: 1, uses: &["identity"], never: &["rcgen", "rustls", "sled"] },
    Room { name: "resources", floor: 1, uses: &["identity"], never: &["tokio", "tonic", "rcgen"] },
    Room { name: "journal", floor: 1, uses: &[], never: &["tokio", "tonic", "rcgen", "sled"] },
    Room { name: "issuance", floor: 2, uses: &["identity"], never: &["tokio", "tonic", "rcgen", "sled"] },
    Room { name: "policy", floor: 2, uses: &["identity", "resources"], never: &["tokio", "tonic", "rcgen"] },
    Room { name: "runtime", floor: 2, uses: &[], never: &["tonic", "rcgen", "sled"] },
    Room { name: "client-lib", floor: 3, uses: &["identity", "proto"], never: &["sled"] },
    Room {
        name: "ca-server", floor: 4, uses: &["identity", "proto", "resources", "issuance", "journal", "policy", "runtime"],
        never: &["rcgen"],
    },
    Room { name: "root-ca", floor: 4, uses: &["identity", "issuance"], never: NETWORK },
    Room {
        name: "signet", floor: 5,
        uses: &["identity", "proto", "resources", "issuance", "journal", "policy", "runtime", "client-lib", "ca-server"],
        never: &[],
    },
];

/// Longest a source file may be.
const MOST_LINES: usize = 500;

#[test]
fn every_crate_sees_only_crates_on_floors_below_it_and_none_that_it_must_not() {
    for room in ROOMS {
        for used in room.uses {
            assert!(
                of_name(used).floor < room.floor,
                "{} is to see {used}, which is not below it",
                room.name
            );
        }
        let seen = linked(room.name, &[]);
        for other in ROOMS.iter().filter(|other| other.name != room.name) {
            assert!(
                !seen.contains(other.name) || room.uses.contains(&other.name),
                "{} links {}",
                room.name,
                other.name
            );
        }
        for forbidden in room.never {
            assert!(!seen.contains(*forbidden), "{} links {forbidden}", room.name);
        }
    }
}

#[test]
fn the_document_of_the_architecture_shows_the_same_floors() {
    let document = text("docs/ARCHITECTURE.md");
    for room in ROOMS {
        let begin = format!("| {} | {} | ", room.name, room.floor);
        let row = document.lines().find(|line| line.starts_with(&begin));
        let row = row.unwrap_or_else(|| panic!("no row begins with {begin}"));
        let shown = room
            .uses
            .iter()
            .chain(if room.name == "root-ca" { &[] } else { room.never });
        for name in shown {
            assert!(
                row.contains(name),
                "the row of {} does not name {name}",
                room.name
            );
        }
    }
}

#[test]
fn every_crate_of_the_workspace_has_its_floor_and_is_tested_by_default() {
    let metadata = run(cargo().args(["metadata", "--no-deps", "--format-version", "1"]));
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list");
    let names: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(names, ROOMS.iter().map(|room| room.name).collect());

    let ids = |field: &str| -> BTreeSet<String> {
        let members = metadata[field].as_array().expect("a list");
        members.iter().map(ToString::to_string).collect()
    };
    assert_eq!(ids("workspace_default_members"), ids("workspace_members"));
}

#[test]
fn the_off_line_program_links_nothing_that_opens_a_socket() {
    let seen = run(cargo()
        .args(["tree", "--package", "root-ca", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p} {f}"]));
    let rustix = seen.lines().find(|line| line.starts_with("rustix "));
    let features = rustix
        .and_then(|line| line.split_whitespace().last())
        .unwrap_or_default();
    assert!(
        features.split(',').all(|feature| feature != "net"),
        "root-ca has the sockets of rustix: {features}"
    );
}

#[test]
fn without_grpc_the_client_library_is_fit_for_devices() {
    let seen = linked("client-lib", &["--no-default-features"]);
    for forbidden in ["tonic", "proto", "prost", "issuance"] {
        assert!(
            !seen.contains(forbidden),
            "client-lib without grpc links {forbidden}"
        );
    }
}

#[test]
fn unsafe_code_is_forbidden_and_the_lints_stand_once_for_all() {
    let root = text("Cargo.toml");
    assert!(root.contains("\n[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
    for manifest in files("toml").iter().filter(|path| path.ends_with("Cargo.toml")) {
        let manifest_text = std::fs::read_to_string(manifest).expect("a readable file");
        assert!(
            manifest_text.contains("\n[lints]\nworkspace = true\n"),
            "{} has lints of its own, or none",
            manifest.display()
        );
    }
}

#[test]
fn files_are_short_say_what_they_are_for_and_leave_nothing_undone() {
    let undone = [["TO", "DO"].concat(), ["FIX", "ME"].concat()];
    let vague = [
        "manager",
        "helper",
        "helpers",
        "util",
        "utils",
        "processor",
        "common",
        "core",
        "info",
    ];
    let sources = files("rs");
    assert!(sources.len() > 100, "only {} files were found", sources.len());
    for path in sources {
        let source = std::fs::read_to_string(&path).expect("a readable file");
        let path = path.display();
        let lines = source.lines().count();
        assert!(
            lines <= MOST_LINES,
            "{path} has {lines} lines, expected at most {MOST_LINES}"
        );
        assert!(source.starts_with("//! "), "{path} does not say what it is for");
        for word in &undone {
            assert!(!source.contains(word.as_str()), "{path} says {word}");
        }
        let stem = Path::new(&path.to_string())
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        assert!(
            !vague.contains(&stem.unwrap_or_default().as_str()),
            "{path} has a name that says nothing"
        );
    }
}

/// The one file that reads the wall clock, through `identity::SystemClock`.
const WALL_CLOCK: &str = "crates/identity/src/clock.rs";

/// The one file of the server that names that clock: all else there asks the clock that knows of disputes.
const SERVER_CLOCK: &str = "ca-server/src/clock/os.rs";

/// Programs and files for tests, which may read it.
const TEST_CODE: &[&str] = &[
    "/tests/",
    "/tests.rs",
    "/benches/",
    "/bench.rs",
    "client-lib/src/fake",
    "client-lib/examples/",
];

#[test]
fn the_wall_clock_is_read_in_one_place() {
    let readings = [
        "OffsetDateTime::now_utc",
        "OffsetDateTime::now_local",
        "UtcDateTime::now",
        "SystemTime::now",
        "UNIX_EPOCH.elapsed",
        "UnixTime::now",
        "Utc::now",
        "Local::now",
        "ClockId::Realtime",
        "gettimeofday",
    ];
    for path in files("rs") {
        let relative = path.strip_prefix(repository("")).expect("it is below").display();
        let relative = format!("/{relative}");
        if relative.ends_with(WALL_CLOCK) || TEST_CODE.iter().any(|part| relative.contains(part)) {
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a readable file");
        let shipped = source
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for reading in readings {
            assert!(
                !shipped.contains(reading),
                "{relative} has {reading}, expected a `Clock` or `SystemClock`"
            );
        }
        let is_of_server = relative.starts_with("/ca-server/") && !relative.ends_with(SERVER_CLOCK);
        assert!(
            !(is_of_server && shipped.contains("SystemClock")),
            "{relative} believes the wall clock, expected the server's clock"
        );
    }
}

fn of_name(name: &str) -> &'static Room {
    let room = ROOMS.iter().find(|room| room.name == name);
    room.unwrap_or_else(|| panic!("{name} has no floor"))
}

/// The crates that this one links, itself among them. `cargo tree` and not `cargo metadata`: that one unifies the features of the
/// whole workspace and would blame the innocent.
fn linked(package: &str, more: &[&str]) -> BTreeSet<String> {
    let tree = run(cargo()
        .args([
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
        ])
        .args(more));
    let names: BTreeSet<String> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    assert!(names.contains(package), "cargo tree shows no {package}: {tree}");
    names
}

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).expect("a readable file")
}

/// All files of the repository that end so, but for what is built and what is hidden.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository("")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found
}
