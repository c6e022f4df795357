//! What each long-running program of Signet does alike: it claims its folder, binds its listeners, tells when it is ready, drains on a
//! signal, logs for people and for auditors, and shows its metrics. It knows nothing of identities; floor 2 of the house.
//!
//! The states of a process: building (folder claimed, conditions registered) -> ready (every condition met, `ready.json` there) ->
//! draining (signal seen, guards awaited) -> gone.

pub mod atomic;
pub mod drain;
pub mod instance;
pub mod listen;
pub mod logs;
pub mod metrics;
pub mod notify;
pub mod readiness;
pub mod ready;
