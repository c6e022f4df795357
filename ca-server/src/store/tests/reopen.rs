//! What only the embedded store has: it comes back as it was, however it stopped.

use crate::store::Store;
use crate::store::tests::support::{AUTHORITY, HOUR, Subject, TestClock, ask, open};

fn fill(subject: &Subject) {
    subject.put_authority(AUTHORITY);
    subject.token_with_registration("t", HOUR);
    let (first, _) = subject.issue(&ask("a", 1).token("t"));
    subject.issue(&ask("a", 2).parent(first));
    let (other, _) = subject.issue(&ask("b", 3));
    subject.revoke(&[other], "keyCompromise").unwrap();
    subject.apply(&[("x", "1"), ("y", "1")]).unwrap();
    subject.delete(&["x"]).unwrap();
}

#[test]
fn a_clean_stop_brings_the_same_state_back() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let subject = Subject::new(std::sync::Arc::new(open(dir.path(), &clock)), clock.clone(), None);
    fill(&subject);
    let before = subject.store.read().clone();
    subject.store.close().unwrap();
    drop(subject);
    let again = open(dir.path(), &clock);
    let state = again.read();
    assert!(state.rows().eq(before.rows()));
    assert_eq!(state.bindings(), before.bindings());
    assert_eq!(state.position(), before.position() + 1, "the snapshot");
}
