//! What an operator does with signing authorities on the data folder while no server runs: prepare a key, activate the chain that was
//! signed for it, list. A running server holds the folder's lock: activation goes to it instead (`signet.v1.Authorities`).

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use identity::{Clock as _, Reason, TrustDomain};
use issuance::{AuthorityKeyType, PreparedAuthority};
use proto::{Refusal, v1};
use runtime::instance::{InstanceError, InstanceFolder};
use rustls_pki_types::CertificateDer;

use super::keys::KeyFolder;
use super::signers::Signers;
use super::{answer, lifecycle};
use crate::clock::{KeptTime, ServerClock, require_undisputed};
use crate::config::{ServerName, default_server_names, unusable_host_name};
use crate::grpc::authorities::message;
use crate::store::{Command, EmbeddedStore, InstanceRow, Store};

/// The folder of keys in the data folder.
const KEYS: &str = "keys";

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The folder is in use, or cannot be written.
    #[error(transparent)]
    Folder(#[from] InstanceError),
    /// The store does not open or close.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// No server has run on the folder, and no authority was prepared in it.
    #[error("no journal in {}, expected the data folder of a server", .0.display())]
    NoJournal(PathBuf),
    /// The request is refused.
    #[error("{}", .0.message())]
    Refused(#[from] Refusal),
}

struct Instance {
    // Held for its lock.
    _folder: InstanceFolder,
    trust_domain: TrustDomain,
    store: Arc<EmbeddedStore>,
    keys: KeyFolder,
    clock: Arc<ServerClock>,
    kept_time: KeptTime,
}

/// Makes a key under `keys/` and returns the CSR for it, in DER. The first time, it fixes the instance's trust domain and server
/// names.
pub async fn prepare(
    data_dir: &Path,
    trust_domain: Option<TrustDomain>,
    server_names: &[ServerName],
) -> Result<Vec<u8>, OfflineError> {
    let instance = Instance::open(data_dir, trust_domain, server_names).await?;
    let csr = make_key(&instance.keys, instance.trust_domain.clone());
    instance.close()?;
    Ok(csr?)
}

/// As [`prepare`], beside the server that runs on this folder for this trust domain: a key needs no record before it is activated.
pub fn prepare_beside(data_dir: &Path, trust_domain: TrustDomain) -> Result<Vec<u8>, Refusal> {
    expect_owner(data_dir, process_user())?;
    make_key(&KeyFolder::new(data_dir.join(KEYS)), trust_domain)
}

fn process_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What a command writes belongs to its user: the server, which runs as the owner of the journal, could not
/// read it and would not start.
fn expect_owner(data_dir: &Path, user: u32) -> Result<(), Refusal> {
    // A folder without a journal is nobody's yet, and other errors are those of opening it.
    let Ok(journal) = std::fs::metadata(EmbeddedStore::journal_dir(data_dir)) else {
        return Ok(());
    };
    let owner = journal.uid();
    if owner == user {
        return Ok(());
    }
    let message = format!(
        "the journal in {} belongs to the user with id {owner}, expected to run as that user, not as {user}: the server \
         could not read what this command writes; run it with `sudo -u '#{owner}'`",
        data_dir.display()
    );
    Err(Refusal::new(Reason::Conflict, message)
        .with("found", user)
        .with("expected", owner))
}

fn make_key(keys: &KeyFolder, trust_domain: TrustDomain) -> Result<Vec<u8>, Refusal> {
    let internal = |e: &dyn std::fmt::Display| Refusal::new(Reason::Internal, e.to_string());
    let prepared =
        PreparedAuthority::generate(trust_domain, AuthorityKeyType::P256).map_err(|e| internal(&e))?;
    keys.save(&prepared).map_err(|e| internal(&e))?;
    prepared.csr().map_err(|e| internal(&e))
}

/// Activates a chain for a key that was prepared here.
pub async fn activate(
    data_dir: &Path,
    chain: &[CertificateDer<'_>],
    root: &CertificateDer<'_>,
) -> Result<v1::SigningAuthority, OfflineError> {
    let instance = Instance::open_existing(data_dir).await?;
    let signers = Signers::new(instance.trust_domain.clone(), instance.keys.clone(), None);
    let activated = match require_undisputed(instance.clock.as_ref()) {
        Ok(()) => {
            let now = instance.clock.now();
            lifecycle::activate(chain, root, &signers, instance.store.as_ref(), "operator", now).await
        }
        Err(refusal) => Err(refusal),
    };
    let row = match activated {
        Ok(signer) => instance.store.read().authority(signer.key_id()).map(message),
        Err(refusal) => {
            instance.close()?;
            return Err(refusal.into());
        }
    };
    instance.close()?;
    row.ok_or_else(|| Refusal::new(Reason::Internal, "the authority was not recorded").into())
}

/// The recorded authorities.
pub async fn list(data_dir: &Path) -> Result<Vec<v1::SigningAuthority>, OfflineError> {
    let instance = Instance::open_existing(data_dir).await?;
    let authorities = instance.store.read().authorities().map(message).collect();
    instance.close()?;
    Ok(authorities)
}

/// Takes the wall clock as right where it lies before the journal's last entry, or differs from the boot-time
/// clock since a server ran in this boot.
pub async fn accept_clock(data_dir: &Path) -> Result<v1::AcceptClockResponse, OfflineError> {
    let instance = Instance::open_existing(data_dir).await?;
    let sample = instance.clock.sample();
    let dispute = instance.clock.dispute();
    let accepted = match &dispute {
        None => Ok(()),
        Some(dispute) => {
            let command = Command::AcceptTime {
                at: sample.wall().unix_timestamp(),
                dispute: dispute.to_string(),
                by: "operator".to_owned(),
            };
            let recorded = answer(instance.store.submit(command)).await;
            recorded.and_then(|_| {
                instance.clock.accept(sample)?;
                let marks = instance.clock.marks();
                let kept = marks.map_or(Ok(()), |marks| instance.kept_time.write(&marks));
                kept.map_err(|e| Refusal::new(Reason::Internal, e.to_string()))
            })
        }
    };
    let message = crate::grpc::clock::message(
        instance.store.as_ref(),
        &instance.keys,
        sample.wall(),
        dispute.as_ref(),
    );
    instance.close()?;
    accepted?;
    Ok(message)
}

impl Instance {
    /// Of a folder that has a journal: a command that only reads or corrects must not fix the trust domain of
    /// a new one.
    async fn open_existing(data_dir: &Path) -> Result<Self, OfflineError> {
        if !EmbeddedStore::exists(data_dir) {
            return Err(OfflineError::NoJournal(data_dir.to_owned()));
        }
        Self::open(data_dir, None, &[]).await
    }

    async fn open(
        data_dir: &Path,
        trust_domain: Option<TrustDomain>,
        server_names: &[ServerName],
    ) -> Result<Self, OfflineError> {
        expect_owner(data_dir, process_user())?;
        let folder = InstanceFolder::claim(data_dir)?;
        let keys = KeyFolder::new(folder.subfolder(KEYS, 0o700)?);
        let kept_time = KeptTime::of(folder.path());
        let clock = Arc::new(ServerClock::system(kept_time.read()));
        let store = Arc::new(EmbeddedStore::open(
            folder.path(),
            Arc::<ServerClock>::clone(&clock),
            |_| {},
        )?);
        let trust_domain = settle(store.as_ref(), trust_domain, server_names).await?;
        Ok(Self {
            _folder: folder,
            trust_domain,
            store,
            keys,
            clock,
            kept_time,
        })
    }

    fn close(&self) -> Result<(), OfflineError> {
        Ok(self.store.close()?)
    }
}

/// The trust domain used where none was given at the first start.
pub const DEFAULT_TRUST_DOMAIN: &str = "example.org";

/// Fixes trust domain and server names at the first start. Later another trust domain is refused, naming both, and other names take
/// the place of the old ones.
pub async fn settle(
    store: &dyn Store,
    trust_domain: Option<TrustDomain>,
    server_names: &[ServerName],
) -> Result<TrustDomain, Refusal> {
    let known = store.read().instance().cloned();
    let invalid = |e: identity::SpiffeIdError| Refusal::new(Reason::Internal, e.to_string());
    let trust_domain = match (trust_domain, &known) {
        (Some(given), _) => given,
        (None, Some(row)) => TrustDomain::new(&row.trust_domain).map_err(invalid)?,
        (None, None) => {
            tracing::warn!(
                "no trust domain was given, so it is {DEFAULT_TRUST_DOMAIN} for the life of this data folder; --trust-domain sets another at the first start"
            );
            TrustDomain::new(DEFAULT_TRUST_DOMAIN).map_err(invalid)?
        }
    };
    let printed = |names: &[ServerName]| names.iter().map(|name| name.as_str().to_owned()).collect();
    // Names that an earlier version took and could not certify are left out.
    let kept = super::signers::server_names(known.as_ref());
    let server_names: Vec<String> = match () {
        () if !server_names.is_empty() => printed(server_names),
        () if !kept.is_empty() => printed(&kept),
        () => {
            if let Some(host) = unusable_host_name() {
                tracing::warn!(
                    "the host name {host:?} is not a DNS name, so it is not in the server's certificate; --server-name gives other names"
                );
            }
            printed(&default_server_names())
        }
    };
    let row = InstanceRow {
        trust_domain: trust_domain.to_string(),
        server_names,
    };
    if known.as_ref() != Some(&row) {
        answer(store.submit(Command::Instance(row))).await?;
    }
    Ok(trust_domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_of_another_user_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let user = process_user();
        assert!(expect_owner(folder.path(), user + 1).is_ok(), "it has no journal");
        std::fs::create_dir(EmbeddedStore::journal_dir(folder.path())).unwrap();
        assert!(expect_owner(folder.path(), user).is_ok());
        let refusal = expect_owner(folder.path(), user + 1).unwrap_err();
        assert_eq!(refusal.reason(), Reason::Conflict);
        let advice = format!("sudo -u '#{user}'");
        assert!(refusal.message().contains(&advice), "{}", refusal.message());
    }
}
