//! Istio's `ServiceEntry`: a service by its hosts, its ports, and the workloads behind it.

use crate::destination_rule::host;
use crate::document::is_label;
use crate::fields::{Field, Findings, Object};
use crate::labels::{self, ExportTo, Labels};
use crate::network::Network;
use crate::tree::Value;
use crate::workload_entry::WorkloadEntry;

const SPEC: &[&str] = &[
    "hosts",
    "addresses",
    "ports",
    "location",
    "resolution",
    "endpoints",
    "workloadSelector",
    "exportTo",
    "subjectAltNames",
];
const PROTOCOLS: &str = "HTTP, HTTP2, GRPC, GRPC-WEB, HTTPS, TLS, TCP or MONGO";

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    hosts: Vec<String>,
    addresses: Vec<Network>,
    ports: Vec<ServicePort>,
    location: Option<Location>,
    resolution: Resolution,
    endpoints: Vec<WorkloadEntry>,
    selector: Option<Labels>,
    export_to: ExportTo,
    subject_alt_names: Vec<String>,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The port that clients name.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// What it speaks; nothing where that is not said.
    pub protocol: Option<Protocol>,
    /// The workload's port, where it is another one and the workload names none itself.
    pub target: Option<u16>,
}

/// What a port speaks, as far as it makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP, HTTP2, GRPC, GRPC-WEB.
    Http,
    /// All others.
    Tcp,
}

/// Whether a service is one of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// Outside: clients send no mutual TLS by themselves.
    External,
    /// Within.
    Internal,
}

/// How the addresses of its endpoints are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// The caller's own address is taken.
    #[default]
    None,
    /// Endpoints have addresses.
    Static,
    /// Endpoints, or the hosts, have names to be looked up.
    Dns,
}

impl ServiceEntry {
    /// Its hosts in full, perhaps with wildcards.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Addresses that mean this service.
    pub fn addresses(&self) -> &[Network] {
        &self.addresses
    }

    /// Its ports.
    pub fn ports(&self) -> &[ServicePort] {
        &self.ports
    }

    /// Within the mesh or not; nothing leaves it to each endpoint.
    pub fn location(&self) -> Option<Location> {
        self.location
    }

    /// How the addresses of its endpoints are found.
    pub fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// Endpoints that it names itself.
    pub fn endpoints(&self) -> &[WorkloadEntry] {
        &self.endpoints
    }

    /// Labels of the workloads of its namespace that are its endpoints.
    pub fn selector(&self) -> Option<&Labels> {
        self.selector.as_ref()
    }

    /// The namespaces whose clients know it.
    pub fn export_to(&self) -> &ExportTo {
        &self.export_to
    }

    /// Names of which a server of it must prove one.
    pub fn subject_alt_names(&self) -> &[String] {
        &self.subject_alt_names
    }

    pub(crate) fn check(namespace: &str, spec: &Field<'_>, findings: &mut Findings) -> Option<Self> {
        let object = spec.object(SPEC, findings)?;
        let hosts = hosts(&object, findings);
        let ports = object
            .need("ports", "a list of ports", findings)
            .map(|field| ports(&field, findings));
        let addresses = object.get("addresses").map(|field| {
            field.each("an IP address or a range such as 10.0.0.0/8", findings, |text| {
                text.parse().ok()
            })
        });
        let selector = object
            .get("workloadSelector")
            .and_then(|field| selector(&field, findings));
        let endpoints = object.get("endpoints").map(|field| {
            let items = field.list(findings);
            let one = |item: &Field<'_>| WorkloadEntry::check(&Labels::new(), item, findings);
            items.iter().filter_map(one).collect()
        });
        let entry = Self {
            hosts,
            addresses: addresses.unwrap_or_default(),
            ports: ports.unwrap_or_default(),
            location: word(
                &object,
                "location",
                "MESH_EXTERNAL or MESH_INTERNAL",
                findings,
                location,
            ),
            resolution: word(&object, "resolution", "NONE, STATIC or DNS", findings, resolution)
                .unwrap_or_default(),
            endpoints: endpoints.unwrap_or_default(),
            selector,
            export_to: ExportTo::check(&object, namespace, true, findings),
            subject_alt_names: object
                .get("subjectAltNames")
                .map(|field| field.each("a name", findings, |text| Some(text.to_owned())))
                .unwrap_or_default(),
        };
        entry.check_endpoints(&object, findings);
        Some(entry)
    }

    /// What Istio demands between these fields, in its words.
    fn check_endpoints(&self, object: &Object<'_>, findings: &mut Findings) {
        if let Some(field) = object.get("endpoints") {
            if self.selector.is_some() {
                findings.wrong(
                    &field,
                    "only one of WorkloadSelector or Endpoints is allowed in Service Entry",
                );
            }
            if self.resolution == Resolution::None && !self.endpoints.is_empty() {
                findings.wrong(
                    &field,
                    "no endpoints should be provided for resolution type none, expected resolution STATIC or DNS",
                );
            }
        }
    }
}

fn hosts(object: &Object<'_>, findings: &mut Findings) -> Vec<String> {
    const HOSTS: &str = "a DNS name with a dot, or a wildcard such as *.example.org";
    let full = |text: &str| host(text).filter(|host| host.contains('.'));
    let Some(field) = object.need("hosts", "a list of DNS names", findings) else {
        return Vec::new();
    };
    if matches!(&field.node.value, Value::List(items) if items.is_empty()) {
        findings.wrong(&field, "service entry must have at least one host");
    }
    field.each(HOSTS, findings, full)
}

fn ports(field: &Field<'_>, findings: &mut Findings) -> Vec<ServicePort> {
    const NAME: &str = "a name: a-z, 0-9, '-', at most 63 bytes";
    let mut ports: Vec<ServicePort> = Vec::new();
    for entry in field.list(findings) {
        let Some(object) = entry.object(&["number", "protocol", "name", "targetPort"], findings) else {
            continue;
        };
        let protocol = object
            .get("protocol")
            .filter(|field| !matches!(&field.node.value, Value::Text(text) if text.is_empty()))
            .and_then(|field| field.made(PROTOCOLS, findings, protocol));
        let target = object.get("targetPort").and_then(|field| field.port(findings));
        let name = object
            .need("name", NAME, findings)
            .and_then(|field| field.made(NAME, findings, |text| is_label(text).then(|| text.to_owned())));
        let number = object
            .need("number", "a port", findings)
            .and_then(|field| field.port(findings));
        let (Some(name), Some(number)) = (name, number) else {
            continue;
        };
        if ports.iter().any(|known| known.number == number) {
            findings.wrong(&entry, format!("service entry port {number} already defined"));
        } else if ports.iter().any(|known| known.name == name) {
            findings.wrong(
                &entry,
                format!("service entry port name {name:?} already defined"),
            );
        }
        ports.push(ServicePort {
            number,
            name,
            protocol,
            target,
        });
    }
    ports
}

fn protocol(word: &str) -> Option<Protocol> {
    match word.to_ascii_uppercase().as_str() {
        "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" => Some(Protocol::Http),
        "HTTPS" | "TLS" | "TCP" | "MONGO" => Some(Protocol::Tcp),
        _ => None,
    }
}

fn location(word: &str) -> Option<Location> {
    match word {
        "MESH_EXTERNAL" => Some(Location::External),
        "MESH_INTERNAL" => Some(Location::Internal),
        _ => None,
    }
}

fn resolution(word: &str) -> Option<Resolution> {
    match word {
        "NONE" => Some(Resolution::None),
        "STATIC" => Some(Resolution::Static),
        "DNS" => Some(Resolution::Dns),
        _ => None,
    }
}

fn word<T>(
    object: &Object<'_>,
    key: &str,
    expected: &str,
    findings: &mut Findings,
    make: fn(&str) -> Option<T>,
) -> Option<T> {
    object.get(key)?.made(expected, findings, make)
}

fn selector(field: &Field<'_>, findings: &mut Findings) -> Option<Labels> {
    let object = field.object(&["labels"], findings)?;
    let labels = object
        .get("labels")
        .map(|field| labels::selector(&field, findings))
        .unwrap_or_default();
    if labels.is_empty() {
        findings.warn(
            field,
            "workload selector specified without labels: it selects none",
        );
    }
    Some(labels)
}
