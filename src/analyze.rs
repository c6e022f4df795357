//! `analyze`: what resources in files would break or do not do, each finding with a code, the documents concerned, and a way out.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use policy::{DEFAULT_ROOT_NAMESPACE, Policies, Severity};
use resources::{Document, Registration, Resource, ResourceError, Rival};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::documents::{self, Parsed, Written};
use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLE: &str = "Example:\n  signet analyze -f policies/ -f services.yaml\n\nExits with 1 if a finding is an error. docs/ANALYSIS.md explains every code.";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// YAML or JSON file, folder of such files, or - for standard input; repeatable
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", required = true)]
    filenames: Vec<PathBuf>,
    /// Namespace of the mesh's own policies
    #[arg(long, value_name = "NS", default_value = DEFAULT_ROOT_NAMESPACE)]
    root_namespace: String,
}

/// A finding with its places.
struct Finding {
    code: &'static str,
    severity: Severity,
    resource: String,
    file: String,
    line: u32,
    /// The document that it clashes with: its name, file and line.
    other: Option<(String, String, u32)>,
    message: String,
    fix: String,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<ExitCode, Failure> {
    let (mut written, mut findings) = (Vec::new(), Vec::new());
    for Parsed { file, documents } in documents::parse_all(&arguments.filenames)? {
        match documents {
            Ok(found) => written.extend(documents::with_file(&file, found)),
            Err(errors) => findings.extend(errors.iter().map(unreadable)),
        }
    }
    findings.extend(found(&written, &arguments.root_namespace));
    findings
        .sort_by(|a, b| (a.severity, &a.file, a.line, a.code).cmp(&(b.severity, &b.file, b.line, b.code)));
    let value: Value = findings.iter().map(Finding::json).collect();
    output::show(global.output, &value, || told(&findings, written.len()))?;
    let fails = findings.iter().any(|finding| finding.severity == Severity::Error);
    // The program ends here, and the system frees all of them at once.
    std::mem::forget(written);
    Ok(ExitCode::from(u8::from(fails)))
}

/// What is found in documents that can be read.
fn found(written: &[Written], root_namespace: &str) -> Vec<Finding> {
    let policies = Policies::compile(root_namespace, written.iter().map(|written| &written.document));
    let clash = |found: policy::Finding<'_>| {
        let about = &written[found.resource.index];
        let other = found.other.map(|other| &written[other.index]);
        Finding {
            other: other.map(|other| {
                (
                    name(&other.document),
                    other.file.clone(),
                    other.document.place("").line,
                )
            }),
            fix: found.fix,
            ..of(
                about,
                about.document.place("").line,
                found.code.word(),
                found.code.severity(),
                found.message,
            )
        }
    };
    let mut findings: Vec<Finding> = policy::analyze(&policies).into_iter().map(clash).collect();
    findings.extend(rivals(written));
    let mut first: HashMap<String, &Written> = HashMap::new();
    for one in written {
        let warnings = one.document.warnings.iter();
        findings.extend(warnings.map(|warning| {
            of(
                one,
                warning.line,
                "UNUSUAL",
                Severity::Warning,
                warning.to_string(),
            )
        }));
        if let Some(known) = first.get(&name(&one.document)) {
            findings.push(Finding {
                other: Some((
                    name(&known.document),
                    known.file.clone(),
                    known.document.place("").line,
                )),
                fix: "delete one of the two, or give it another name".to_owned(),
                ..of(
                    one,
                    one.document.place("").line,
                    "RESOURCE_TWICE",
                    Severity::Error,
                    "is written twice, expected each resource once".to_owned(),
                )
            });
        } else {
            first.insert(name(&one.document), one);
        }
    }
    findings
}

/// Registrations that grant the identity of another one to the same callers; each is compared with the first
/// such one.
fn rivals(written: &[Written]) -> Vec<Finding> {
    let mut by_path: HashMap<&str, Vec<(&Written, &Registration)>> = HashMap::new();
    let mut findings = Vec::new();
    for one in written {
        let Resource::Registration(registration) = &one.document.resource else {
            continue;
        };
        let same = by_path.entry(registration.path().as_str()).or_default();
        let mut found = same
            .iter()
            .filter_map(|(other, known)| Some((other, Rival::find(registration, known)?)));
        if let Some((other, rival)) = found.next() {
            let line = one.document.place("").line;
            findings.push(Finding {
                other: Some((
                    name(&other.document),
                    other.file.clone(),
                    other.document.place("").line,
                )),
                fix: rival.fix.to_owned(),
                ..of(one, line, Rival::CODE, Severity::Warning, rival.message)
            });
        }
        same.push((one, registration));
    }
    findings
}

fn of(about: &Written, line: u32, code: &'static str, severity: Severity, message: String) -> Finding {
    Finding {
        code,
        severity,
        resource: name(&about.document),
        file: about.file.clone(),
        line,
        other: None,
        message,
        fix: String::new(),
    }
}

fn unreadable(error: &ResourceError) -> Finding {
    let message = if error.field.is_empty() {
        error.message.clone()
    } else {
        format!("{}: {}", error.field, error.message)
    };
    Finding {
        code: "RESOURCE_INVALID",
        severity: Severity::Error,
        resource: String::new(),
        file: error.file.to_string(),
        line: error.line,
        other: None,
        message,
        fix: if error.expected.is_empty() {
            "correct the document".to_owned()
        } else {
            format!("write {}", error.expected)
        },
    }
}

/// `KIND NAMESPACE/NAME`.
fn name(document: &Document) -> String {
    format!("{} {}/{}", document.kind, document.namespace, document.name)
}

impl Finding {
    fn json(&self) -> Value {
        let mut value = json!({
            "code": self.code,
            "severity": self.severity.word(),
            "resource": self.resource,
            "other": "",
            "file": self.file,
            "line": self.line,
            "message": self.message,
            "fix": self.fix,
        });
        if let Some((name, file, line)) = &self.other {
            value["other"] = name.as_str().into();
            value["otherFile"] = file.as_str().into();
            value["otherLine"] = (*line).into();
        }
        value
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{}:{}: {} {}",
            self.file,
            self.line,
            self.severity.word(),
            self.code
        );
        for part in [&self.resource, &self.message] {
            if !part.is_empty() {
                text.push_str(": ");
                text.push_str(part);
            }
        }
        if let Some((name, file, line)) = &self.other {
            text.push_str(&format!("\n  other: {name}, {file}:{line}"));
        }
        if !self.fix.is_empty() {
            text.push_str(&format!("\n  fix: {}", self.fix));
        }
        text
    }
}

fn told(findings: &[Finding], documents: usize) -> String {
    if findings.is_empty() {
        return format!("Nothing found in {documents} documents.");
    }
    findings.iter().map(Finding::text).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Findings in a text, as `run` has them.
    fn codes(text: &str) -> Vec<Value> {
        match resources::parse(text, "t.yaml") {
            Err(errors) => errors.iter().map(|error| unreadable(error).json()).collect(),
            Ok(documents) => {
                let written: Vec<Written> = documents::with_file("t.yaml", documents).collect();
                found(&written, "istio-system")
                    .iter()
                    .map(Finding::json)
                    .collect()
            }
        }
    }

    #[test]
    fn every_section_of_the_page_has_a_file_with_its_finding() {
        let page = include_str!("../docs/ANALYSIS.md");
        let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
        assert_eq!(sections.len(), policy::Code::ALL.len() + 4);
        for section in sections {
            let code = section.lines().next().unwrap();
            let file = section
                .split("```yaml\n")
                .nth(1)
                .unwrap()
                .split("```")
                .next()
                .unwrap();
            let found = codes(file);
            let finding = found.iter().find(|finding| finding["code"] == code);
            let finding = finding.unwrap_or_else(|| panic!("{code}: {found:#?}"));
            assert!(finding["line"].as_u64().is_some_and(|line| line > 0), "{finding}");
            assert!(section.contains(&format!("{code}\n{}.", finding["severity"].as_str().unwrap())));
        }
    }

    #[test]
    fn a_clash_names_both_documents_with_their_lines() {
        let text = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: a }\nspec: { mtls: { mode: STRICT } }\n\
            ---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: b }\nspec: { mtls: { mode: STRICT } }\n";
        let found = codes(text);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0]["resource"], "PeerAuthentication default/b");
        assert_eq!(found[0]["other"], "PeerAuthentication default/a");
        assert_eq!(
            (&found[0]["line"], &found[0]["otherLine"]),
            (&json!(6), &json!(1))
        );
    }

    #[test]
    fn the_samples_of_the_tutorial_have_no_errors() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/samples");
        for files in [
            vec!["02_mesh-mTLS-STRICT.yaml"],
            vec!["03_namespace-mTLS-PERMISSIVE.yaml"],
            vec!["03_namespace-mTLS-STRICT.yaml", "03_details-ISTIO-MUTUAL.yaml"],
            vec!["04_details-mTLS-STRICT.yaml"],
        ] {
            let paths: Vec<PathBuf> = files
                .iter()
                .chain(&["shop.yaml"])
                .map(|file| folder.join(file))
                .collect();
            let written = documents::read_all(&paths).unwrap_or_else(|e| panic!("{}", e.text()));
            assert!(found(&written, "istio-system").is_empty(), "{files:?}");
        }
    }
}
