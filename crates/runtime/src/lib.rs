//! What each long-running program of Signet does alike: it claims its folder, binds its listeners, tells when it is ready, drains on a
//! signal, logs for people and for auditors, and shows its metrics. It knows nothing of identities; floor 2 of the house.
//!
//! The states of a process: building (folder claimed, conditions registered) -> ready (every condition met, `ready.json` there) ->
//! draining (signal seen, guards awaited) -> gone.
//!
//! ```no_run
//! # use runtime::{drain::{DEADLINE, Drain}, instance::InstanceFolder, readiness::Readiness, ready::ReadyFile, *};
//! # async fn program() -> Result<(), Box<dyn std::error::Error>> {
//! logs::start(logs::Format::Text, None)?;
//! let folder = InstanceFolder::claim("/var/lib/signet")?;
//! let keys = folder.subfolder("keys", 0o700)?;
//! let (readiness, drain) = (Readiness::new(), Drain::new());
//! let signing = readiness.condition("signing");
//! drain.on_signals()?;
//! tokio::spawn(notify::follow(readiness.clone(), drain.clone()));
//!
//! let flag = "--listen-metrics";
//! let listener = listen::bind(flag, listen::parse_address(flag, "127.0.0.1:15014")?)?;
//! let address = listener.local_addr()?;
//! let router = metrics::router(metrics::registry("0.1.0"), readiness.clone(), drain.clone());
//! tokio::spawn(http::serve(listener, router, drain.clone()));
//! let (admin, _admin_file) = listen::unix_socket(&folder.join("admin.sock"), 0o600, &keys)?;
//!
//! signing.set_ready();
//! readiness.ready().await;
//! let ready = ReadyFile::publish(&folder, &serde_json::json!({ "metrics": address }))?;
//! drain.begun().await;
//! drop(ready);
//! drain.finish(DEADLINE).await;
//! # Ok(()) }
//! ```

pub mod atomic;
pub mod drain;
pub mod http;
pub mod instance;
pub mod listen;
pub mod logs;
pub mod metrics;
pub mod notify;
pub mod places;
pub mod readiness;
pub mod ready;
pub mod threads;
