//! Private keys, as files and in debug output.

use super::*;

#[test]
fn keys_are_encrypted_so_that_openssl_opens_them_and_read_back() {
    let openssl = OpenSsl::new();
    for key_type in [AuthorityKeyType::P256, AuthorityKeyType::P384] {
        let prepared = PreparedAuthority::generate(trust_domain(), key_type).unwrap();
        openssl.write("public.der", prepared.public_key().spki_der());
        let pem = prepared.to_pkcs8_pem(Some("correct horse")).unwrap();
        openssl.write("key.pem", pem.as_bytes());
        openssl.write("pass", "correct horse\n");
        openssl.run("pkey -in key.pem -passin file:pass -pubout -outform DER -out opened.der");
        assert_eq!(openssl.read("opened.der"), openssl.read("public.der"));
        let read = |passphrase| PreparedAuthority::from_pkcs8_pem(trust_domain(), &pem, passphrase);
        assert_eq!(read(None).unwrap_err(), KeyError::PassphraseMissing);
        assert_eq!(read(Some("wrong")).unwrap_err(), KeyError::PassphraseWrong);
        let digest = read(Some("correct horse")).unwrap().public_key().digest();
        assert_eq!(digest, prepared.public_key().digest());
    }
}

#[test]
fn keys_of_openssl_are_read_and_other_keys_refused() {
    let openssl = OpenSsl::new();
    let read = |passphrase| {
        let pem = String::from_utf8(openssl.read("key.pem")).unwrap();
        PreparedAuthority::from_pkcs8_pem(trust_domain(), &pem, passphrase).map(|_| ())
    };
    openssl.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem");
    assert_eq!(read(None), Ok(()));
    openssl
        .run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -aes256 -pass pass:secret -out key.pem");
    assert_eq!(read(Some("secret")), Ok(()));
    assert_eq!(read(None), Err(KeyError::PassphraseMissing));
    openssl.run("genpkey -algorithm ED25519 -out key.pem");
    assert!(matches!(read(None), Err(KeyError::Malformed { .. })));
    openssl.run("genpkey -algorithm ED25519 -aes256 -pass pass:secret -out key.pem");
    assert!(matches!(read(Some("secret")), Err(KeyError::Malformed { .. })));
    openssl.run("ecparam -name prime256v1 -genkey -noout -out key.pem");
    let hint = read(None).unwrap_err().to_string();
    assert!(hint.contains("openssl pkcs8 -topk8"), "{hint}");
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let prepared = prepared();
    let shown = format!("{prepared:?}");
    assert!(
        shown.contains(&prepared.public_key().digest().to_string()),
        "{shown}"
    );
    assert!(shown.len() < 200, "{shown}");
}
