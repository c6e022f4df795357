//! Istio's `DestinationRule`, as far as it says how clients connect: `tls` of the rule, its ports and its subsets. Fields that steer
//! traffic in other ways are refused by name. Which rule decides is the business of the crate `policy`.

use crate::document::{is_label, is_subdomain};
use crate::fields::{Field, Findings, Object};
use crate::labels::{self, ExportTo, Labels};

const SPEC: &[&str] = &["host", "trafficPolicy", "subsets", "exportTo", "workloadSelector"];
const POLICY: &[&str] = &[
    "tls",
    "portLevelSettings",
    "loadBalancer",
    "connectionPool",
    "outlierDetection",
    "tunnel",
    "proxyProtocol",
    "retryBudget",
];
const PORT: &[&str] = &[
    "port",
    "tls",
    "loadBalancer",
    "connectionPool",
    "outlierDetection",
];
const TLS: &[&str] = &[
    "mode",
    "clientCertificate",
    "privateKey",
    "caCertificates",
    "credentialName",
    "subjectAltNames",
    "sni",
    "insecureSkipVerify",
    "caCrl",
];
const UNHEEDED: &[(&str, &str)] = &[
    ("loadBalancer", "endpoints are taken in turn"),
    ("connectionPool", "connections are not pooled"),
    ("outlierDetection", "endpoints are not ejected"),
    ("tunnel", "connections are not tunnelled"),
    ("proxyProtocol", "no PROXY header is sent"),
    ("retryBudget", "requests are not repeated"),
];
const UNHEEDED_TLS: &[(&str, &str)] = &[
    (
        "credentialName",
        "there are no Kubernetes secrets to read: name files",
    ),
    ("insecureSkipVerify", "a server is always verified"),
    ("caCrl", "revocation is learned from the authority"),
];

/// How clients connect to the services of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRule {
    host: String,
    written_host: String,
    export_to: ExportTo,
    policy: TrafficPolicy,
    subsets: Vec<Subset>,
}

/// A named part of a service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// Labels that its endpoints have.
    pub labels: Labels,
    /// What holds for them instead of the rule's.
    pub policy: TrafficPolicy,
}

/// The TLS of a rule or subset, and of single ports of the Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficPolicy {
    /// For ports that are not named.
    pub tls: Option<ClientTls>,
    /// By port, in the order of the text. A port without tls inherits none.
    pub ports: Vec<(u16, Option<ClientTls>)>,
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// The kind of TLS.
    pub mode: TlsMode,
    /// Own certificate chain, a file (MUTUAL).
    pub client_certificate: Option<String>,
    /// Own key, a file (MUTUAL).
    pub private_key: Option<String>,
    /// Roots that the server is verified with, a file (SIMPLE and MUTUAL).
    pub ca_certificates: Option<String>,
    /// Names of which the server's certificate must have one.
    pub subject_alt_names: Vec<String>,
    /// Server name to ask for.
    pub sni: Option<String>,
}

/// Istio's `ClientTLSSettings.TLSmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// Plaintext.
    Disable,
    /// The server alone proves who it is.
    Simple,
    /// Mutual, with files of the client's own.
    Mutual,
    /// Mutual, with the identities of the mesh.
    IstioMutual,
}

impl TlsMode {
    /// The word in documents.
    pub fn word(self) -> &'static str {
        match self {
            TlsMode::Disable => "DISABLE",
            TlsMode::Simple => "SIMPLE",
            TlsMode::Mutual => "MUTUAL",
            TlsMode::IstioMutual => "ISTIO_MUTUAL",
        }
    }
}

impl DestinationRule {
    /// The host in full: a name without dots means a service of the rule's own namespace.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host as it was written.
    pub fn written_host(&self) -> &str {
        &self.written_host
    }

    /// The namespaces whose clients see it.
    pub fn export_to(&self) -> &ExportTo {
        &self.export_to
    }

    /// What holds for the whole service.
    pub fn policy(&self) -> &TrafficPolicy {
        &self.policy
    }

    /// Parts of the service.
    pub fn subsets(&self) -> &[Subset] {
        &self.subsets
    }

    pub(crate) fn check(namespace: &str, spec: &Field<'_>, findings: &mut Findings) -> Option<Self> {
        let object = spec.object(SPEC, findings)?;
        object.refuse(
            &[("workloadSelector", "a rule holds for all clients that see it")],
            findings,
        );
        let host = object
            .need("host", HOST, findings)
            .and_then(|field| field.made(HOST, findings, host));
        let policy = object.get("trafficPolicy");
        let policy = policy.map(|field| traffic(&field, findings)).unwrap_or_default();
        let subsets = object
            .get("subsets")
            .map(|field| subsets(&field, findings))
            .unwrap_or_default();
        let export_to = ExportTo::check(&object, namespace, false, findings);
        let written_host = host?;
        Some(Self {
            host: in_full(&written_host, namespace),
            written_host,
            export_to,
            policy,
            subsets,
        })
    }
}

const HOST: &str = "a service's name, a DNS name, or a wildcard such as *.example.org";

/// A host, or `*` before a suffix that begins with a dot, or `*` alone.
pub(crate) fn host(text: &str) -> Option<String> {
    let right = match text.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => suffix.strip_prefix('.').is_some_and(is_subdomain),
        None => is_subdomain(text),
    };
    right.then(|| text.to_owned())
}

fn in_full(host: &str, namespace: &str) -> String {
    if host == "*" || host.contains('.') {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.cluster.local")
    }
}

fn traffic(field: &Field<'_>, findings: &mut Findings) -> TrafficPolicy {
    let Some(object) = field.object(POLICY, findings) else {
        return TrafficPolicy::default();
    };
    object.refuse(UNHEEDED, findings);
    let tls = object.get("tls").and_then(|field| tls(&field, findings));
    let mut ports: Vec<(u16, Option<ClientTls>)> = Vec::new();
    let entries = object.get("portLevelSettings").map(|field| field.list(findings));
    for entry in entries.unwrap_or_default() {
        let Some((port, tls)) = of_port(&entry, findings) else {
            continue;
        };
        if ports.iter().any(|(known, _)| *known == port) {
            findings.warn(&entry, "the port is named above, so this entry does nothing");
        } else {
            ports.push((port, tls));
        }
    }
    TrafficPolicy { tls, ports }
}

fn of_port(entry: &Field<'_>, findings: &mut Findings) -> Option<(u16, Option<ClientTls>)> {
    let object = entry.object(PORT, findings)?;
    object.refuse(UNHEEDED, findings);
    let tls = object.get("tls").and_then(|field| tls(&field, findings));
    let port = object.need("port", "a mapping with a number", findings)?;
    let number = port
        .object(&["number"], findings)?
        .need("number", "a port of the service", findings)?;
    Some((number.port(findings)?, tls))
}

fn subsets(field: &Field<'_>, findings: &mut Findings) -> Vec<Subset> {
    const NAME: &str = "a name: a-z, 0-9, '-', at most 63 bytes";
    let mut subsets: Vec<Subset> = Vec::new();
    for entry in field.list(findings) {
        let Some(object) = entry.object(&["name", "labels", "trafficPolicy"], findings) else {
            continue;
        };
        let labels = object
            .get("labels")
            .map(|field| labels::selector(&field, findings));
        let policy = object.get("trafficPolicy").map(|field| traffic(&field, findings));
        let Some(name) = object
            .need("name", NAME, findings)
            .and_then(|field| field.made(NAME, findings, |text| is_label(text).then(|| text.to_owned())))
        else {
            continue;
        };
        if subsets.iter().any(|known| known.name == name) {
            findings.wrong(
                &entry,
                format!("duplicate subset name {name:?}, expected each once"),
            );
        }
        subsets.push(Subset {
            name,
            labels: labels.unwrap_or_default(),
            policy: policy.unwrap_or_default(),
        });
    }
    subsets
}

fn tls(field: &Field<'_>, findings: &mut Findings) -> Option<ClientTls> {
    const MODES: &str = "DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL";
    let object = field.object(TLS, findings)?;
    object.refuse(UNHEEDED_TLS, findings);
    let word = |text: &str| match text {
        "DISABLE" => Some(TlsMode::Disable),
        "SIMPLE" => Some(TlsMode::Simple),
        "MUTUAL" => Some(TlsMode::Mutual),
        "ISTIO_MUTUAL" => Some(TlsMode::IstioMutual),
        _ => None,
    };
    let mode = match object.get("mode") {
        Some(field) => field.made(MODES, findings, word)?,
        None => {
            findings.warn(field, "tls without a mode means DISABLE: clients send plaintext");
            TlsMode::Disable
        }
    };
    let mut text = |key| {
        let found = object.get(key)?.text("a text", findings)?;
        (!found.is_empty()).then(|| found.to_owned())
    };
    let tls = ClientTls {
        mode,
        client_certificate: text("clientCertificate"),
        private_key: text("privateKey"),
        ca_certificates: text("caCertificates"),
        sni: text("sni"),
        subject_alt_names: object
            .get("subjectAltNames")
            .map(|field| field.each("a name", findings, |text| Some(text.to_owned())))
            .unwrap_or_default(),
    };
    files(&tls, &object, findings);
    Some(tls)
}

/// Which mode needs which files, and which would heed none.
fn files(tls: &ClientTls, object: &Object<'_>, findings: &mut Findings) {
    if tls.mode == TlsMode::Mutual {
        if tls.client_certificate.is_none() {
            object.lacks(
                "clientCertificate",
                "a file: client certificate required for mutual tls",
                findings,
            );
        }
        if tls.private_key.is_none() {
            object.lacks(
                "privateKey",
                "a file: private key required for mutual tls",
                findings,
            );
        }
    }
    let unheeded: &[&str] = match tls.mode {
        TlsMode::Mutual => &[],
        TlsMode::Simple => &["clientCertificate", "privateKey"],
        TlsMode::IstioMutual => &["clientCertificate", "privateKey", "caCertificates"],
        TlsMode::Disable => &[
            "clientCertificate",
            "privateKey",
            "caCertificates",
            "subjectAltNames",
            "sni",
        ],
    };
    for key in unheeded {
        if let Some(field) = object.get(key) {
            findings.wrong(
                &field,
                format!("has no use with mode {}, expected none", tls.mode.word()),
            );
        }
    }
}
