//! Wishes that nobody granted and tokens that nobody made: refused by name, and the true token stays with its holder.

use identity::{JoinToken, Reason};
use rcgen::{CertificateParams, KeyPair, SanType};

use super::admin;
use crate::support::wire::{csr, key};
use crate::support::{Server, Wire};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";

fn csr_with(names: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    let key = KeyPair::generate().expect("a key");
    params.serialize_request(&key).expect("a CSR").der().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_nobody_granted_are_refused_by_name_and_leave_the_token_offered() {
    let server = Server::up();
    let wire = Wire::connect(&server, None).await;
    let (token, _) = admin(&server).await.create_token(WEB).await.expect("a token");
    let text = |text: &str| text.try_into().expect("ASCII");
    let wishes = [
        (
            SanType::DnsName(text("web.example")),
            Reason::NameNotGranted,
            "web.example",
        ),
        (
            SanType::Rfc822Name(text("web@example.org")),
            Reason::NameNotGranted,
            "web@example.org",
        ),
        (
            SanType::IpAddress([192, 0, 2, 7].into()),
            Reason::NameNotGranted,
            "192.0.2.7",
        ),
        (
            SanType::URI(text("spiffe://other.example/ns/default/sa/web")),
            Reason::IdentityNotGranted,
            "other.example",
        ),
        (
            SanType::URI(text("spiffe://example.org/admin/x")),
            Reason::IdentityNotGranted,
            "/admin/x",
        ),
        (
            SanType::URI(text("https://example.org/web")),
            Reason::CsrSan,
            "https",
        ),
    ];
    for (name, reason, named) in wishes {
        let refusal = wire.issue(csr_with(vec![name]), Some(&token)).await;
        let refusal = refusal.expect_err("nobody granted it");
        assert_eq!(refusal.reason(), reason, "{refusal}");
        assert!(refusal.message().contains(named), "{refusal}");
    }
    let two = [WEB, "spiffe://example.org/ns/default/sa/shop"];
    let two = two.map(|uri| SanType::URI(text(uri))).to_vec();
    let refusal = wire
        .issue(csr_with(two), Some(&token))
        .await
        .expect_err("two identities");
    assert_eq!(refusal.reason(), Reason::CsrSan, "{refusal}");

    let granted = wire.issue(csr(&key(), WEB), Some(&token)).await;
    granted.expect("the token is still offered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_forged_at_any_character_is_refused_and_the_real_one_still_works() {
    let server = Server::up();
    let wire = Wire::connect(&server, None).await;
    let (token, id) = admin(&server).await.create_token(WEB).await.expect("a token");
    let key = key();
    let csr = csr(&key, WEB);
    let mut with_its_id = 0;
    for at in JoinToken::PREFIX.len()..token.len() {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).expect("ASCII");
        with_its_id += usize::from(JoinToken::parse(&forged).is_ok_and(|forged| forged.id() == id));
        let refusal = wire.issue(csr.clone(), Some(&forged)).await.expect_err("forged");
        assert_eq!(
            refusal.reason(),
            Reason::TokenInvalid,
            "character {at}: {refusal}"
        );
    }
    assert!(
        with_its_id > 20,
        "{with_its_id} of the forged tokens had the id of the real one"
    );
    wire.issue(csr, Some(&token)).await.expect("the real one works");
}
