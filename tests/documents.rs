//! What the documents say is true: the numbers of the issuing cycle, the reasons, the crates and their floors, the links, and the
//! commands of the README.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use identity::Reason;
use proto::Refusal;

use crate::support::{program, repository, run, signet};

const DOCUMENTS: [&str; 12] = [
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/ANALYSIS.md",
    "docs/ARCHITECTURE.md",
    "docs/CONFIGURATION.md",
    "docs/FAULTS.md",
    "docs/ISSUANCE.md",
    "docs/OBSERVABILITY.md",
    "docs/PERFORMANCE.md",
    "docs/REASONS.md",
    "docs/RESOURCES.md",
];

#[test]
fn the_steps_of_issuing_have_the_same_numbers_and_names_in_code_and_document() {
    let code = steps(&text("ca-server/src/authority/issue.rs"), "// ");
    let document = steps(&text("docs/ISSUANCE.md"), "## ");
    assert_eq!(
        code.keys().copied().collect::<Vec<_>>(),
        (1..=9).collect::<Vec<_>>()
    );
    assert_eq!(code, document);
}

#[test]
fn every_listed_use_of_an_authority_key_is_there() {
    let document = text("docs/ISSUANCE.md");
    let code = text("crates/issuance/src/authority.rs") + &text("crates/issuance/src/root.rs");
    let uses: Vec<&str> = rows(&document)
        .filter_map(|cells| cells.get(1)?.strip_suffix('`'))
        .collect();
    let uses: Vec<&str> = uses
        .iter()
        .filter_map(|name| name.split_once("::"))
        .map(|(_, name)| name)
        .collect();
    assert_eq!(uses.len(), 5, "{uses:?}");
    for name in uses {
        assert!(
            code.contains(&format!("pub fn {name}(")),
            "issuance has no {name}"
        );
    }
}

#[test]
fn every_reason_is_explained_with_its_kind_and_code() {
    let document = text("docs/REASONS.md");
    let mut explained: Vec<&str> = Vec::new();
    for cells in rows(&document).filter(|cells| cells.len() == 5) {
        let word = cells[0].trim_matches('`');
        let reason = Reason::from_word(word).unwrap_or_else(|| panic!("{word} is no reason"));
        assert_eq!(cells[1], reason.kind().word(), "kind of {word}");
        let code = format!("{:?}", Refusal::new(reason, "").to_status().code());
        assert_eq!(cells[2].replace('_', ""), code.to_uppercase(), "code of {word}");
        explained.push(word);
    }
    let mut all: Vec<&str> = Reason::ALL.iter().map(|reason| reason.word()).collect();
    explained.sort_unstable();
    all.sort_unstable();
    assert_eq!(explained, all);
}

#[test]
fn documents_link_only_to_files_that_are_there() {
    let mut links = 0;
    for name in DOCUMENTS.iter().filter(|name| repository(name).exists()) {
        let document = text(name);
        for link in document
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.starts_with("https://") {
                continue;
            }
            let folder = repository(name).parent().map(Path::to_owned).unwrap_or_default();
            assert!(
                folder.join(file).exists(),
                "{name} links to {link}, which is not there"
            );
            links += 1;
        }
    }
    assert!(links > 10, "only {links} links were found");
}

#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let readme = text("README.md");
    let blocks: Vec<&str> = readme
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .filter(|block| !block.starts_with("make "))
        .collect();
    let [quick_start, off_line] = blocks.as_slice() else {
        panic!(
            "expected two blocks of commands beside make, found {}",
            blocks.len()
        );
    };
    let said = play(quick_start, folder.path());
    assert!(said.contains("web/svid.pem: OK"), "{said}");
    assert!(said.contains("the record is whole"), "{said}");
    let said = play(off_line, folder.path());
    assert!(said.contains("no socket"), "{said}");
    assert!(folder.path().join("root/root.pem").exists());
}

/// Runs commands as they stand, on any free ports; the first that fails ends it.
fn play(commands: &str, folder: &Path) -> String {
    let of = |command: &Command| Path::new(command.get_program()).parent().map(Path::to_owned);
    let programs = [of(&signet()), of(&program("root-ca"))].into_iter().flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(programs.chain(std::env::split_paths(&path))).expect("a path");
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c"])
        .arg(format!(
            "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{commands}"
        ))
        .current_dir(folder)
        .env("PATH", path);
    for listener in ["GRPC", "CRL", "METRICS"] {
        bash.env(format!("SIGNET_LISTEN_{listener}"), "127.0.0.1:0");
    }
    run(&mut bash)
}

/// Number and name of each line like `## 4. Authorize` or `// 4. Authorize: ...`.
fn steps(text: &str, mark: &str) -> BTreeMap<u8, String> {
    let mut steps = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.trim().strip_prefix(mark)) {
        let Some((number, rest)) = line.split_once(". ") else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        let name = rest
            .split(['.', ':'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        let before = steps.insert(number, name);
        assert_eq!(before, None, "step {number} stands there twice");
    }
    steps
}

/// The cells of each table row, but for heads.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    let rows: Vec<Vec<&str>> = (0..lines.len())
        .filter(|i| {
            lines[*i].starts_with("| ") && !lines.get(i + 1).is_some_and(|next| next.starts_with("|---"))
        })
        .map(|i| lines[i].trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    rows.into_iter()
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).expect("a readable file")
}
