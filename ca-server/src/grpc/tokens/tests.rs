//! The service `Tokens`, asked by an administrator and by others.

mod names;

use super::*;
use crate::grpc::admin::bench::{Bench, NOW, ROOT};
use crate::store::{NewResource, Outcome};
use identity::Fingerprint;
use identity::spiffe_id::Role;
use runtime::logs::AuditLog;
use std::path::Path;
use std::time::Duration;
use v1::tokens_server::Tokens;

const DETAILS: &str = "spiffe://example.org/ns/default/sa/details";

fn service(bench: &Bench) -> TokensService {
    TokensService::new(bench.admin.clone())
}

fn wish(spiffe_id: &str) -> v1::CreateTokenRequest {
    v1::CreateTokenRequest {
        spiffe_id: spiffe_id.to_owned(),
        ..v1::CreateTokenRequest::default()
    }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

async fn create(bench: &Bench, wish: v1::CreateTokenRequest) -> Result<v1::CreateTokenResponse, Refusal> {
    let answer = service(bench).create_token(bench.call(wish)).await;
    answer
        .map(Response::into_inner)
        .map_err(|status| Refusal::from_status(&status))
}

async fn list(bench: &Bench) -> Vec<v1::Token> {
    let answer = service(bench)
        .list_tokens(bench.call(v1::ListTokensRequest::default()))
        .await;
    answer.unwrap().into_inner().tokens
}

async fn apply(bench: &Bench, name: &str, spec: &str) {
    let json = format!(
        r#"{{"apiVersion":"signet.dev/v1","kind":"Registration","metadata":{{"name":"{name}"}},"spec":{spec}}}"#
    );
    let document = resources::Document::from_json(json.as_bytes()).unwrap();
    let resource = NewResource {
        kind: document.kind.word().to_owned(),
        namespace: document.namespace,
        name: document.name,
        document_json: document.json.clone().into_bytes(),
    };
    let command = Command::Apply {
        resources: vec![resource],
        dry_run: false,
        by: "test".to_owned(),
    };
    assert!(matches!(
        bench.admin.submit(command).await,
        Ok(Outcome::Applied { .. })
    ));
}

#[tokio::test]
async fn a_token_names_server_root_and_trust_domain_and_is_kept_as_a_digest() {
    let bench = Bench::new();
    let v1::CreateTokenResponse { token, secret } = create(&bench, wish(DETAILS)).await.unwrap();
    let (token, text) = (token.unwrap(), JoinToken::parse(&secret).unwrap());
    assert_eq!(text.id(), token.id);
    assert_eq!(text.server(), "ca.example.org:15012");
    assert_eq!(text.fingerprint(), Fingerprint::of(ROOT));
    assert_eq!(text.trust_domain().as_str(), "example.org");
    assert!(text.secret().len() >= 32);
    assert_eq!(token.expires_at.unwrap().seconds, NOW.unix_timestamp() + 600);
    {
        let state = bench.admin.store.read();
        let row = state.token(&token.id).unwrap();
        assert_eq!(row.digest, JoinToken::digest_of(&secret));
        assert!(!format!("{row:?}").contains(text.secret()));
    }
    let line = &bench.audit_lines()[0];
    assert_eq!(
        (&line["decision"], &line["identity"], &line["caller"]),
        (&"changed".into(), &DETAILS.into(), &"unix:uid=0,pid=7".into())
    );
    assert!(!line.to_string().contains(text.secret()));
}

#[tokio::test]
async fn two_tokens_share_neither_id_nor_secret() {
    let bench = Bench::new();
    let mut texts = Vec::new();
    for _ in 0..2 {
        texts.push(JoinToken::parse(&create(&bench, wish(DETAILS)).await.unwrap().secret).unwrap());
    }
    assert_ne!(texts[0].id(), texts[1].id());
    assert_ne!(texts[0].secret(), texts[1].secret());
}

#[tokio::test]
async fn where_no_registration_grants_the_identity_one_is_made_for_the_token() {
    let bench = Bench::new();
    let mut agent = wish("spiffe://example.org/agent/node-1");
    agent.role = "agent".to_owned();
    agent.dns_names = vec!["node-1.example.org".to_owned()];
    agent.life = seconds(7200);
    let token = create(&bench, agent).await.unwrap().token.unwrap();
    assert_eq!(token.registration, format!("default/token-{}", token.id));
    let set = bench.admin.registrations.current();
    let made = &set
        .get("default", &format!("token-{}", token.id))
        .unwrap()
        .registration;
    assert!(made.grants_caller(&Proof::Token).is_some());
    assert_eq!(
        (made.role(), made.life()),
        (Role::Agent, Some(Duration::from_secs(7200)))
    );
    assert_eq!(made.dns_names(), ["node-1.example.org"]);
    assert!(
        bench
            .admin
            .store
            .read()
            .token(&token.id)
            .unwrap()
            .made_registration
    );
}

#[tokio::test]
async fn a_registration_that_grants_it_is_used_and_bounds_names_and_life() {
    let bench = Bench::new();
    let spec = format!(
        r#"{{"spiffeId":"{DETAILS}","dnsNames":["details.example.org"],"maxLife":"2h","callers":["token"]}}"#
    );
    apply(&bench, "details", &spec).await;
    let token = create(&bench, wish(DETAILS)).await.unwrap().token.unwrap();
    assert_eq!(token.registration, "default/details");
    assert!(
        !bench
            .admin
            .store
            .read()
            .token(&token.id)
            .unwrap()
            .made_registration
    );

    let mut named = wish(DETAILS);
    named.dns_names = vec!["details.example.org".to_owned()];
    assert!(create(&bench, named.clone()).await.is_ok());
    named.dns_names.push("other.example.org".to_owned());
    let refusal = create(&bench, named).await.unwrap_err();
    assert_eq!(
        (refusal.reason(), refusal.evidence("name")),
        (Reason::NameNotGranted, Some("other.example.org"))
    );

    let mut long = wish(DETAILS);
    long.life = seconds(3 * 3600);
    let refusal = create(&bench, long).await.unwrap_err();
    assert_eq!(
        (refusal.reason(), refusal.evidence("limit")),
        (Reason::LifeTooLong, Some("2h"))
    );
}

#[tokio::test]
async fn a_registration_for_other_callers_is_not_enough() {
    let bench = Bench::new();
    apply(
        &bench,
        "details",
        &format!(r#"{{"spiffeId":"{DETAILS}","callers":["certificate:factory:*"]}}"#),
    )
    .await;
    let token = create(&bench, wish(DETAILS)).await.unwrap().token.unwrap();
    assert_ne!(token.registration, "default/details");
}

#[tokio::test]
async fn a_wish_that_breaks_a_rule_is_refused_with_its_field_and_makes_nothing() {
    let bench = Bench::new();
    let of = |change: fn(&mut v1::CreateTokenRequest)| {
        let mut wish = wish(DETAILS);
        change(&mut wish);
        wish
    };
    for (wish, reason, field) in [
        (wish("details"), Reason::IdentityNotGranted, "spiffe_id"),
        (
            wish("spiffe://other.org/a"),
            Reason::IdentityNotGranted,
            "spiffe_id",
        ),
        (
            wish("spiffe://example.org"),
            Reason::IdentityNotGranted,
            "spiffe_id",
        ),
        (
            wish("spiffe://example.org/server/x"),
            Reason::IdentityNotGranted,
            "spiffe_id",
        ),
        (
            wish("spiffe://example.org/admin/alice"),
            Reason::ResourceInvalid,
            "role",
        ),
        (
            of(|wish| wish.role = "admin".to_owned()),
            Reason::ResourceInvalid,
            "role",
        ),
        (of(|wish| wish.ttl = seconds(0)), Reason::LifeTooShort, "ttl"),
        (of(|wish| wish.life = seconds(9)), Reason::LifeTooShort, "life"),
        (of(|wish| wish.ttl = seconds(-600)), Reason::LifeTooShort, "ttl"),
        (
            of(|wish| wish.ttl = seconds(i64::MAX)),
            Reason::LifeTooLong,
            "ttl",
        ),
        (of(|wish| wish.life = seconds(-1)), Reason::LifeTooShort, "life"),
        (
            of(|wish| wish.life = seconds(25 * 3600)),
            Reason::LifeTooLong,
            "life",
        ),
        (
            of(|wish| wish.dns_names = vec!["*.example.org".to_owned()]),
            Reason::ResourceInvalid,
            "dns_names",
        ),
        (
            of(|wish| wish.dns_names = vec!["ca.example.org".to_owned()]),
            Reason::NameNotGranted,
            "dns_names",
        ),
        (
            of(|wish| wish.dns_names = vec!["a".to_owned(); 10_000]),
            Reason::ResourceInvalid,
            "dns_names",
        ),
        (
            of(|wish| wish.server = "ca.example.org".to_owned()),
            Reason::ResourceInvalid,
            "server",
        ),
    ] {
        let refusal = create(&bench, wish).await.unwrap_err();
        assert_eq!(
            (refusal.reason(), refusal.evidence("field")),
            (reason, Some(field)),
            "{refusal}"
        );
    }
    assert!(list(&bench).await.is_empty());
    assert_eq!(bench.admin.store.head().position, 0);
}

#[tokio::test]
async fn tokens_are_listed_in_pages_with_their_states() {
    let bench = Bench::new();
    for _ in 0..5 {
        create(&bench, wish(DETAILS)).await.unwrap();
    }
    let (mut ids, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListTokensRequest {
            page_size: 2,
            page_token,
        };
        let page = service(&bench)
            .list_tokens(bench.call(request))
            .await
            .unwrap()
            .into_inner();
        assert!((1..=2).contains(&page.tokens.len()));
        ids.extend(page.tokens.into_iter().map(|token| token.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted_by(|a, b| a < b));
    let revoke = v1::RevokeTokenRequest { id: ids[0].clone() };
    service(&bench).revoke_token(bench.call(revoke)).await.unwrap();
    assert_eq!(list(&bench).await[1].state(), State::Offered);
    bench.later(Duration::from_secs(601));
    let states: Vec<State> = list(&bench).await.iter().map(v1::Token::state).collect();
    assert_eq!(states[..2], [State::Revoked, State::Expired]);
}

#[tokio::test]
async fn a_token_that_does_not_exist_cannot_be_revoked() {
    let bench = Bench::new();
    let revoke = v1::RevokeTokenRequest {
        id: "nothing".to_owned(),
    };
    let status = service(&bench)
        .revoke_token(bench.call(revoke))
        .await
        .unwrap_err();
    assert_eq!(Refusal::from_status(&status).reason(), Reason::NotFound);
}

#[tokio::test]
async fn nobody_else_makes_tokens() {
    let bench = Bench::new();
    let stranger = Request::new(wish(DETAILS));
    assert!(service(&bench).create_token(stranger).await.is_err());
    assert!(list(&bench).await.is_empty());
}

#[tokio::test]
async fn while_no_audit_line_can_be_written_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::with_audit_log(folder, AuditLog::file(Path::new("/dev/full")).unwrap());
    create(&bench, wish(DETAILS)).await.unwrap();
    while bench.admin.audit.healthy() {
        tokio::task::yield_now().await;
    }
    let refusal = create(&bench, wish(DETAILS)).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::StoreUnavailable);
    assert_eq!(list(&bench).await.len(), 1);
}
