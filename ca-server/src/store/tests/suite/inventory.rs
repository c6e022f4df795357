//! The inventory's look-ups.

use identity::KeyDigest;

use crate::store::inventory::{self, Found, Query};
use crate::store::tests::support::{HOUR, Subject, ask};

fn positions(found: &[Found]) -> Vec<u64> {
    found.iter().map(|found| found.position).collect()
}

pub(in crate::store::tests) fn certificates_are_found_by_serial_id_prefix_and_key(subject: &Subject) {
    let (serial, first) = subject.issue(&ask("ns/a/sa/x", 1));
    let (_, second) = subject.issue(&ask("ns/a/sa/y", 2).life(3 * HOUR));
    let (_, third) = subject.issue(&ask("ns/a/sa/x", 3).life(5 * HOUR));
    subject.apply(&[("a", "1")]).unwrap();
    subject.revoke(&[serial], "superseded").unwrap();

    let found = inventory::by_serial(subject.store.as_ref(), serial)
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.position, found.issued.serial.as_slice()),
        (first, serial.as_bytes())
    );
    assert_eq!(found.revocation.unwrap().reason, "superseded");
    assert_eq!(
        inventory::by_serial(subject.store.as_ref(), "ff".parse().unwrap()),
        Ok(None)
    );

    let list = |query: Query| {
        let page = inventory::list(subject.store.as_ref(), &query, 100, None, subject.now()).unwrap();
        assert_eq!(page.next, None);
        positions(&page.certificates)
    };
    let id = |id: &str| Query {
        spiffe_id: format!("spiffe://example.org/{id}"),
        ..Query::default()
    };
    assert_eq!(list(Query::default()), [third, second, first]);
    assert_eq!(list(id("ns/a/sa/x")), [third, first]);
    assert_eq!(list(id("ns/a/*")), [third, second, first]);
    assert_eq!(list(id("ns/a")), Vec::<u64>::new(), "no star, no prefix");
    let key = Some(KeyDigest::from_bytes([2; 32]));
    assert_eq!(
        list(Query {
            key,
            ..Query::default()
        }),
        [second]
    );
    assert_eq!(
        list(Query {
            key,
            ..id("ns/a/sa/x")
        }),
        Vec::<u64>::new()
    );
    let soon = Some(subject.now() + 4 * HOUR);
    assert_eq!(
        list(Query {
            expires_before: soon,
            ..Query::default()
        }),
        [second, first]
    );

    subject.pass(HOUR + 1);
    assert_eq!(list(id("ns/a/sa/x")), [third]);
    let include_expired = true;
    assert_eq!(
        list(Query {
            include_expired,
            ..id("ns/a/sa/x")
        }),
        [third, first]
    );
}

pub(in crate::store::tests) fn pages_join_to_the_whole_newest_first(subject: &Subject) {
    let mut all: Vec<u64> = (0..10).map(|i| subject.issue(&ask("a", i)).1).collect();
    all.reverse();
    for spiffe_id in ["", "spiffe://example.org/a", "spiffe://example.org/*"] {
        for size in [1, 3, 10] {
            let query = Query {
                spiffe_id: spiffe_id.to_owned(),
                ..Query::default()
            };
            let (mut joined, mut before) = (Vec::new(), None);
            loop {
                let page =
                    inventory::list(subject.store.as_ref(), &query, size, before, subject.now()).unwrap();
                assert!(page.certificates.len() <= size);
                joined.extend(positions(&page.certificates));
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!(joined, all, "{spiffe_id} by {size}");
        }
    }
}
