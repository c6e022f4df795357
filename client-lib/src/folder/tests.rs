//! Certificates on disk: what is written is read, readers never see a pair that does not fit, strangers are left alone.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use identity::{Fingerprint, Leaf, TrustDomain};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::pem::PemObject;

use super::*;

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
