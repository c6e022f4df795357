//! Istio's `PeerAuthentication`: which connections workloads take. Fields and refusals are Istio's; which policy decides for a
//! workload is the business of the crate `policy`.

use std::collections::BTreeMap;

use crate::fields::{Field, Findings};
use crate::labels::{self, Labels};

const MODES: &str = "UNSET, DISABLE, PERMISSIVE or STRICT";

/// What a server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Whatever comes; nothing is terminated.
    Disable,
    /// Mutual TLS and plaintext.
    Permissive,
    /// Mutual TLS alone.
    Strict,
}

/// Which connections the workloads of a scope take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAuthentication {
    selector: Option<Labels>,
    mode: Option<Mode>,
    ports: BTreeMap<u16, Option<Mode>>,
}

impl Mode {
    /// The word in documents.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Disable => "DISABLE",
            Mode::Permissive => "PERMISSIVE",
            Mode::Strict => "STRICT",
        }
    }
}

impl PeerAuthentication {
    /// Labels that a workload must have; nothing for a policy of a whole namespace or mesh.
    pub fn selector(&self) -> Option<&Labels> {
        self.selector.as_ref()
    }

    /// The mode; nothing leaves it to the wider scope.
    pub fn mode(&self) -> Option<Mode> {
        self.mode
    }

    /// Modes of single ports of the workload; nothing is the workload's mode.
    pub fn ports(&self) -> &BTreeMap<u16, Option<Mode>> {
        &self.ports
    }

    pub(crate) fn check(spec: &Field<'_>, findings: &mut Findings) -> Option<Self> {
        let object = spec.object(&["selector", "mtls", "portLevelMtls"], findings)?;
        let selector = object.get("selector").and_then(|field| scope(&field, findings));
        let mode = object.get("mtls").and_then(|field| mode(&field, findings));
        let mut found = BTreeMap::new();
        if let Some(field) = object.get("portLevelMtls") {
            found = ports(&field, findings);
            if selector.is_none() && !found.is_empty() {
                findings.wrong(
                    &field,
                    "mesh/namespace peer authentication cannot have port level mTLS, expected a selector with labels",
                );
            }
        }
        if mode.is_none() && found.is_empty() {
            findings.warn(spec, "the mode is UNSET, so that of the wider scope holds");
        }
        Some(Self {
            selector,
            mode,
            ports: found,
        })
    }
}

/// The labels; none of them is no selector.
fn scope(field: &Field<'_>, findings: &mut Findings) -> Option<Labels> {
    let object = field.object(&["matchLabels"], findings)?;
    let labels = object
        .get("matchLabels")
        .map(|field| labels::selector(&field, findings))
        .unwrap_or_default();
    if labels.is_empty() {
        findings.warn(field, "workload selector specified without labels");
        return None;
    }
    Some(labels)
}

fn mode(field: &Field<'_>, findings: &mut Findings) -> Option<Mode> {
    let word = |text: &str| match text {
        "UNSET" => Some(None),
        "DISABLE" => Some(Some(Mode::Disable)),
        "PERMISSIVE" => Some(Some(Mode::Permissive)),
        "STRICT" => Some(Some(Mode::Strict)),
        _ => None,
    };
    let field = field.object(&["mode"], findings)?.get("mode")?;
    field.made(MODES, findings, word).flatten()
}

fn ports(field: &Field<'_>, findings: &mut Findings) -> BTreeMap<u16, Option<Mode>> {
    let Some(object) = field.open_object(findings) else {
        return BTreeMap::new();
    };
    let mut ports = BTreeMap::new();
    let mut is_empty = true;
    for (key, value) in object.fields() {
        is_empty = false;
        let port = key.parse::<u16>().ok().filter(|port| *port != 0);
        let Some(port) = port.filter(|port| port.to_string() == key) else {
            let found = crate::error::shorten(key);
            findings.wrong(&value, format!("found {found:?}: port must be in range 1..65535"));
            continue;
        };
        let mode = if value.is_null() {
            None
        } else {
            mode(&value, findings)
        };
        ports.insert(port, mode);
    }
    if is_empty {
        findings.wrong(
            field,
            "port level mTLS, if defined, must have at least one element",
        );
    }
    ports
}
