//! Istio's `WorkloadEntry`: one workload with its address, its labels, and whether it is enrolled in the mesh. A `ServiceEntry` has
//! endpoints of the same fields.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::document::is_subdomain;
use crate::fields::{Field, Findings};
use crate::labels::{self, Labels};

/// The label by which a workload says that it speaks the mesh's mutual TLS.
const TLS_MODE: &str = "security.istio.io/tlsMode";

pub(crate) const FIELDS: &[&str] = &[
    "address",
    "ports",
    "labels",
    "network",
    "locality",
    "weight",
    "serviceAccount",
];
const UNHEEDED: &[(&str, &str)] = &[
    ("network", "all workloads are on one network"),
    ("locality", "traffic is not steered by place"),
    ("weight", "traffic is not weighted"),
];

/// One workload, or one endpoint of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadEntry {
    address: String,
    ports: BTreeMap<String, u16>,
    labels: Labels,
    service_account: Option<String>,
}

impl WorkloadEntry {
    /// IP address or DNS name.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its ports by the names that services call them.
    pub fn ports(&self) -> &BTreeMap<String, u16> {
        &self.ports
    }

    /// Its labels; those of the document's metadata go before those of its spec, as in Istio.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Its service account.
    pub fn service_account(&self) -> Option<&str> {
        self.service_account.as_deref()
    }

    /// Whether it has a proxy that speaks the mesh's mutual TLS.
    pub fn is_enrolled(&self) -> bool {
        self.service_account.is_some() || self.labels.get(TLS_MODE).is_some_and(|mode| mode == "istio")
    }

    pub(crate) fn check(own: &Labels, spec: &Field<'_>, findings: &mut Findings) -> Option<Self> {
        const ADDRESS: &str = "an IP address or a DNS name";
        let object = spec.object(FIELDS, findings)?;
        object.refuse(UNHEEDED, findings);
        let address = object
            .need("address", ADDRESS, findings)
            .and_then(|field| field.made(ADDRESS, findings, address));
        let mut found = object
            .get("labels")
            .map(|field| labels::checked(&field, findings))
            .unwrap_or_default();
        found.extend(own.clone());
        let service_account = object.get("serviceAccount").and_then(|field| {
            field.made("the name of a service account", findings, |text| {
                is_subdomain(text).then(|| text.to_owned())
            })
        });
        let ports = object
            .get("ports")
            .map(|field| ports(&field, findings))
            .unwrap_or_default();
        Some(Self {
            address: address?,
            ports,
            labels: found,
            service_account,
        })
    }
}

fn address(text: &str) -> Option<String> {
    let known = text.parse::<IpAddr>().is_ok() || is_subdomain(text);
    known.then(|| text.to_owned())
}

fn ports(field: &Field<'_>, findings: &mut Findings) -> BTreeMap<String, u16> {
    let Some(object) = field.open_object(findings) else {
        return BTreeMap::new();
    };
    let port = |(name, field): (&str, Field<'_>)| Some((name.to_owned(), field.port(findings)?));
    object.fields().filter_map(port).collect()
}
