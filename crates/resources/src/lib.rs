//! YAML and JSON documents to valid values, for every kind, in one place: a value that exists keeps the rules of its kind, and
//! what breaks them is named with line, column and field. `parse` is the entry for files, `split` for long ones, `Document::from_json` for the wire.

mod destination_rule;
mod document;
mod error;
mod explain;
mod fields;
mod kind;
mod labels;
mod network;
mod parts;
mod pattern;
mod peer_authentication;
mod places;
mod registration;
mod service_entry;
mod template;
mod tree;
mod workload_entry;

pub use destination_rule::{ClientTls, DestinationRule, Subset, TlsMode, TrafficPolicy};
pub use document::{Document, MAX_DOCUMENT_BYTES, Resource, is_label, parse};
pub use error::{Position, ResourceError, Warning};
pub use explain::{Asked, Asker, Explanation, explain};
pub use fields::MIN_LIFE;
pub use kind::{Kind, UnknownKind};
pub use labels::{ExportTo, Labels};
pub use network::{Network, NetworkError};
pub use parts::{Part, join, split};
pub use pattern::Pattern;
pub use peer_authentication::{Mode, PeerAuthentication};
pub use registration::{
    Caller, Forks, IdentityError, MAX_HINT_BYTES, Proof, Registration, Rival, Selector, SelectorKind,
    TokenGrant,
};
pub use service_entry::{Location, Protocol, Resolution, ServiceEntry, ServicePort};
pub use template::{Claims, Facts, Template, TemplateError, Variable};
pub use tree::{MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES, MAX_REPEATED_VALUES, MAX_TEXT_BYTES};
pub use workload_entry::WorkloadEntry;
