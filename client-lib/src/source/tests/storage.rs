//! Sources whose folder cannot be written, read or locked.

use std::fs::{self, File};
use std::path::Path;

use super::*;

/// A folder whose place can be taken away and given back.
struct Place {
    around: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let around = tempfile::tempdir().unwrap();
        fs::create_dir(around.path().join("p")).unwrap();
        Self { around }
    }

    fn web(&self) -> PathBuf {
        self.around.path().join("p/web")
    }

    fn take_away(&self) {
        let place = self.around.path();
        fs::rename(place.join("p"), place.join("away")).unwrap();
        fs::write(place.join("p"), "").unwrap();
    }

    fn give_back(&self) {
        let place = self.around.path();
        fs::remove_file(place.join("p")).unwrap();
        fs::rename(place.join("away"), place.join("p")).unwrap();
    }
}

fn names(folder: &Path, part: &str) -> usize {
    let entries = fs::read_dir(folder.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(part)).count()
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_does_not_stop_renewal_and_is_written_when_it_can_be() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.life = Duration::from_secs(4));
    let place = Place::new();
    let builder = X509Source::builder(Proof::token(fake.token())).folder(place.web());
    let source = builder.start().await.unwrap();
    assert_eq!(
        source.status().borrow().stored,
        Some(source.svid().leaf().serial())
    );
    place.take_away();
    until(&source, "two rotations in memory", |status| {
        status.rotations >= 2 && status.storage_error.is_some()
    })
    .await;
    let now = OffsetDateTime::now_utc();
    assert!(source.svid().leaf().validity().contains(now));
    place.give_back();
    until(&source, "the certificate in the folder", |status| {
        status.storage_error.is_none() && status.stored == Some(source.svid().leaf().serial())
    })
    .await;
    let stored = Folder::new(place.web()).unwrap().read().unwrap().unwrap();
    assert_eq!(stored.chain, source.svid().chain());
    let seen = fake.requests();
    for (i, request) in seen.iter().enumerate() {
        let again = seen[i + 1..].iter().find(|later| later.key == request.key);
        assert!(again.is_none(), "a key was certified again");
    }
    assert!(names(&place.web(), ".gen-") <= 2);
}

#[tokio::test]
async fn a_write_that_failed_is_repeated_without_waiting_for_the_next_certificate() {
    let fake = FakeCa::start().await;
    let place = Place::new();
    let builder = X509Source::builder(Proof::token(fake.token())).folder(place.web());
    let source = builder.start().await.unwrap();
    place.take_away();
    let next = fake.root.bundle().with_sequence(5);
    fake.bundle.send_replace(next);
    until(&source, "a failed write", |s| s.storage_error.is_some()).await;
    place.give_back();
    until(&source, "the write", |s| s.storage_error.is_none()).await;
    let stored = Folder::new(place.web()).unwrap().read().unwrap().unwrap();
    assert_eq!(stored.bundle.sequence(), 5);
    assert_eq!(source.status().borrow().rotations, 0);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_stored_costs_one_key_each_and_leaves_no_folder_behind() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.life = Duration::from_secs(4));
    let place = Place::new();
    let builder = X509Source::builder(Proof::token(fake.token())).folder(place.web());
    let source = builder.start().await.unwrap();
    // Keys can be stored, but the link cannot be swapped.
    fs::create_dir_all(place.around.path().join("p/.web.swap/x")).unwrap();
    until(&source, "three rotations", |status| {
        status.rotations >= 3 && status.storage_error.is_some()
    })
    .await;
    let mut keys: Vec<_> = fake.requests().iter().map(|seen| seen.key).collect();
    let requests = keys.len();
    keys.sort_by_key(ToString::to_string);
    keys.dedup();
    assert_eq!(keys.len(), requests, "a key was certified twice");
    assert_eq!(names(&place.web(), ".gen-"), 1);
    drop(source);
    let stored = Folder::new(place.web()).unwrap().read().unwrap().unwrap();
    assert!(stored.key.is_some());
}

#[tokio::test]
async fn a_lock_that_another_process_holds_is_reported_and_does_not_stop_renewal() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.life = Duration::from_secs(4));
    let place = Place::new();
    let builder = X509Source::builder(Proof::token(fake.token())).folder(place.web());
    let source = builder.start().await.unwrap();
    let lock = File::open(place.around.path().join("p/.web.lock")).unwrap();
    lock.lock().unwrap();
    until(&source, "two rotations", |status| {
        status.rotations >= 2 && status.storage_error.is_some()
    })
    .await;
    assert!(
        source
            .svid()
            .leaf()
            .validity()
            .contains(OffsetDateTime::now_utc())
    );
    drop(lock);
    until(&source, "the certificate in the folder", |status| {
        status.stored == Some(source.svid().leaf().serial())
    })
    .await;
}

#[tokio::test]
async fn a_join_token_is_not_spent_on_a_key_that_cannot_be_stored() {
    let fake = FakeCa::start().await;
    let place = Place::new();
    place.take_away();
    let builder = X509Source::builder(Proof::token(fake.token())).folder(place.web());
    let refused = builder.clone().start().await.unwrap_err();
    assert!(matches!(refused, Error::Folder(_)), "{refused}");
    assert!(fake.requests().is_empty());
    // A proof that can be used again enrols with a key in memory.
    let source = X509Source::builder(Proof::jwt("a.b.c").unwrap())
        .server(fake.server())
        .folder(place.web())
        .start()
        .await
        .unwrap();
    assert!(source.status().borrow().storage_error.is_some());
    place.give_back();
    builder.start().await.unwrap();
}

#[tokio::test]
async fn a_broken_folder_does_not_stop_a_source_that_has_a_working_proof() {
    let fake = FakeCa::start().await;
    let place = Place::new();
    let builder = X509Source::builder(Proof::jwt("a.b.c").unwrap())
        .server(fake.server())
        .folder(place.web());
    drop(builder.clone().start().await.unwrap());
    for file in ["source.json", "svid.pem", "svid_key.pem", "bundle.pem"] {
        fs::write(place.web().join(file), "broken").unwrap();
        if file == "source.json" {
            let broken = X509Source::resume(place.web()).unwrap().start().await;
            assert!(
                matches!(broken, Err(Error::Folder(_))),
                "without it there is no proof"
            );
        }
        let source = builder.clone().start().await.unwrap();
        assert_eq!(
            source
                .status()
                .borrow()
                .storage_error
                .as_ref()
                .map(ToString::to_string),
            None
        );
        let stored = Folder::new(place.web()).unwrap().read().unwrap().unwrap();
        assert_eq!(stored.chain, source.svid().chain());
    }
}
