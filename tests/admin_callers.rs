//! Administrators: whoever may open `admin.sock`, and holders of an SVID under `/admin/`; both called from Python.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{AUTHORITY_PROFILE, Caller, Server, Wanted, ask_openssl, fails, run, signet};

const ROOT: &str = "spiffe://example.org/admin/root";
const WEB: &str = "spiffe://example.org/ns/default/sa/web";

fn registration(name: &str, more: &str) -> String {
    format!("apiVersion: signet.dev/v1\nkind: Registration\nmetadata: {{ name: {name} }}\nspec:\n{more}")
}

#[test]
fn whoever_opens_the_socket_is_known_by_the_kernel_and_gets_registered_identities_only() {
    let server = Server::up();
    let mode = std::fs::metadata(server.fact("adminSocket"))
        .expect("a socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let csr = Wanted::new(server.folder(), "web").pem();
    let mut admin = Caller::admin(&server);
    let unnamed = admin.issue(&csr, None, json!({})).expect_err("no wish");
    assert_eq!(
        (unnamed.code.as_str(), unnamed.reason.as_str()),
        ("INVALID_ARGUMENT", "IDENTITY_AMBIGUOUS")
    );
    assert_eq!(unnamed.evidence["field"], "spiffe_id");
    let unknown = admin
        .issue(&csr, None, json!({ "spiffeId": WEB }))
        .expect_err("no registration");
    assert_eq!(
        (unknown.code.as_str(), unknown.reason.as_str()),
        ("PERMISSION_DENIED", "IDENTITY_NOT_GRANTED")
    );

    server.apply(&registration(
        "web",
        &format!("  spiffeId: {WEB}\n  callers: [ 'jwt:k8s:nobody' ]\n"),
    ));
    admin
        .issue(&csr, None, json!({ "spiffeId": WEB }))
        .expect("whatever its callers are");
    let record = &server.certificates(WEB)[0];
    assert_eq!(record["method"], "admin");
    let caller = record["caller"].as_str().expect("a caller");
    let uid = run(std::process::Command::new("id").arg("-u"));
    assert!(
        caller.starts_with(&format!("unix:uid={},pid=", uid.trim())),
        "{caller}"
    );
}

#[test]
fn an_administrators_certificate_opens_what_others_are_refused() {
    let server = Server::up();
    let called = |chain: &str, service: &str, method: &str| {
        let folder = server.path(chain);
        let (chain, key) = (folder.join("svid.pem"), folder.join("svid_key.pem"));
        let identity = folder.exists().then_some((chain.as_path(), key.as_path()));
        Caller::new(&server, identity).call(service, method, &json!({}), None)
    };
    for (out, id, more) in [("root", ROOT, ["--role", "admin"].as_slice()), ("web", WEB, &[])] {
        let token = server.token_file(id, more);
        run(signet()
            .args(["cert", "issue", "--token-file"])
            .arg(token)
            .arg("--out")
            .arg(server.path(out)));
    }
    for (service, method) in [
        ("signet.v1.Tokens", "ListTokens"),
        ("signet.v1.Certificates", "ListCertificates"),
        ("signet.v1.Resources", "ListResources"),
    ] {
        for (who, code, reason) in [
            ("web", "PERMISSION_DENIED", "NOT_ADMIN"),
            ("nobody", "UNAUTHENTICATED", "NO_PROOF"),
        ] {
            let refused = called(who, service, method).expect_err(who);
            assert_eq!(
                (refused.code.as_str(), refused.reason.as_str()),
                (code, reason),
                "{service} {who}"
            );
        }
        if service != "signet.v1.Resources" {
            called("root", service, method).expect("an administrator");
        }
    }
    let refusals = |reason: &str| server.metric(&format!("signet_refusals_total{{reason=\"{reason}\"}}"));
    assert_eq!((refusals("NOT_ADMIN"), refusals("NO_PROOF")), (3.0, 3.0));
}

#[test]
fn reserved_paths_need_their_role_and_servers_are_never_granted() {
    let server = Server::up();
    let (_, said) = fails(&mut server.signet(&["token", "create", "--spiffe-id", ROOT]));
    assert!(said.contains("role") && said.contains("admin"), "{said}");
    for (path, role) in [
        ("/admin/root", "agent"),
        ("/server/localhost", "workload"),
        ("/device/1", "admin"),
    ] {
        let file = server.path("reserved.yaml");
        let spec = format!("  role: {role}\n  spiffeId: {path}\n  callers: [ token ]\n");
        std::fs::write(&file, registration("reserved", &spec)).expect("a file");
        let (code, said) = fails(server.signet(&["apply"]).arg("-f").arg(&file));
        assert_eq!(code, 1);
        assert!(
            said.contains("spec.") && said.contains("RESOURCE_INVALID"),
            "{said}"
        );
    }
    let (code, _) = fails(&mut server.signet(&["get", "reg", "reserved"]));
    assert_eq!(code, 1);
}

/// A certificate signed by the authority whose certificate and key are these files.
fn sign(signer: (&Path, &Path), csr: &Path, extensions: &str) -> PathBuf {
    let (file, out) = (csr.with_extension("ext"), csr.with_extension("pem"));
    std::fs::write(&file, extensions).expect("a file");
    let mut sign = ask_openssl(&["x509", "-req", "-days", "1"]);
    sign.arg("-CA").arg(signer.0).arg("-CAkey").arg(signer.1);
    sign.arg("-extfile").arg(&file);
    run(sign.arg("-in").arg(csr).arg("-out").arg(&out));
    out
}

#[test]
fn another_authority_under_the_same_root_makes_no_administrators() {
    let server = Server::up();
    let keys = server.data().join("keys");
    let root = keys.join("root.pem");
    let sibling = Wanted::new(server.folder(), "sibling");
    let authority = sign(
        (&root, &keys.join("root-key.pem")),
        &sibling.csr,
        AUTHORITY_PROFILE,
    );
    let forged = Wanted::new(server.folder(), "forged");
    let profile = format!(
        "keyUsage = critical, digitalSignature\nextendedKeyUsage = serverAuth, clientAuth\n\
         basicConstraints = critical, CA:FALSE\nsubjectAltName = critical, URI:{ROOT}\n"
    );
    let leaf = sign((&authority, &sibling.key), &forged.csr, &profile);
    let mut verify = ask_openssl(&["verify", "-purpose", "sslclient"]);
    run(verify
        .arg("-CAfile")
        .arg(&root)
        .arg("-untrusted")
        .arg(&authority)
        .arg(&leaf));

    let chain = server.path("chain.pem");
    let pem = [&leaf, &authority].map(|path| std::fs::read_to_string(path).expect("a certificate"));
    std::fs::write(&chain, pem.concat()).expect("a file");
    let mut caller = Caller::new(&server, Some((&chain, &forged.key)));
    let csr = Wanted::new(server.folder(), "next").pem();
    for refused in [
        caller
            .call("signet.v1.Tokens", "ListTokens", &json!({}), None)
            .expect_err("a stranger"),
        caller.issue(&csr, None, json!({})).expect_err("a stranger"),
    ] {
        assert_eq!(
            (refused.code.as_str(), refused.reason.as_str()),
            ("UNAUTHENTICATED", "CERTIFICATE_UNTRUSTED"),
            "{}",
            refused.message
        );
    }
}
