//! Certificates on disk: what is written is read, readers never see a pair that does not fit, strangers are left alone.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::atomic::{AtomicBool, Ordering};

use identity::{Fingerprint, Leaf, TrustDomain};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::pem::PemObject;

use super::generation::create_file;
use super::*;
use crate::boot_time::{BootTime, Reading};
use crate::key::KeyType;

fn stored() -> Stored {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let pair = KeyPair::try_from(key.pkcs8()).unwrap();
    let leaf = CertificateParams::new(vec!["web.example".to_owned()]).unwrap();
    let leaf = leaf.self_signed(&pair).unwrap().der().clone();
    let trust_domain = TrustDomain::new("td").unwrap();
    Stored {
        bundle: TrustBundle::new(trust_domain.clone(), vec![leaf.clone()]).unwrap(),
        chain: vec![leaf],
        key: Some(key),
        server: CaServer::new("ca.example:15012", Fingerprint::of(b"root"), trust_domain).unwrap(),
        life: Some(Duration::from_secs(90)),
        receipt: None,
        proof: None,
    }
}

fn folder() -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path().join("web")).unwrap();
    (place, folder)
}

fn fits(stored: &Stored) -> bool {
    let leaf = Leaf::parse(&stored.chain[0]).unwrap();
    leaf.key_digest() == stored.key.as_ref().unwrap().digest() && stored.bundle.roots()[0] == stored.chain[0]
}

#[test]
fn what_was_written_is_read_and_only_the_owner_reads_the_key() {
    let (_place, folder) = folder();
    assert!(folder.read().unwrap().is_none());
    let written = stored();
    folder.write(&written).unwrap();
    let read = folder.read().unwrap().unwrap();
    assert!(fits(&read));
    assert_eq!(
        (read.chain, read.server, read.life),
        (written.chain, written.server, written.life)
    );
    let mode = fs::metadata(folder.path().join("svid_key.pem"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn without_a_key_of_ours_no_key_file_is_written() {
    let (_place, folder) = folder();
    folder
        .write(&Stored {
            key: None,
            ..stored()
        })
        .unwrap();
    assert!(!folder.path().join("svid_key.pem").exists());
    assert!(folder.read().unwrap().unwrap().key.is_none());
}

#[test]
fn a_reader_in_a_loop_reads_a_pair_that_fits_during_200_rotations() {
    let (_place, folder) = folder();
    folder.write(&stored()).unwrap();
    let done = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u32;
            while !done.load(Ordering::Relaxed) {
                assert!(fits(&folder.read().unwrap().unwrap()));
                // A reader that knows nothing of us resolves the link itself.
                let once = folder
                    .path()
                    .parent()
                    .unwrap()
                    .join(fs::read_link(folder.path()).unwrap());
                let files = (
                    fs::read(once.join("svid.pem")),
                    fs::read(once.join("svid_key.pem")),
                );
                if let (Ok(chain), Ok(key)) = files {
                    let leaf: CertificateDer<'_> = PemObject::from_pem_slice(&chain).unwrap();
                    let leaf = Leaf::parse(&leaf).unwrap();
                    assert_eq!(leaf.key_digest(), PrivateKey::from_pem(&key).unwrap().digest());
                }
                reads += 1;
            }
            reads
        });
        for _ in 0..200 {
            folder.write(&stored()).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(reads > 0);
    assert_eq!(
        folder.numbered(GENERATION).unwrap().len(),
        2,
        "only the folder before is kept"
    );
}

#[test]
fn the_folder_before_is_kept_whole() {
    let (_place, folder) = folder();
    folder.write(&stored()).unwrap();
    let before = fs::canonicalize(folder.path()).unwrap();
    folder.write(&stored()).unwrap();
    assert!(fits(&Generation::at(before.clone()).read().unwrap()));
    folder.write(&stored()).unwrap();
    assert!(!before.exists());
}

#[test]
fn what_a_crash_left_behind_is_removed_by_the_next_rotation() {
    let (_place, folder) = folder();
    folder.write(&stored()).unwrap();
    for left in [".old-7", ".gen-00000009"] {
        fs::create_dir(folder.beside(left)).unwrap();
    }
    symlink("nowhere", folder.beside(".swap")).unwrap();
    folder.write(&stored()).unwrap();
    assert!(fits(&folder.read().unwrap().unwrap()));
    assert!(!folder.beside(".old-7").exists() && !folder.beside(".gen-00000009").exists());
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let (place, folder) = folder();
    fs::create_dir(folder.path()).unwrap();
    fs::write(folder.path().join("precious"), "x").unwrap();
    assert!(matches!(
        folder.write(&stored()),
        Err(FolderError::NotOurs { .. })
    ));
    assert!(folder.path().join("precious").exists());
    let empty = Folder::new(place.path().join("empty")).unwrap();
    fs::create_dir(empty.path()).unwrap();
    empty.write(&stored()).unwrap();
    assert!(fits(&empty.read().unwrap().unwrap()));
}

#[test]
fn a_pending_key_is_the_same_until_it_is_answered() {
    let (_place, folder) = folder();
    let first = folder.pending_key(KeyType::P256).unwrap();
    let mode = fs::metadata(folder.pending_path(KeyType::P256))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        folder.pending_key(KeyType::P256).unwrap().digest(),
        first.digest()
    );
    folder.write(&stored()).unwrap();
    assert_ne!(
        folder.pending_key(KeyType::P256).unwrap().digest(),
        first.digest()
    );
    fs::write(folder.pending_path(KeyType::P256), "torn").unwrap();
    folder.pending_key(KeyType::P256).unwrap();
}

#[test]
fn damage_is_named_with_its_file() {
    let (_place, folder) = folder();
    folder.write(&stored()).unwrap();
    for (file, text) in [
        ("source.json", "{\"server\":\"nowhere\"}"),
        (
            "source.json",
            "{\"server\":\"a\",\"fingerprint\":\"00\",\"trustDomain\":\"td\"}",
        ),
        (
            "bundle.pem",
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        ),
    ] {
        folder.write(&stored()).unwrap();
        fs::write(folder.path().join(file), text).unwrap();
        let error = folder.read().unwrap_err();
        assert!(error.to_string().contains(file), "{error}");
    }
    assert!(Folder::new("/").is_err());
}

/// Everything next to `D` whose name contains this.
fn names(folder: &Folder, part: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.parent()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(part)).collect()
}

#[test]
fn the_receipt_the_sequence_of_the_bundle_and_the_proof_are_read_back() {
    let (_place, folder) = folder();
    let at = Reading {
        wall: OffsetDateTime::UNIX_EPOCH,
        boot: BootTime::of("boot", Duration::from_millis(1_234)),
    };
    let (life, half) = (Duration::from_secs(60), Duration::from_secs(30));
    let written = Stored {
        receipt: Some(Receipt::recorded(at, OffsetDateTime::UNIX_EPOCH, life, half)),
        proof: Some(Fingerprint::of(b"proof")),
        bundle: stored().bundle.with_sequence(7),
        ..stored()
    };
    folder.write(&written).unwrap();
    let read = folder.read().unwrap().unwrap();
    assert_eq!(
        (read.receipt, read.proof, read.bundle.sequence()),
        (written.receipt, written.proof, 7)
    );
}

/// Gives a file to another user. Only root can; for others it becomes one that all can read, which is as
/// foreign.
fn give_away(path: &Path, user: u32) {
    if std::os::unix::fs::chown(path, Some(user), None).is_err() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    }
}

#[test]
fn a_lock_that_others_can_open_or_that_is_not_a_file_is_replaced() {
    let (_place, folder) = folder();
    let lock = folder.beside(".lock");
    let elsewhere = folder.beside(".elsewhere");
    for plant in [
        // An earlier release made it so; another user holds it.
        &(|| {
            fs::write(&lock, "").unwrap();
            fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
        }) as &dyn Fn(),
        &|| symlink(&elsewhere, &lock).unwrap(),
        &|| {
            fs::write(&lock, "").unwrap();
            fs::set_permissions(&lock, fs::Permissions::from_mode(0o600)).unwrap();
            give_away(&lock, 65_534);
        },
    ] {
        let _ = fs::remove_file(&lock);
        plant();
        let held = File::open(&lock);
        let held = held.iter().map(|file| file.lock().unwrap()).count();
        folder.write(&stored()).unwrap();
        let facts = fs::symlink_metadata(&lock).unwrap();
        assert!(facts.is_file() && facts.uid() == rustix::process::geteuid().as_raw());
        assert_eq!(facts.mode() & 0o777, 0o600, "{held}");
        assert!(!elsewhere.exists(), "a planted link was followed");
    }
}

#[test]
fn a_lock_held_by_another_process_ends_the_wait_with_an_error() {
    let (_place, folder) = folder();
    folder.write(&stored()).unwrap();
    let lock = folder.beside(".lock");
    let held = File::options().write(true).open(&lock).unwrap();
    held.lock().unwrap();
    let refused = own_file::lock(&lock, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(refused, FolderError::Locked { .. }), "{refused}");
    drop(held);
    own_file::lock(&lock, Duration::from_millis(50)).unwrap();
}

#[test]
fn a_pending_key_that_another_user_planted_or_can_read_is_not_used() {
    let (_place, folder) = folder();
    let path = folder.pending_path(KeyType::P256);
    let known = PrivateKey::generate(KeyType::P256).unwrap();
    let elsewhere = folder.beside(".elsewhere.pem");
    fs::write(&elsewhere, known.to_pem().as_bytes()).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
    let plant = |mode, owner| {
        fs::copy(&elsewhere, &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if let Some(owner) = owner {
            give_away(&path, owner);
        }
    };
    for plant in [
        &(|| plant(0o644, None)) as &dyn Fn(),
        &|| plant(0o600, Some(65_534)),
        &|| symlink(&elsewhere, &path).unwrap(),
        &|| fs::hard_link(&elsewhere, &path).unwrap(),
    ] {
        let _ = fs::remove_file(&path);
        plant();
        assert_ne!(
            folder.pending_key(KeyType::P256).unwrap().digest(),
            known.digest()
        );
    }
    assert_eq!(
        fs::read(&elsewhere).unwrap(),
        known.to_pem().as_bytes(),
        "a planted link was followed"
    );
    let _ = fs::remove_file(&path);
    plant(0o600, None);
    assert_eq!(
        folder.pending_key(KeyType::P256).unwrap().digest(),
        known.digest()
    );
}

#[test]
fn a_key_that_the_stored_certificate_has_is_not_pending_after_a_crash_before_the_clean_up() {
    let (_place, folder) = folder();
    let written = stored();
    folder.write(&written).unwrap();
    let key = written.key.unwrap();
    create_file(
        &folder.pending_path(KeyType::P256),
        key.to_pem().as_bytes(),
        0o600,
    )
    .unwrap();
    let next = folder.pending_key(KeyType::P256).unwrap();
    assert_ne!(next.digest(), key.digest());
    let after = folder.next_key(KeyType::P256, &[next.digest()]).unwrap();
    assert_ne!(after.key.digest(), next.digest(), "used, but not stored");
}

#[test]
fn a_pending_key_can_outlast_a_write() {
    let (_place, folder) = folder();
    let pending = folder.pending_key(KeyType::P384).unwrap();
    folder.write_keeping(&stored(), Some(pending.digest())).unwrap();
    assert_eq!(
        folder.pending_key(KeyType::P384).unwrap().digest(),
        pending.digest()
    );
    folder.write(&stored()).unwrap();
    assert!(names(&folder, "pending").is_empty());
}

#[test]
fn a_write_that_fails_leaves_no_folder_with_a_private_key() {
    let (_place, folder) = folder();
    folder.write(&stored()).unwrap();
    let read = folder.read().unwrap().unwrap().chain;
    // The link cannot be made in the place of a folder.
    fs::create_dir_all(folder.beside(".swap").join("x")).unwrap();
    for _ in 0..3 {
        folder.write(&stored()).unwrap_err();
        assert_eq!(names(&folder, ".gen-").len(), 1);
    }
    assert_eq!(folder.read().unwrap().unwrap().chain, read);
    fs::remove_dir_all(folder.beside(".swap")).unwrap();
    folder.write(&stored()).unwrap();
}

#[test]
fn folders_that_are_missing_are_made_and_a_file_in_their_place_is_named() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path().join("a/b/c/web")).unwrap();
    folder.write(&stored()).unwrap();
    assert!(fits(&folder.read().unwrap().unwrap()));
    let folder = Folder::new(place.path().join("a/file/web")).unwrap();
    fs::write(place.path().join("a/file"), "").unwrap();
    let refused = folder.write(&stored()).unwrap_err().to_string();
    assert!(refused.contains("a/file"), "{refused}");
}
