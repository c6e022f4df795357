//! docs/FAULTS.md: each test that it names exists, and each row says something.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::repository;

/// Source files of a folder and all below it.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with(".git") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Names of functions that are tests: by their attribute, or as a case of a suite that a macro runs (`module::case,`).
fn tests(text: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
            return None;
        }
        let function = line
            .strip_prefix("async fn ")
            .or_else(|| line.strip_prefix("fn "))
            .and_then(|rest| rest.split(['(', '<']).next());
        if let Some(function) = function {
            return std::mem::take(&mut marked).then_some(function);
        }
        let case = line.strip_suffix(',')?.split_once("::")?.1;
        case.chars()
            .all(|c| c.is_alphanumeric() || c == '_')
            .then_some(case)
    })
}

/// Whether a file may hold what `package::module::...::test` names.
fn lies_in(file: &Path, package: &str, module: &str) -> bool {
    let file = file
        .strip_prefix(repository(""))
        .expect("a file of the repository");
    let file = file.with_extension("");
    let parts: Vec<_> = file.iter().map(|part| part.to_string_lossy()).collect();
    let of_package = match package {
        "it" => parts[0] == "tests",
        "signet" => parts[0] == "src",
        other => parts.iter().take(2).any(|part| part == other),
    };
    of_package && parts.iter().any(|part| part == module)
}

#[test]
fn every_test_that_the_fault_table_names_exists_and_no_row_is_empty() {
    let mut files = Vec::new();
    sources(&repository(""), &mut files);
    let table = std::fs::read_to_string(repository("docs/FAULTS.md")).expect("the table");
    let texts: Vec<(PathBuf, String)> = files
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).expect("text");
            (file, text)
        })
        .collect();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let (mut named, mut missing) = (BTreeSet::new(), Vec::new());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, _, tests_of_row] = cells.as_slice() else {
            panic!("a row has three cells: {row}");
        };
        if *tests_of_row == "not yet" {
            continue;
        }
        let names: Vec<&str> = tests_of_row.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "a row without a test: {row}");
        for name in names {
            let parts: Vec<&str> = name.split("::").collect();
            let [package, module, .., function] = parts.as_slice() else {
                panic!("expected package::module::test, found {name}");
            };
            let mut files = texts.iter().filter(|(file, _)| lies_in(file, package, module));
            if !files.any(|(_, text)| tests(text).any(|test| test == *function)) {
                missing.push(name.to_owned());
            }
            named.insert(name.to_owned());
        }
    }
    assert!(
        missing.is_empty(),
        "named in docs/FAULTS.md and not there: {missing:#?}"
    );
    assert!(named.len() > 50, "the table names {} tests", named.len());
}
