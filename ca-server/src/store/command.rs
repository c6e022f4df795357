//! What the store is asked to do, and what it answers. A command is decided and recorded as one: all of it or nothing.

use identity::Serial;

use super::entry::{Issued, Refused};
use super::revocation::{Revocation, Selection};
use super::rows::{AuthorityRow, InstanceRow, ResourceRow, TokenRow};

/// One decision to be made and recorded. `by` is the caller as audit lines name it.
#[derive(Clone, Debug)]
pub enum Command {
    /// What is fixed at the first start. Later the server names may change; another trust domain is `CONFLICT`.
    Instance(InstanceRow),
    /// A signed certificate.
    Issue(Box<IssueCommand>),
    /// A join token, offered.
    CreateToken {
        /// Its row.
        token: TokenRow,
        /// The registration made for it; the store gives it revisions and a time.
        registration: Option<ResourceRow>,
        /// Who asks.
        by: String,
    },
    /// Ends a join token, whatever became of it.
    RevokeToken {
        /// Its id.
        id: String,
        /// Who asks.
        by: String,
    },
    /// Documents to be created or changed.
    Apply {
        /// All of them valid.
        resources: Vec<NewResource>,
        /// Say what would be done, and record nothing.
        dry_run: bool,
        /// Who asks.
        by: String,
    },
    /// Resources to be removed; if one does not exist none is.
    Delete {
        /// Which.
        which: Vec<ResourceName>,
        /// Who asks.
        by: String,
    },
    /// Certificates to be revoked. Which ones is decided when the command is, so that nothing renewed
    /// meanwhile escapes.
    Revoke {
        /// What selects them.
        which: Revocation,
        /// What was read of them before the command was submitted; see [`super::revocation::select`].
        known: Selection,
        /// RFC 5280 name of the reason. `keyCompromise` revokes every valid certificate of the keys, and bars
        /// them permanently.
        reason: String,
        /// Who asks.
        by: String,
    },
    /// An authority to be put to work; the one that works now is marked as replaced.
    PutAuthority {
        /// Its row; `activated_at` 0 means now.
        row: AuthorityRow,
        /// Who asks.
        by: String,
    },
    /// A CRL that is about to be published.
    PutCrl {
        /// Subject key id of its authority.
        authority: Vec<u8>,
        /// Its number: greater than any before.
        number: u64,
    },
    /// A refusal that belongs into the record.
    Refused {
        /// Who was refused.
        by: String,
        /// Why, and how often.
        refused: Refused,
    },
    /// A wall clock that is believed from now on.
    AcceptTime {
        /// Its time, which dates the entry; seconds since 1970.
        at: i64,
        /// The dispute that this ends.
        dispute: String,
        /// The caller.
        by: String,
    },
    /// Removes rows that have no use any more. The store does this by itself once a minute.
    Prune,
}

impl Command {
    /// The administrator whose change it is, and what it changes, for audit lines.
    pub(crate) fn change(&self) -> Option<(String, String)> {
        let (by, what) = match self {
            Command::CreateToken { token, by, .. } => (by, format!("create join token {}", token.id)),
            Command::RevokeToken { id, by } => (by, format!("revoke join token {id}")),
            Command::Apply {
                resources,
                by,
                dry_run,
            } if !dry_run => (by, format!("apply {} resources", resources.len())),
            Command::Delete { which, by } => (by, format!("delete {} resources", which.len())),
            Command::Revoke {
                which, reason, by, ..
            } => (by, format!("revoke {which}: {reason}")),
            Command::PutAuthority { row, by } => (
                by,
                format!("activate authority {}", identity::hex::encode(&row.key_id)),
            ),
            _ => return None,
        };
        Some((by.clone(), what))
    }

    /// Whether it records something that was signed, or a token, whose expiry would be wrong: that is not
    /// done while the time is disputed. CRLs are an exception: a revocation is urgent.
    pub(super) fn needs_undisputed_time(&self) -> bool {
        matches!(
            self,
            Command::Issue(_) | Command::PutAuthority { .. } | Command::CreateToken { .. }
        )
    }
}

/// A certificate and the facts that it was granted by.
#[derive(Clone, Debug)]
pub struct IssueCommand {
    /// What is judged once more before it is recorded.
    pub facts: IssueFacts,
    /// The certificate.
    pub issued: Issued,
}

/// What an issue is judged by.
#[derive(Clone, Debug)]
pub struct IssueFacts {
    /// The identity.
    pub spiffe_id: String,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub key_digest: [u8; 32],
    /// SHA-256 of what was wished for.
    pub wish: [u8; 32],
    /// The certificate that it is renewed from.
    pub parent: Option<Parent>,
    /// Id of the token that it redeems.
    pub token: Option<String>,
    /// The registration that granted it, as the caller saw it.
    pub registration: Option<RegistrationRef>,
    /// Whether that registration says `forks: refuse`.
    pub refuse_forks: bool,
    /// Seconds since 1970.
    pub now: i64,
}

/// A certificate that is renewed, as the journal has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its serial number.
    pub serial: Serial,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key_digest: [u8; 32],
    /// Its notAfter, in seconds since 1970.
    pub not_after: i64,
}

/// A registration as it was seen: its name, the revision that created it, and that of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Tells it from an earlier one of this name.
    pub created_revision: u64,
    /// Tells whether it has changed since.
    pub revision: u64,
}

/// The judgement of an issue that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A certificate may be made.
    New {
        /// It is a second key renewed from one parent.
        fork: bool,
    },
    /// The certificate recorded at this position is the answer.
    Replay {
        /// Where it is recorded.
        position: u64,
    },
}

/// A valid document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewResource {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The whole object in canonical JSON: equal bytes mean that nothing changes.
    pub document_json: Vec<u8>,
}

/// What names a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceName {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What became of a command that was not refused. It is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or so already.
    Done,
    /// The certificate may leave.
    Recorded {
        /// Where it is recorded.
        position: u64,
        /// It is a second key renewed from one parent.
        fork: bool,
    },
    /// The certificate given must not leave; the one recorded here is the answer.
    Replay {
        /// Where it is recorded.
        position: u64,
    },
    /// Documents were applied.
    Applied {
        /// What was done, in the order of the documents.
        verbs: Vec<Verb>,
        /// The revision of the resources now.
        revision: u64,
    },
    /// Resources were removed.
    Deleted {
        /// The revision of the resources now.
        revision: u64,
    },
    /// Certificates were revoked.
    Revoked {
        /// Those that were not revoked before.
        serials: Vec<Serial>,
        /// Nothing that was selected is left. Otherwise the same command is to be submitted again.
        is_complete: bool,
    },
}

/// What became of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It was new.
    Created,
    /// It took the place of another.
    Configured,
    /// It was so already.
    Unchanged,
}
