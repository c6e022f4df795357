//! Files, folders and standard input to documents, each with the file that it stands in.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use resources::{Document, ResourceError};

use crate::failure::{Failure, Place};

/// Longest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A valid document and the file that it stands in.
pub(crate) struct Written {
    pub(crate) file: String,
    pub(crate) document: Document,
}

/// All documents of these files, folders and standard input; all faults are told.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<Written>, Failure> {
    let (mut written, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        for (file, text) in texts(path)? {
            match resources::parse(&text, &file) {
                Ok(documents) => {
                    let file = |document| Written {
                        file: file.clone(),
                        document,
                    };
                    written.extend(documents.into_iter().map(file));
                }
                Err(mut found) => {
                    found.sort_by_key(|error| (error.line, error.column));
                    errors.extend(found);
                }
            }
        }
    }
    match errors.first() {
        None => Ok(written),
        Some(first) => Err(faults(first, &errors)),
    }
}

/// All faults in the message, the place of the first for programs.
fn faults(first: &ResourceError, all: &[ResourceError]) -> Failure {
    let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
    let known = |number: u32| (number > 0).then(|| u64::from(number));
    Failure::new(first.reason(), lines.join("\n")).at(Place {
        file: Some(first.file.to_string()),
        line: known(first.line),
        column: known(first.column),
        field: (!first.field.is_empty()).then(|| first.field.clone()),
    })
}

/// The texts that a path stands for, each with its name in messages.
pub(crate) fn texts(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    if path.as_os_str() == "-" {
        let text =
            read(std::io::stdin()).map_err(|e| Failure::file("read", Path::new("standard input"), &e))?;
        return Ok(vec![("-".to_owned(), text)]);
    }
    let files = if path.is_dir() {
        files_of(path)?
    } else {
        vec![path.to_owned()]
    };
    let text = |file: &PathBuf| {
        let text = std::fs::File::open(file)
            .and_then(read)
            .map_err(|e| Failure::file("read", file, &e))?;
        Ok((file.display().to_string(), text))
    };
    files.iter().map(text).collect()
}

fn read(source: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    let bytes = source.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes > MAX_FILE_BYTES) {
        return Err(std::io::Error::other(format!(
            "longer than {MAX_FILE_BYTES} bytes"
        )));
    }
    Ok(text)
}

/// YAML and JSON files of a folder, not of those below it, in the order of their names.
fn files_of(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let wrong = |e: std::io::Error| Failure::file("list", dir, &e);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: { name: web }\n\
        spec: { spiffeId: 'spiffe://td/web', callers: [ token ] }\n";

    #[test]
    fn a_folder_is_read_in_the_order_of_its_names_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("b.yaml", GOOD), ("a.yml", GOOD), ("readme.md", "# no")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let written = read_all(&[folder.path().to_owned()]).unwrap();
        let files: Vec<&str> = written.iter().filter_map(|w| w.file.rsplit('/').next()).collect();
        assert_eq!(files, ["a.yml", "b.yaml"]);
    }
}
