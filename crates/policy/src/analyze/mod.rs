//! What a set of resources would break or does not do, found before anybody applies it. Each code has its section in
//! docs/ANALYSIS.md.

mod clashes;
mod policies;
mod rules;

use std::collections::BTreeSet;
use std::sync::Arc;

use resources::WorkloadEntry;

use crate::policies::{Namespace, Origin, Policies, Workload};
use crate::service::Service;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Connections would be refused.
    Error,
    /// Something is not as its author may think.
    Warning,
    /// Worth knowing.
    Info,
}

/// What kind of finding it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each has its section in docs/ANALYSIS.md")]
pub enum Code {
    DisableAgainstStrict,
    SimpleAgainstStrict,
    IstioMutualToUnenrolled,
    IstioMutualAgainstDisable,
    TlsToHttp,
    ExternalAgainstStrict,
    RuleHidesWider,
    ServicePortInPolicy,
    PortUnknown,
    PolicyShadowed,
    RulesForOneHost,
    RootSelectorIgnored,
    SelectorMatchesNothing,
    HostUnknown,
    ShortHostElsewhere,
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding<'p> {
    /// Its kind.
    pub code: Code,
    /// The document that it is about.
    pub resource: &'p Origin,
    /// The document that it clashes with.
    pub other: Option<&'p Origin>,
    /// What is wrong, for people.
    pub message: String,
    /// A way out.
    pub fix: String,
}

impl Severity {
    /// The word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 15] = [
        Code::DisableAgainstStrict,
        Code::SimpleAgainstStrict,
        Code::IstioMutualToUnenrolled,
        Code::IstioMutualAgainstDisable,
        Code::TlsToHttp,
        Code::ExternalAgainstStrict,
        Code::RuleHidesWider,
        Code::ServicePortInPolicy,
        Code::PortUnknown,
        Code::PolicyShadowed,
        Code::RulesForOneHost,
        Code::RootSelectorIgnored,
        Code::SelectorMatchesNothing,
        Code::HostUnknown,
        Code::ShortHostElsewhere,
    ];

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Code::DisableAgainstStrict => "DISABLE_AGAINST_STRICT",
            Code::SimpleAgainstStrict => "SIMPLE_AGAINST_STRICT",
            Code::IstioMutualToUnenrolled => "ISTIO_MUTUAL_TO_UNENROLLED",
            Code::IstioMutualAgainstDisable => "ISTIO_MUTUAL_AGAINST_DISABLE",
            Code::TlsToHttp => "TLS_TO_HTTP",
            Code::ExternalAgainstStrict => "EXTERNAL_AGAINST_STRICT",
            Code::RuleHidesWider => "RULE_HIDES_WIDER",
            Code::ServicePortInPolicy => "SERVICE_PORT_IN_POLICY",
            Code::PortUnknown => "PORT_UNKNOWN",
            Code::PolicyShadowed => "POLICY_SHADOWED",
            Code::RulesForOneHost => "RULES_FOR_ONE_HOST",
            Code::RootSelectorIgnored => "ROOT_SELECTOR_IGNORED",
            Code::SelectorMatchesNothing => "SELECTOR_MATCHES_NOTHING",
            Code::HostUnknown => "HOST_UNKNOWN",
            Code::ShortHostElsewhere => "SHORT_HOST_ELSEWHERE",
        }
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Code::DisableAgainstStrict
            | Code::SimpleAgainstStrict
            | Code::IstioMutualToUnenrolled
            | Code::IstioMutualAgainstDisable
            | Code::TlsToHttp
            | Code::ExternalAgainstStrict => Severity::Error,
            _ => Severity::Warning,
        }
    }
}

/// What was found so far; the same is said once.
#[derive(Default)]
struct Notes<'p> {
    findings: BTreeSet<Finding<'p>>,
    clashes: BTreeSet<(Code, &'p Origin, &'p Origin)>,
}

/// An endpoint as the files describe it.
struct Endpoint<'p> {
    workload: Workload<'p>,
    entry: &'p WorkloadEntry,
    /// The document that says so.
    origin: &'p Origin,
}

/// Everything that the set shows, in the order of codes and documents.
pub fn analyze(policies: &Policies) -> Vec<Finding<'_>> {
    let mut notes = Notes::default();
    policies::analyze(policies, &mut notes);
    rules::analyze(policies, &mut notes);
    clashes::analyze(policies, &mut notes);
    notes.findings.into_iter().collect()
}

impl<'p> Notes<'p> {
    fn note(
        &mut self,
        code: Code,
        resource: &'p Origin,
        other: Option<&'p Origin>,
        message: String,
        fix: impl Into<String>,
    ) {
        self.findings.insert(Finding {
            code,
            resource,
            other,
            message,
            fix: fix.into(),
        });
    }
}

impl Policies {
    /// All services, in the order of namespaces, so that a clash is always told with the same of its cases.
    fn services(&self) -> impl Iterator<Item = &Service> {
        let mut namespaces: Vec<(&String, &Namespace)> = self.namespaces.iter().collect();
        namespaces.sort_by_key(|(name, _)| *name);
        let namespaces = namespaces.into_iter();
        namespaces.flat_map(|(_, namespace)| namespace.services.iter().map(Arc::as_ref))
    }

    /// The workloads behind a service.
    fn endpoints<'p>(&'p self, service: &'p Service) -> impl Iterator<Item = Endpoint<'p>> {
        let namespace = service.origin.namespace.as_str();
        let endpoint = move |entry: &'p WorkloadEntry, origin: &'p Origin| Endpoint {
            workload: Workload {
                namespace,
                labels: entry.labels(),
                is_enrolled: entry.is_enrolled(),
            },
            entry,
            origin,
        };
        let inline = service.entry.endpoints().iter();
        let inline = inline.map(move |entry| endpoint(entry, &service.origin));
        let selected = service.entry.selector().into_iter().flat_map(move |labels| {
            let workloads = self.namespaces.get(namespace).map(|found| found.workloads.iter());
            let workloads = workloads.into_iter().flatten();
            workloads
                .map(move |of| endpoint(&of.value, &of.origin))
                .filter(move |endpoint| endpoint.workload.has(labels))
        });
        inline.chain(selected)
    }
}
