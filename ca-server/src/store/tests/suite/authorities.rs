//! Keys of authorities and of leaves exclude each other, and one key may have several certificates in turn.

use identity::{Leaf, Reason};
use rcgen::{CertificateParams, KeyPair};

use crate::store::tests::support::{AUTHORITY, Ask, HOUR, Subject, apply, ask, by};
use crate::store::{AuthorityRow, Command, IssueCommand, Outcome};

/// A certificate of a new key, and a request for a leaf of that key.
pub(in crate::store::tests) fn certificate() -> (Vec<u8>, Ask) {
    let certificate = CertificateParams::default()
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap();
    let mut request = ask("a", 1);
    request.facts.key_digest = *Leaf::parse(certificate.der()).unwrap().key_digest().as_bytes();
    (certificate.der().to_vec(), request)
}

pub(in crate::store::tests) fn activation(key_id: &[u8], chain: &[u8], root: &[u8]) -> Command {
    Command::PutAuthority {
        row: AuthorityRow {
            key_id: key_id.to_vec(),
            chain: vec![chain.to_vec()],
            root: root.to_vec(),
            ..AuthorityRow::default()
        },
        by: by(),
    }
}

/// Submits these so that the writer decides them in one batch: it waits for the reader with the batch before.
fn together(subject: &Subject, commands: [Command; 2]) -> [Result<Outcome, Reason>; 2] {
    let reading = subject.store.read();
    let first = subject.store.submit(apply(&[("x", "{}")], false));
    let answers = commands.map(|command| subject.store.submit(command));
    drop(reading);
    first.blocking_recv().unwrap().unwrap();
    answers.map(|answer| {
        answer
            .blocking_recv()
            .unwrap()
            .map_err(|refusal| refusal.reason())
    })
}

pub(in crate::store::tests) fn the_key_of_an_authority_gets_no_leaf_even_in_the_same_batch(
    subject: &Subject,
) {
    let (chain, request) = certificate();
    let (root, of_root) = certificate();
    let (issue, _) = subject.command(&request);
    let [activated, issued] = together(subject, [activation(AUTHORITY, &chain, &root), issue]);
    assert_eq!(activated, Ok(Outcome::Done));
    assert_eq!(issued, Err(Reason::KeyIsAuthority));
    assert_eq!(subject.refused(&request), Reason::KeyIsAuthority);
    assert_eq!(subject.refused(&of_root), Reason::KeyIsAuthority);

    // It is free again when the authority is gone.
    subject.put_authority(b"next");
    subject.pass(HOUR + 1);
    subject.prune();
    subject.issue(&request);
}

pub(in crate::store::tests) fn a_key_that_gets_a_leaf_in_the_same_batch_becomes_no_authority(
    subject: &Subject,
) {
    let (chain, request) = certificate();
    let (issue, _) = subject.command(&request);
    let [issued, activated] = together(subject, [issue, activation(AUTHORITY, &chain, b"root")]);
    assert!(matches!(issued, Ok(Outcome::Recorded { .. })), "{issued:?}");
    assert_eq!(activated, Err(Reason::KeyBound));
    assert_eq!(subject.store.read().authorities().count(), 0);
}

pub(in crate::store::tests) fn a_key_that_is_barred_becomes_no_authority_nor_is_above_one(subject: &Subject) {
    let (barred, request) = certificate();
    let (other, _) = certificate();
    let (leaf, _) = subject.issue(&request);
    subject.revoke(&[leaf], "keyCompromise").unwrap();
    for (chain, root) in [(&barred, &other), (&other, &barred)] {
        let refused = subject.submit(activation(AUTHORITY, chain, root)).unwrap_err();
        assert_eq!(refused.reason(), Reason::KeyCompromised);
    }
    assert!(subject.store.read().authority(AUTHORITY).is_none());
}

pub(in crate::store::tests) fn an_earlier_certificate_of_an_authority_stays_until_the_last_leaf_under_it_expired(
    subject: &Subject,
) {
    let put = |chain: &[u8]| subject.submit(activation(AUTHORITY, chain, b"root")).unwrap();
    let issue = |request: &Ask, generation| {
        let (command, _) = subject.command(request);
        let Command::Issue(command) = command else {
            panic!()
        };
        let IssueCommand { facts, mut issued } = *command;
        issued.authority_generation = generation;
        let outcome = subject.submit(Command::Issue(Box::new(IssueCommand { facts, issued })));
        assert!(matches!(outcome, Ok(Outcome::Recorded { .. })), "{outcome:?}");
    };
    let chains = || -> Vec<Vec<u8>> {
        let state = subject.store.read();
        let row = state.active_authority().unwrap();
        let earlier = row.earlier.iter().map(|own| own.chain.concat());
        earlier.chain([row.chain.concat()]).collect()
    };
    put(b"first");
    issue(&ask("a", 1).life(HOUR), 0);
    put(b"first");
    assert_eq!(chains(), [b"first"], "the same certificate is the same authority");
    put(b"second");
    // Signed before the second took over, recorded after it.
    issue(&ask("a", 2).life(2 * HOUR), 0);
    issue(&ask("a", 3).life(9 * HOUR), 1);
    put(b"third");
    let crl = Command::PutCrl {
        authority: AUTHORITY.to_vec(),
        number: 7,
    };
    subject.submit(crl).unwrap();
    subject.pass(HOUR + HOUR / 2);
    subject.prune();
    assert_eq!(chains(), [&b"first"[..], b"second", b"third"]);
    let before = subject.store.read().revision();
    subject.pass(2 * HOUR);
    subject.prune();
    assert_eq!(chains(), [&b"second"[..], b"third"]);
    assert_eq!(subject.store.read().revision(), before + 1, "the bundle follows");
    subject.pass(8 * HOUR);
    subject.prune();
    assert_eq!(chains(), [b"third"]);
    assert_eq!(subject.store.read().crl_number(AUTHORITY), 7, "its CRLs go on");
}
