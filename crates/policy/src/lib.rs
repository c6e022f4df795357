//! Valid resources and the facts of a connection to a decision with its reason: what a client sends, what a server takes, how it
//! ends, and which policy decided. Pure; a set of resources is compiled once, and a decision then allocates nothing.

mod analyze;
mod decision;
mod effect;
mod hosts;
mod inbound;
mod outbound;
mod policies;
mod service;
mod shadowed;

pub use analyze::{Code, Finding, Severity, analyze};
pub use decision::{Carries, Permit, Refused, Why, admit, mesh_peer};
pub use effect::Effect;
pub use inbound::{Inbound, Level};
pub use outbound::{Outbound, RuleLevel, Sends, Target};
pub use policies::{DEFAULT_ROOT_NAMESPACE, Origin, Policies, Workload};
pub use service::Service;
pub use shadowed::Shadowed;

#[cfg(test)]
mod tests;
