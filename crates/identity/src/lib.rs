//! The words that every part of Signet shares: SPIFFE ID, trust domain, serial number, validity, trust bundle, and the kinds
//! and reasons of refusals. `verify` judges peers, `facts` tells people and programs of a thing. Nothing here does input or output; time is always an argument.

pub mod bundle;
pub mod clock;
pub mod der;
pub mod digest;
pub mod dns_name;
pub mod duration;
pub mod facts;
pub mod hex;
pub mod join_token;
pub mod leaf;
pub mod printable;
pub mod reason;
pub mod serial;
pub mod spiffe_id;
pub mod validity;
pub mod verify;

pub use bundle::TrustBundle;
pub use clock::{Clock, Dispute, SystemClock, Witness};
pub use digest::{Fingerprint, KeyDigest};
pub use dns_name::{DnsName, DnsNameError, DnsNames, MAX_DNS_NAMES};
pub use facts::Facts;
pub use join_token::{JoinToken, JoinTokenError};
pub use leaf::Leaf;
pub use printable::printable;
pub use reason::{Kind, Reason};
pub use serial::Serial;
pub use spiffe_id::{SpiffeId, SpiffeIdError, TrustDomain};
pub use validity::{Validity, moment};
pub use verify::{PeerVerifier, Usage, VerifyError};
