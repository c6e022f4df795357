//! Activation by an administrator, and what the audit log says of it.

use std::path::Path;
use std::time::Duration;

use issuance::{AuthorityCsr, AuthorityKeyType, PreparedAuthority, Profile, ProfileName, RootAuthority};
use runtime::logs::AuditLog;
use tempfile::TempDir;
use v1::authorities_server::Authorities;

use super::*;
use crate::authority::bench::key_folder;
use crate::authority::keys::KeyFolder;
use crate::grpc::admin::bench::{Bench, NOW};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A service whose folder of keys holds a prepared one, and the chain that a root signed for it.
struct Prepared {
    service: AuthoritiesService,
    request: v1::ActivateAuthorityRequest,
    _keys: TempDir,
}

impl Prepared {
    fn new(bench: &Bench) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(key_folder(keys.path()));
        let trust_domain = bench.admin.trust_domain.clone();
        let root =
            RootAuthority::create(trust_domain.clone(), 2 * YEAR, AuthorityKeyType::P256, NOW).unwrap();
        let key = PreparedAuthority::generate(trust_domain.clone(), AuthorityKeyType::P256).unwrap();
        folder.save(&key).unwrap();
        let csr = AuthorityCsr::parse(&key.csr().unwrap()).unwrap();
        let signed = root
            .sign_intermediate(&csr, &Profile::default_of(ProfileName::Intermediate), YEAR, NOW)
            .unwrap();
        let signers = Arc::new(Signers::new(trust_domain, folder, None));
        Self {
            service: AuthoritiesService::new(bench.admin.clone(), signers),
            request: v1::ActivateAuthorityRequest {
                chain: vec![signed.der.to_vec()],
                root: root.certificate().to_vec(),
            },
            _keys: keys,
        }
    }

    async fn activate(&self, bench: &Bench) -> Result<v1::SigningAuthority, Refusal> {
        let answer = self
            .service
            .activate_authority(bench.call(self.request.clone()))
            .await;
        answer
            .map(Response::into_inner)
            .map_err(|status| Refusal::from_status(&status))
    }
}

#[tokio::test]
async fn an_activation_is_a_change_by_its_administrator() {
    let bench = Bench::new();
    let activated = Prepared::new(&bench).activate(&bench).await.unwrap();
    let lines = bench.audit_lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["decision"], &lines[0]["method"], &lines[0]["caller"]),
        (&"changed".into(), &"admin".into(), &"unix:uid=0,pid=7".into())
    );
    let message = lines[0]["message"].as_str().unwrap();
    assert!(message.contains(&activated.key_id), "{message}");
}

#[tokio::test]
async fn a_refused_activation_is_told_to_the_audit_log() {
    let bench = Bench::new();
    let mut prepared = Prepared::new(&bench);
    prepared.request.chain.truncate(0);
    let refusal = prepared.activate(&bench).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::ResourceInvalid);
    let lines = bench.audit_lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["decision"], &lines[0]["reason"], &lines[0]["caller"]),
        (
            &"refused".into(),
            &"RESOURCE_INVALID".into(),
            &"unix:uid=0,pid=7".into()
        )
    );
}

#[tokio::test]
async fn nothing_is_activated_while_no_audit_line_can_be_written() {
    let full = AuditLog::file(Path::new("/dev/full")).unwrap();
    let bench = Bench::with_audit_log(tempfile::tempdir().unwrap(), full);
    let prepared = Prepared::new(&bench);
    bench.admin.changed("test", "a line".to_owned(), |_| ());
    while bench.admin.audit.healthy() {
        tokio::task::yield_now().await;
    }
    let refusal = prepared.activate(&bench).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::StoreUnavailable);
    assert_eq!(bench.admin.store.read().authorities().count(), 0);
}
