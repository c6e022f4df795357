//! Files, folders and standard input to documents, each with the file that it stands in.

use std::fs::File;
use std::io::Read as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use resources::{Document, Part, ResourceError};

use crate::failure::{Failure, Place};

/// Longest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A valid document and the file that it stands in.
pub(crate) struct Written {
    pub(crate) file: String,
    pub(crate) document: Document,
}

/// What a file holds, or every fault in it.
pub(crate) struct Parsed {
    pub(crate) file: String,
    pub(crate) documents: Result<Vec<Document>, Vec<ResourceError>>,
}

/// All documents of these files, folders and standard input; all faults are told.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<Written>, Failure> {
    let (mut written, mut errors) = (Vec::new(), Vec::new());
    for Parsed { file, documents } in parse_all(paths)? {
        match documents {
            Ok(documents) => written.extend(with_file(&file, documents)),
            Err(mut found) => {
                found.sort_by_key(|error| (error.line, error.column));
                errors.extend(found);
            }
        }
    }
    match errors.first() {
        None => Ok(written),
        Some(first) => Err(faults(first, &errors)),
    }
}

pub(crate) fn with_file(file: &str, documents: Vec<Document>) -> impl Iterator<Item = Written> {
    documents.into_iter().map(|document| Written {
        file: file.to_owned(),
        document,
    })
}

/// Each file that the paths stand for, in their order; its parts are parsed on as many cores as there are.
pub(crate) fn parse_all(paths: &[PathBuf]) -> Result<Vec<Parsed>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(files_of(path)?);
        } else {
            files.push(path.clone());
        }
    }
    let texts: Vec<(String, String)> = files.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
    let splits: Vec<_> = texts
        .iter()
        .map(|(file, text)| resources::split(text, file))
        .collect();
    let parts: Vec<(&str, Part<'_>)> = texts
        .iter()
        .zip(&splits)
        .flat_map(|((file, _), parts)| parts.iter().flatten().map(move |part| (file.as_str(), *part)))
        .collect();
    let mut of_parts = on_all_cores(&parts, |(file, part)| part.parse(file)).into_iter();
    let of_file = |((file, _), parts): (&(String, String), Result<Vec<Part<'_>>, ResourceError>)| Parsed {
        file: file.clone(),
        documents: match parts {
            Ok(parts) => resources::join(of_parts.by_ref().take(parts.len())),
            Err(error) => Err(vec![error]),
        },
    };
    Ok(texts.iter().zip(splits).map(of_file).collect())
}

/// What `work` makes of each, in their order.
fn on_all_cores<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = all.get(index) else {
                return done;
            };
            done.push((index, work(one)));
        }
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..cores.min(all.len())).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().expect("work that panics is a bug"));
        }
        done
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
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

/// The name in messages and the text of a file, or of standard input.
fn read(path: &Path) -> Result<(String, String), Failure> {
    let (text, file) = if path.as_os_str() == "-" {
        (read_to_end(std::io::stdin()), "-".to_owned())
    } else {
        (File::open(path).and_then(read_to_end), path.display().to_string())
    };
    let text = text.map_err(|e| Failure::file("read", path, &e))?;
    Ok((file, text))
}

fn read_to_end(source: impl std::io::Read) -> std::io::Result<String> {
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
