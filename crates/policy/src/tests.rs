//! The rules of mutual TLS, each by a table written from Istio's documentation; a second, naive resolver; and properties. Rows begin
//! with the number of their rule: 1 to 4 and 7 in `servers` (5, what is refused, in the crate `resources`), 6 in `endings`, 8 to 11 in
//! `clients`, 12 in `findings`.

mod clients;
mod endings;
mod findings;
mod naive;
mod permits;
mod properties;
mod servers;

use resources::{Document, Labels, parse};

use crate::{Policies, Workload};

const ROOT: &str = "istio-system";

/// Short forms of documents, one a line: `pa NS/NAME SPEC`, `dr NS/NAME SPEC`, `se ...`, `we ...`; `@N` behind the name is the second
/// of its creation.
fn documents(lines: &str) -> Vec<Document> {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(document).collect()
}

fn document(line: &str) -> Document {
    let mut words = line.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_else(|| panic!("too short: {line}"));
    let (kind, name, spec) = (word(), word(), word());
    let (version, kind) = match kind {
        "pa" => ("security.istio.io/v1", "PeerAuthentication"),
        "dr" => ("networking.istio.io/v1", "DestinationRule"),
        "se" => ("networking.istio.io/v1", "ServiceEntry"),
        _ => ("networking.istio.io/v1", "WorkloadEntry"),
    };
    let (namespace, name) = name.split_once('/').unwrap();
    let (name, created) = match name.split_once('@') {
        Some((name, second)) => (
            name,
            format!(", creationTimestamp: \"2026-01-01T00:00:{second}Z\""),
        ),
        None => (name, String::new()),
    };
    let text = format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {namespace}{created} }}\nspec: {spec}\n"
    );
    parse(&text, "")
        .unwrap_or_else(|errors| panic!("{errors:?}\n{text}"))
        .remove(0)
}

fn compiled(lines: &str) -> Policies {
    Policies::compile(ROOT, &documents(lines))
}

/// `a=1,b=2`.
fn labels(text: &str) -> Labels {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn enrolled<'a>(namespace: &'a str, labels: &'a Labels) -> Workload<'a> {
    Workload {
        namespace,
        labels,
        is_enrolled: true,
    }
}
