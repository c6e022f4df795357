//! `apply`: every file is parsed before anything is sent, so that a fault is named with file, line, column and field; the server
//! then takes all or nothing.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use proto::v1;
use proto::v1::outcome::Verb;
use proto::v1::resources_client::ResourcesClient;
use resources::{Document, ResourceError};

use crate::cli::Global;
use crate::failure::{Failure, Place};
use crate::instance::Instance;
use crate::message;
use crate::output;

pub(crate) const EXAMPLE: &str = "Examples:\n  signet apply -f registrations/ --dry-run\n  \
    signet apply -f web.yaml -f details.yaml";
/// Longest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// YAML or JSON file, folder of such files, or - for standard input; repeatable
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", required = true)]
    filenames: Vec<PathBuf>,
    /// Let the server check everything and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// A valid document and the file that it stands in.
struct Written {
    file: String,
    document: Document,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let written = read_all(&arguments.filenames)?;
    if written.is_empty() {
        return Err(Failure::usage(
            "no documents are in the files given, expected at least one",
        ));
    }
    for Written { file, document } in &written {
        for warning in &document.warnings {
            output::remark(&format!(
                "warning: {file}:{}:{}: {warning}",
                warning.line, warning.column
            ));
        }
    }
    let mut client = ResourcesClient::new(Instance::locate(global)?.connect().await?);
    let request = v1::ApplyResourcesRequest {
        resources: written
            .iter()
            .map(|written| to_message(&written.document))
            .collect(),
        dry_run: arguments.dry_run,
        force: false,
    };
    let answer = client
        .apply_resources(request)
        .await
        .map_err(|status| place(&status, &written))?
        .into_inner();
    for finding in answer
        .findings
        .iter()
        .filter(|finding| !is_told(finding, &written))
    {
        output::remark(&format!(
            "{}: {}: {}",
            finding.severity, finding.resource, finding.message
        ));
    }
    let value = message::json("ApplyResourcesResponse", &answer);
    output::show(global.output, &value, || outcomes(&answer, arguments.dry_run))
}

/// The server finds in a document what was found here, and perhaps more.
fn is_told(finding: &v1::Finding, written: &[Written]) -> bool {
    let mut warnings = written.iter().flat_map(|written| &written.document.warnings);
    warnings.any(|warning| warning.to_string() == finding.message)
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Written>, Failure> {
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
    Failure::new(first.reason(), lines.join("\n"))
        .hint("nothing was sent")
        .at(Place {
            file: Some(first.file.to_string()),
            line: known(first.line),
            column: known(first.column),
            field: (!first.field.is_empty()).then(|| first.field.clone()),
        })
}

/// What the server refuses is found again in its file.
fn place(status: &tonic::Status, written: &[Written]) -> Failure {
    let refusal = proto::Refusal::from_status(status);
    let Some(found) = refusal.evidence("name").and_then(|name| named(name, written)) else {
        return refusal.into();
    };
    let field = refusal.evidence("field").map(str::to_owned);
    let at = found.document.place(field.as_deref().unwrap_or_default());
    let message = format!("{}:{}:{}: {}", found.file, at.line, at.column, refusal.message());
    let place = Place {
        file: Some(found.file.clone()),
        line: Some(at.line.into()),
        column: Some(at.column.into()),
        field,
    };
    Failure::new(refusal.reason(), message).at(place)
}

fn named<'a>(name: &str, written: &'a [Written]) -> Option<&'a Written> {
    let is_named = |document: &Document| format!("{}/{}", document.namespace, document.name) == name;
    written.iter().find(|written| is_named(&written.document))
}

/// The texts that a path stands for, each with its name in messages.
fn texts(path: &Path) -> Result<Vec<(String, String)>, Failure> {
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

fn to_message(document: &Document) -> v1::Resource {
    v1::Resource {
        api_version: document.api_version.clone(),
        kind: document.kind.word().to_owned(),
        namespace: document.namespace.clone(),
        name: document.name.clone(),
        document_json: document.json.to_string().into_bytes(),
        revision: 0,
        created_at: None,
    }
}

fn outcomes(answer: &v1::ApplyResourcesResponse, dry_run: bool) -> String {
    let line = |outcome: &v1::Outcome| {
        let verb = match outcome.verb() {
            Verb::Created => "created",
            Verb::Configured => "configured",
            Verb::Unchanged | Verb::Unspecified => "unchanged",
        };
        let dry = if dry_run { " (dry run)" } else { "" };
        format!("{} {verb}{dry}", outcome.resource)
    };
    answer.outcomes.iter().map(line).collect::<Vec<_>>().join("\n")
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

    #[test]
    fn a_fault_is_named_with_its_place_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yaml");
        std::fs::write(&path, GOOD.replace("callers", "calers")).unwrap();
        let failure = read_all(std::slice::from_ref(&path)).err().unwrap();
        let error = &failure.json()["error"];
        assert_eq!(error["file"], path.display().to_string());
        assert_eq!(error["line"], 4);
        assert!(
            error["column"].as_u64().is_some_and(|column| column > 0),
            "{error}"
        );
        assert!(
            error["field"]
                .as_str()
                .is_some_and(|field| field.starts_with("spec")),
            "{error}"
        );
        assert!(failure.text().contains("nothing was sent"));
    }

    #[test]
    fn what_the_server_refuses_is_placed_in_its_file() {
        let documents = resources::parse(GOOD, "web.yaml").unwrap();
        let written: Vec<Written> = documents
            .into_iter()
            .map(|document| Written {
                file: "web.yaml".into(),
                document,
            })
            .collect();
        let refusal = proto::Refusal::new(identity::Reason::ResourceInvalid, "foreign trust domain")
            .with("name", "default/web")
            .with("field", "spec.spiffeId");
        let error = place(&refusal.to_status(), &written).json();
        assert_eq!(error["error"]["file"], "web.yaml");
        assert_eq!(
            (&error["error"]["line"], &error["error"]["column"]),
            (&4.into(), &19.into())
        );
        assert_eq!(error["error"]["field"], "spec.spiffeId");
    }

    #[test]
    fn outcomes_are_told_as_kubectl_tells_them() {
        let outcome = |resource: &str, verb: Verb| v1::Outcome {
            resource: resource.into(),
            verb: verb.into(),
        };
        let answer = v1::ApplyResourcesResponse {
            outcomes: vec![
                outcome("registration.signet.dev/a", Verb::Created),
                outcome("registration.signet.dev/b", Verb::Unchanged),
            ],
            ..v1::ApplyResourcesResponse::default()
        };
        assert_eq!(
            outcomes(&answer, false),
            "registration.signet.dev/a created\nregistration.signet.dev/b unchanged"
        );
        assert_eq!(
            outcomes(&answer, true),
            "registration.signet.dev/a created (dry run)\nregistration.signet.dev/b unchanged (dry run)"
        );
    }
}
