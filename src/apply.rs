//! `apply`: every file is parsed before anything is sent, so that a fault is named with file, line, column and field; the server
//! then takes all or nothing.

use std::path::PathBuf;

use clap::Args;
use proto::v1;
use proto::v1::outcome::Verb;
use proto::v1::resources_client::ResourcesClient;
use resources::Document;

use crate::cli::Global;
use crate::documents::{self, Written};
use crate::failure::{Failure, Place};
use crate::instance::Instance;
use crate::message;
use crate::output;

pub(crate) const EXAMPLE: &str = "Examples:\n  signet apply -f registrations/ --dry-run\n  \
    signet apply -f web.yaml -f details.yaml\n\n\
    What would clash is told, as `signet analyze` finds it, and applied all the same.";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// YAML or JSON file, folder of such files, or - for standard input; repeatable
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", required = true)]
    filenames: Vec<PathBuf>,
    /// Let the server check everything and change nothing
    #[arg(long)]
    dry_run: bool,
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
        output::remark(&told(finding));
    }
    let value = message::json("ApplyResourcesResponse", &answer);
    output::show(global.output, &value, || outcomes(&answer, arguments.dry_run))
}

/// As `analyze` tells it.
fn told(finding: &v1::Finding) -> String {
    let mut text = format!("{} {}", finding.severity, finding.code);
    for part in [&finding.resource, &finding.message] {
        if !part.is_empty() {
            text.push_str(&format!(": {part}"));
        }
    }
    for (label, part) in [("other", &finding.other), ("fix", &finding.fix)] {
        if !part.is_empty() {
            text.push_str(&format!("\n  {label}: {part}"));
        }
    }
    text
}

/// The server finds in a document what was found here, and perhaps more.
fn is_told(finding: &v1::Finding, written: &[Written]) -> bool {
    let mut warnings = written.iter().flat_map(|written| &written.document.warnings);
    warnings.any(|warning| warning.to_string() == finding.message)
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Written>, Failure> {
    documents::read_all(paths).map_err(|failure| failure.hint("nothing was sent"))
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

fn to_message(document: &Document) -> v1::Resource {
    v1::Resource {
        api_version: document.api_version.clone(),
        kind: document.kind.word().to_owned(),
        namespace: document.namespace.clone(),
        name: document.name.clone(),
        document_json: document.json.clone().into_bytes(),
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
