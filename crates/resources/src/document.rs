//! Documents: what all kinds have in common (`apiVersion`, `kind`, `metadata`, the form of a `List`), and which constructor
//! makes the rest. kubectl's additions to an object are accepted; they change nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::destination_rule::DestinationRule;
use crate::error::{Position, ResourceError, Warning};
use crate::fields::{Field, Findings, Object};
use crate::kind::Kind;
use crate::parts::{self, Part};
use crate::peer_authentication::PeerAuthentication;
use crate::places::Places;
use crate::registration::Registration;
use crate::service_entry::ServiceEntry;
use crate::tree::{self, Node};
use crate::workload_entry::WorkloadEntry;

#[cfg(test)]
mod tests;

/// Longest document, as JSON, in bytes: what one message of the wire carries.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

const DEFAULT_NAMESPACE: &str = "default";
const ENVELOPE: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
const LIST_ENVELOPE: &[&str] = &["apiVersion", "kind", "metadata", "items"];
const METADATA: &[&str] = &[
    "name",
    "namespace",
    "labels",
    "annotations",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "selfLink",
];

/// Fields of `metadata` that a server keeps: what `get` printed can be applied again and changes nothing.
const SERVERS_OWN: [&str; 6] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// A valid document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, `default` where the text names none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The `apiVersion` that its kind is kept under; one of them, whichever was written.
    pub api_version: String,
    /// `metadata.creationTimestamp` as the text has it. It decides between policies of one scope, and is no part of `json`:
    /// of a stored document the server says it.
    pub created: Option<OffsetDateTime>,
    /// The whole object with its namespace as JSON, its keys in order, without what a server writes into it.
    pub json: String,
    /// The usable value.
    pub resource: Resource,
    /// Legal, and perhaps not meant.
    pub warnings: Vec<Warning>,
    places: Places,
}

/// The usable value of a document; sets that are compiled of policies share it.
#[derive(Clone, Debug)]
pub enum Resource {
    /// Who may have which identity.
    Registration(Box<Registration>),
    /// Which connections a workload takes.
    PeerAuthentication(Arc<PeerAuthentication>),
    /// How clients connect to a service.
    DestinationRule(Arc<DestinationRule>),
    /// A service.
    ServiceEntry(Arc<ServiceEntry>),
    /// One workload.
    WorkloadEntry(Arc<WorkloadEntry>),
}

/// What every kind has beside its `spec`.
pub(crate) struct Names {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    created: Option<OffsetDateTime>,
}

/// Parses a text of YAML or JSON documents. All faults are told, except those behind one that ends the reading of a part;
/// `source_name` is the file in messages.
pub fn parse(text: &str, source_name: &str) -> Result<Vec<Document>, Vec<ResourceError>> {
    let parts = parts::split(text, source_name).map_err(|error| vec![error])?;
    parts::join(parts.iter().map(|part| part.parse(source_name)))
}

impl Part<'_> {
    /// Parses the documents of this part, as [`parse`] does for a whole text.
    pub fn parse(self, source_name: &str) -> Result<Vec<Document>, Vec<ResourceError>> {
        let nodes = tree::read_yaml(self, source_name).map_err(|error| vec![error])?;
        let mut findings = Findings::new(source_name);
        let mut documents = Vec::new();
        for node in &nodes {
            let root = Field {
                node,
                path: String::new(),
            };
            match items(&root, &mut findings) {
                Some(items) => {
                    let of_item = |item: &Field<'_>| Some(one(item, &mut findings)?.of(item.node));
                    documents.extend(items.iter().filter_map(of_item));
                }
                None => documents.extend(one(&root, &mut findings).map(|checked| checked.of(node))),
            }
        }
        if findings.errors.is_empty() {
            Ok(documents)
        } else {
            Err(findings.errors)
        }
    }
}

impl Document {
    /// Parses one JSON object that travelled; the first fault is told, without position.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ResourceError> {
        Self::of_node(&tree::read_json(bytes, MAX_DOCUMENT_BYTES)?, Findings::new(""))
            .map_err(|mut errors| errors.swap_remove(0))
    }

    /// Parses one JSON object that a server stored. DNS names that were accepted once and break the rule of
    /// today are left out with a warning each; otherwise as [`Document::from_json`].
    ///
    /// # Errors
    /// The first other fault.
    pub fn from_stored_json(bytes: &[u8]) -> Result<Self, ResourceError> {
        Self::of_node(&tree::read_json(bytes, MAX_DOCUMENT_BYTES)?, Findings::stored())
            .map_err(|mut errors| errors.swap_remove(0))
    }

    /// Where a field such as `spec.callers[2]` stands in the text, or the deepest on the way to it that there is; the beginning of
    /// the document for an empty name.
    pub fn place(&self, field: &str) -> Position {
        self.places.find(field)
    }

    /// Makes a document of a value built here; as valid as one that was written.
    pub(crate) fn from_value(json: &Json) -> Result<Self, ResourceError> {
        Self::from_json(json.to_string().as_bytes())
    }

    fn of_node(node: &Node, mut findings: Findings) -> Result<Self, Vec<ResourceError>> {
        let root = Field {
            node,
            path: String::new(),
        };
        match one(&root, &mut findings) {
            Some(checked) => Ok(checked.of(node)),
            None => Err(findings.errors),
        }
    }
}

/// The items of a `kind: List`, or nothing where the document is another one.
fn items<'a>(root: &Field<'a>, findings: &mut Findings) -> Option<Vec<Field<'a>>> {
    let mut aside = Findings::new("");
    let kind = root.open_object(&mut aside)?.get("kind")?;
    if kind.text("", &mut aside)? != "List" {
        return None;
    }
    let object = root.object(LIST_ENVELOPE, findings)?;
    let items = object.need("items", "a list of documents", findings);
    Some(items.map(|items| items.list(findings)).unwrap_or_default())
}

/// One document; nothing if a fault was noted.
fn one(root: &Field<'_>, findings: &mut Findings) -> Option<Checked> {
    let faults = findings.errors.len();
    let object = root.object(ENVELOPE, findings)?;
    let kind = kind(&object, findings);
    let names = names(&object, findings);
    let spec = object.get("spec").or_else(|| {
        // Of Istio's kinds, this one alone means something without any field.
        let empty = || object.empty("spec");
        let may_be_absent = matches!(kind, Some(Kind::PeerAuthentication));
        may_be_absent.then(empty)
    });
    if spec.is_none() {
        object.lacks("spec", "a mapping", findings);
    }
    let (kind, names, spec) = (kind?, names?, spec?);
    let resource = match kind {
        Kind::Registration => {
            Registration::check(&names, &spec, findings).map(|value| Resource::Registration(value.into()))
        }
        Kind::PeerAuthentication => {
            PeerAuthentication::check(&spec, findings).map(|value| Resource::PeerAuthentication(value.into()))
        }
        Kind::DestinationRule => DestinationRule::check(&names.namespace, &spec, findings)
            .map(|value| Resource::DestinationRule(value.into())),
        Kind::ServiceEntry => ServiceEntry::check(&names.namespace, &spec, findings)
            .map(|value| Resource::ServiceEntry(value.into())),
        Kind::WorkloadEntry => WorkloadEntry::check(&names.labels, &spec, findings)
            .map(|value| Resource::WorkloadEntry(value.into())),
    };
    let json = canonical(root.node, kind, &names).to_string();
    let length = json.len();
    if length > MAX_DOCUMENT_BYTES {
        findings.wrong(
            root,
            format!("document of {length} bytes, expected at most {MAX_DOCUMENT_BYTES}"),
        );
    }
    if findings.errors.len() > faults {
        return None;
    }
    Some(Checked {
        kind,
        names,
        json,
        resource: resource?,
        warnings: std::mem::take(&mut findings.warnings),
    })
}

/// A document but for its text.
struct Checked {
    kind: Kind,
    names: Names,
    json: String,
    resource: Resource,
    warnings: Vec<Warning>,
}

impl Checked {
    /// With the text that it was made from.
    fn of(self, text: &Node) -> Document {
        Document {
            kind: self.kind,
            namespace: self.names.namespace,
            name: self.names.name,
            api_version: self.kind.api_version().to_owned(),
            created: self.names.created,
            json: self.json,
            resource: self.resource,
            warnings: self.warnings,
            places: Places::of(text),
        }
    }
}

fn kind(object: &Object<'_>, findings: &mut Findings) -> Option<Kind> {
    let known = format!("one of {}", Kind::known());
    let field = object.need("kind", &known, findings);
    let by_word = |word: &str| Kind::ALL.into_iter().find(|kind| kind.word() == word);
    let kind = field.and_then(|field| field.made(&known, findings, by_word));
    let wanted = kind.map_or("group/version, such as signet.dev/v1".to_owned(), |kind| {
        kind.api_versions().join(" or ")
    });
    let version = object.need("apiVersion", &wanted, findings)?;
    let right = |text: &str| {
        let known = kind.is_none_or(|kind| kind.api_versions().contains(&text));
        known.then_some(())
    };
    version.made(&wanted, findings, right)?;
    kind
}

fn names(object: &Object<'_>, findings: &mut Findings) -> Option<Names> {
    const NAME: &str = "a DNS-1123 subdomain: a-z, 0-9, '-', '.', at most 253 bytes";
    const NAMESPACE: &str = "a DNS-1123 label: a-z, 0-9, '-', at most 63 bytes";
    let metadata = object
        .need("metadata", "a mapping with a name", findings)?
        .object(METADATA, findings)?;
    let mut map = |key| metadata.get(key).map(|field| field.text_map(findings));
    let (labels, _) = (map("labels").unwrap_or_default(), map("annotations"));
    let created = metadata.get("creationTimestamp").and_then(|field| {
        field.made("a time such as 2026-01-31T12:00:00Z", findings, |text| {
            OffsetDateTime::parse(text, &Rfc3339).ok()
        })
    });
    let owned = |valid: fn(&str) -> bool| move |text: &str| valid(text).then(|| text.to_owned());
    let namespace = match metadata.get("namespace") {
        None => Some(DEFAULT_NAMESPACE.to_owned()),
        Some(field) => field.made(NAMESPACE, findings, owned(is_label)),
    };
    let name = metadata
        .need("name", NAME, findings)
        .and_then(|field| field.made(NAME, findings, owned(is_subdomain)));
    Some(Names {
        namespace: namespace?,
        name: name?,
        labels,
        created,
    })
}

fn canonical(node: &Node, kind: Kind, names: &Names) -> Json {
    let mut json = node.value.to_json();
    if let Some(object) = json.as_object_mut() {
        object.remove("status");
        object.insert("apiVersion".to_owned(), kind.api_version().into());
        if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
            fill(metadata, names);
        }
    }
    json
}

fn fill(metadata: &mut Map<String, Json>, names: &Names) {
    for field in SERVERS_OWN {
        metadata.remove(field);
    }
    metadata.insert("namespace".to_owned(), names.namespace.as_str().into());
}

/// Whether a text is a DNS-1123 label, as Kubernetes names namespaces.
pub fn is_label(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// DNS-1123 subdomain: labels joined by dots.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}
