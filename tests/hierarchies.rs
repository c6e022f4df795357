//! An authority of Signet below a company's own: activation either refuses a hierarchy, with the certificate
//! and the field, or clients of the running server work with it immediately.

use std::path::{Path, PathBuf};
use std::time::Duration;

use identity::Leaf;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::support::{
    AUTHORITY_PROFILE, Company, Order, POLICY_PROFILE, Server, Settings, fails, http_get_bytes, openssl, run,
    said, server_command, signet, wait_for,
};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A running server without authority, and a company's hierarchy in its folder.
struct Site {
    server: Server,
    root: Company,
    policy: Company,
    csr: PathBuf,
}

impl Site {
    fn new(policy: &Order<'_>) -> Self {
        Self::with_arguments(policy, &[])
    }

    fn with_arguments(policy: &Order<'_>, arguments: &[&str]) -> Self {
        let names = ["--server-name", "localhost,127.0.0.1"];
        let arguments = names.iter().chain(arguments);
        let server = Server::start(Settings {
            without_root: true,
            arguments: arguments.map(|argument| (*argument).to_owned()).collect(),
            ..Settings::default()
        });
        let root = Company::root(server.path("root"));
        let policy = root.below(server.path("policy"), policy);
        let csr = server.path("authority.csr");
        run(server
            .signet(&["authority", "prepare"])
            .arg("--csr-out")
            .arg(&csr));
        Self {
            server,
            root,
            policy,
            csr,
        }
    }

    /// A chain for the prepared key, its own certificate after this order.
    fn chain(&self, order: &Order<'_>) -> PathBuf {
        let (own, chain) = (self.server.path("own.pem"), self.server.path("chain.pem"));
        self.policy.certify(&self.csr, &own, order);
        let pem = |path: &Path| std::fs::read_to_string(path).expect("a certificate");
        std::fs::write(&chain, pem(&own) + &pem(&self.policy.certificate())).expect("a chain");
        chain
    }

    fn activation(&self, chain: &Path) -> std::process::Command {
        let mut command = self.server.signet(&["authority", "activate"]);
        command
            .arg("--chain")
            .arg(chain)
            .arg("--root")
            .arg(self.root.certificate());
        command
    }

    /// The field and the message with which a chain is refused.
    fn refusal(&self, chain: &Path) -> (String, String) {
        let (code, error) = fails(self.activation(chain).args(["-o", "json"]));
        assert_eq!(code, 1);
        let error: Value = serde_json::from_str(&error).expect("an error in JSON");
        let text = |name: &str| error["error"][name].as_str().unwrap_or_default().to_owned();
        (text("field"), text("message"))
    }

    /// Enrols `web` into this folder; openssl verifies it for both usages.
    fn enrol(&self, name: &str) -> PathBuf {
        let out = self.server.path(name);
        let token = self.server.token_file(WEB, &[]);
        run(signet()
            .args(["cert", "issue", "--token-file"])
            .arg(&token)
            .arg("--out")
            .arg(&out));
        self.verify(&out.join("svid.pem"));
        out
    }

    fn verify(&self, svid: &Path) {
        for purpose in ["sslserver", "sslclient"] {
            run(openssl(self.server.folder())
                .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
                .arg(self.root.certificate())
                .arg("-untrusted")
                .arg(svid)
                .arg(svid));
        }
    }

    /// The certificates that the server presents, leaf first.
    fn presented(&self) -> Vec<CertificateDer<'static>> {
        let mut command = openssl(self.server.folder());
        command
            .args([
                "s_client",
                "-showcerts",
                "-verify_return_error",
                "-verify_hostname",
                "localhost",
            ])
            .args(["-connect", self.server.fact("grpc"), "-CAfile"])
            .arg(self.root.certificate())
            .stdin(std::process::Stdio::null());
        let output = command.output().expect("openssl runs");
        assert!(output.status.success(), "{}", said(&output));
        CertificateDer::pem_slice_iter(&output.stdout)
            .collect::<Result<_, _>>()
            .expect("certificates")
    }
}

fn order<'a>(name: &'a str, extensions: &'a str, lifetime: Duration) -> Order<'a> {
    Order {
        name,
        extensions,
        lifetime,
    }
}

fn chain_of(folder: &Path) -> Vec<CertificateDer<'static>> {
    let pem = std::fs::read(folder.join("svid.pem")).expect("a certificate");
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .expect("certificates")
}

#[test]
fn another_certificate_for_the_same_key_is_in_service_without_a_restart() {
    let site = Site::new(&order("Policy", POLICY_PROFILE, 20 * DAY));
    run(&mut site.activation(&site.chain(&order("Sub-CA", AUTHORITY_PROFILE, 10 * DAY))));
    let old = site.enrol("old");
    let (old_chain, first) = (chain_of(&old), site.presented());
    assert_eq!(first[1..], old_chain[1..]);

    let chain = site.chain(&order(
        "Sub-CA, renewed",
        AUTHORITY_PROFILE,
        Duration::from_secs(1800),
    ));
    run(&mut site.activation(&chain));
    let pem = std::fs::read(&chain).expect("a chain");
    let renewed = CertificateDer::from_pem_slice(&pem).expect("a certificate");
    assert_ne!(old_chain[1], renewed);

    let new = chain_of(&site.enrol("new"));
    assert_eq!(new[1], renewed);
    let end = Leaf::parse(&renewed)
        .expect("a certificate")
        .validity()
        .not_after();
    assert_eq!(
        Leaf::parse(&new[0]).expect("a leaf").validity().not_after(),
        end,
        "clipped"
    );
    wait_for("a certificate of the server under the new one", || {
        (site.presented()[1] == renewed).then_some(())
    });
    let key_id = Leaf::parse(&renewed).expect("a certificate");
    let key_id = identity::hex::encode(key_id.subject_key_id().expect("a key id"));
    let get = |path: String| http_get_bytes(site.server.fact("crl"), &path);
    assert_eq!(get(format!("/ca/{key_id}-1.cer")), (200, renewed.to_vec()));
    assert_eq!(get(format!("/ca/{key_id}.cer")), (200, old_chain[1].to_vec()));
    wait_for("a CRL under the new name", || {
        let (_, crl) = get(format!("/crl/{key_id}-1.crl"));
        let name = b"Sub-CA, renewed";
        crl.windows(name.len()).any(|window| window == name).then_some(())
    });

    // A leaf of the old certificate verifies still and renews, under the new one.
    site.verify(&old.join("svid.pem"));
    run(signet().args(["cert", "renew", "--force"]).arg(&old));
    assert_eq!(chain_of(&old)[1], renewed);
    let server = site.server.restart();
    let listed = run(&mut server.signet(&["authority", "list", "-o", "json"]));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed["items"].as_array().expect("a list").len(), 1);
}

#[test]
fn the_activation_under_another_root_warns_that_absent_clients_need_the_new_bundle() {
    let site = Site::new(&order("Policy", POLICY_PROFILE, 20 * DAY));
    let warns = |activation: &mut std::process::Command| {
        let output = activation.output().expect("signet runs");
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8_lossy(&output.stderr).contains("the root is new")
    };
    let chain = site.chain(&order("Sub-CA", AUTHORITY_PROFILE, 10 * DAY));
    assert!(!warns(&mut site.activation(&chain)), "the first one");
    let chain = site.chain(&order("Sub-CA, renewed", AUTHORITY_PROFILE, 10 * DAY));
    assert!(!warns(&mut site.activation(&chain)), "the same root");

    let other = Company::root(site.server.path("other-root"));
    let (csr, own) = (site.server.path("other.csr"), site.server.path("other.pem"));
    let mut prepare = site.server.signet(&["authority", "prepare"]);
    run(prepare.arg("--csr-out").arg(&csr));
    other.certify(&csr, &own, &order("Sub-CA", AUTHORITY_PROFILE, 10 * DAY));
    let mut activation = site.server.signet(&["authority", "activate"]);
    activation
        .arg("--chain")
        .arg(&own)
        .arg("--root")
        .arg(other.certificate());
    assert!(warns(&mut activation));
}

/// Has openssl verify a leaf with the CRL at the URL that the leaf names; the certificate at the other URL
/// has its issuer's subject.
fn crl_check(site: &Site, leaf: &Path) -> Result<(), String> {
    let text = run(openssl(site.server.folder())
        .args([
            "x509",
            "-noout",
            "-ext",
            "crlDistributionPoints,authorityInfoAccess",
            "-in",
        ])
        .arg(leaf));
    let path = |kind: &str| {
        let url = text
            .split("URI:http://127.0.0.1:9")
            .find(|url| url.starts_with(kind));
        url.and_then(|url| url.split_whitespace().next())
            .expect("a URL")
            .to_owned()
    };
    let subject = |der: &[u8]| identity::leaf::subject_der(der).expect("a certificate");
    let (_, issuer) = http_get_bytes(site.server.fact("crl"), &path("/ca/"));
    let presented = chain_of(leaf.parent().expect("a folder"));
    assert_eq!(subject(&issuer), subject(&presented[1]));
    let (status, crl) = http_get_bytes(site.server.fact("crl"), &path("/crl/"));
    if status != 200 {
        return Err(format!("{status}"));
    }
    std::fs::write(site.server.path("list.crl"), crl).expect("a file");
    let output = openssl(site.server.folder())
        .args(["verify", "-crl_check", "-CAfile"])
        .arg(site.root.certificate())
        .arg("-untrusted")
        .arg(leaf)
        .args(["-CRLfile", "list.crl"])
        .arg(leaf)
        .output()
        .expect("openssl runs");
    if output.status.success() {
        Ok(())
    } else {
        Err(said(&output))
    }
}

#[test]
fn leaves_under_either_subject_of_a_renewed_authority_pass_crl_checks_until_they_are_revoked() {
    let site = Site::with_arguments(
        &order("Policy", POLICY_PROFILE, 20 * DAY),
        &["--crl-base-url", "http://127.0.0.1:9"],
    );
    let activate = |name: &str| {
        let chain = site.chain(&order(name, AUTHORITY_PROFILE, 10 * DAY));
        run(&mut site.activation(&chain));
    };
    activate("Sub-CA 2026");
    let mut leaves = vec![site.enrol("old"), site.enrol("old too")];
    activate("Sub-CA 2027");
    leaves.extend([site.enrol("new"), site.enrol("new too")]);
    // The same subject again: its leaves are on the list that there is.
    activate("Sub-CA 2027");
    leaves.push(site.enrol("newest"));
    let svids: Vec<PathBuf> = leaves.iter().map(|folder| folder.join("svid.pem")).collect();
    for svid in &svids {
        wait_for("a CRL that applies to the leaf", || crl_check(&site, svid).ok());
    }
    for revoked in [0, 2] {
        let serial = Leaf::parse(&chain_of(&leaves[revoked])[0])
            .expect("a leaf")
            .serial();
        run(site.server.signet(&["cert", "revoke"]).arg(serial.to_string()));
        wait_for("the revocation on the CRL", || {
            let why = crl_check(&site, &svids[revoked]).err()?;
            assert!(why.contains("certificate revoked"), "{why}");
            Some(())
        });
    }
    let outcomes =
        |site: &Site| -> Vec<bool> { svids.iter().map(|svid| crl_check(site, svid).is_ok()).collect() };
    assert_eq!(outcomes(&site), [false, true, false, true, true]);
}

#[test]
fn nothing_outlives_a_company_authority_that_expires_first_and_every_report_names_it() {
    let site = Site::new(&order("Policy", POLICY_PROFILE, Duration::from_secs(25)));
    let chain = site.chain(&order("Sub-CA", AUTHORITY_PROFILE, 10 * DAY));
    let output = site.activation(&chain).output().expect("signet runs");
    assert!(output.status.success(), "{}", said(&output));
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        warned.contains("certificate 2 of the chain (CN=Policy) expires before the authority's own"),
        "{warned}"
    );
    let end = |der: &CertificateDer<'_>| Leaf::parse(der).expect("a certificate").validity();
    let leaf = chain_of(&site.enrol("web"));
    assert_eq!(end(&leaf[0]).not_after(), end(&leaf[2]).not_after());
    assert!(end(&leaf[0]).not_before() >= end(&leaf[1]).not_before());
    let expected = |server: &Server, words: &str| {
        wait_for(words, || {
            let said = server.signet(&["health"]).output().expect("signet runs");
            let text = String::from_utf8_lossy(&said.stderr).into_owned();
            (said.status.code() == Some(1) && text.contains(words)).then_some(())
        });
    };
    expected(&site.server, "the signing authority ends at");
    expected(&site.server, "limited by certificate 2 of the chain (CN=Policy)");
    expected(&site.server, "the signing authority ended at");
    let server = site.server.restart();
    expected(&server, "the signing authority ended at");
}

#[test]
fn a_hierarchy_that_shuts_clients_out_is_refused_with_its_certificate_and_field() {
    let constrained = format!("{POLICY_PROFILE}nameConstraints = critical, permitted;DNS:corp.example\n");
    let site = Site::new(&order("Policy", &constrained, 20 * DAY));
    let (field, message) = site.refusal(&site.chain(&order("Sub-CA", AUTHORITY_PROFILE, 10 * DAY)));
    assert_eq!(field, "chain[1].nameConstraints", "{message}");
    for part in ["certificate 2 of the chain (CN=Policy)", "localhost"] {
        assert!(message.contains(part), "{message}");
    }

    let site = Site::new(&order("Policy", POLICY_PROFILE, 20 * DAY));
    for (extension, expected, part) in [
        (
            "extendedKeyUsage = serverAuth\n",
            "chain[0].extendedKeyUsage",
            "clientAuth",
        ),
        (
            "extendedKeyUsage = clientAuth\n",
            "chain[0].extendedKeyUsage",
            "serverAuth",
        ),
        (
            "nameConstraints = critical, excluded;IP:127.0.0.0/255.0.0.0\n",
            "chain[0].nameConstraints",
            "127.0.0.1",
        ),
        (
            "nameConstraints = critical, permitted;URI:example.org\n",
            "chain[0].nameConstraints",
            "URI",
        ),
        (
            "1.2.3.4 = critical, ASN1:NULL\n",
            "chain[0].extensions",
            "1.2.3.4",
        ),
    ] {
        let extensions = format!("{AUTHORITY_PROFILE}{extension}");
        let (field, message) = site.refusal(&site.chain(&order("Sub-CA", &extensions, 10 * DAY)));
        assert_eq!(field, expected, "{message}");
        assert!(message.contains(part), "{message}");
    }
    let (_, body) = http_get_bytes(site.server.fact("metrics"), "/readyz");
    assert!(String::from_utf8_lossy(&body).contains("no signing authority"));

    // Both usages on the authority itself are fine.
    let extensions = format!("{AUTHORITY_PROFILE}extendedKeyUsage = serverAuth, clientAuth\n");
    run(&mut site.activation(&site.chain(&order("Sub-CA", &extensions, 10 * DAY))));
    site.enrol("web");
}

#[test]
fn a_constrained_hierarchy_that_permits_the_server_issues_only_what_it_permits() {
    let permitted = format!(
        "{POLICY_PROFILE}nameConstraints = critical, permitted;DNS:localhost, permitted;DNS:corp.example, \
         permitted;IP:127.0.0.0/255.0.0.0\n"
    );
    let site = Site::new(&order("Policy", &permitted, 20 * DAY));
    run(&mut site.activation(&site.chain(&order("Sub-CA", AUTHORITY_PROFILE, 10 * DAY))));
    let web = site.enrol("web");
    run(signet().args(["cert", "renew", "--force"]).arg(&web));
    site.server.apply(&format!(
        "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: {{ name: named }}\nspec:\n  spiffeId: {WEB}-named\n  \
         callers: [ token ]\n  dnsNames: [ web.corp.example, web.other.example ]\n"
    ));
    let issue = |name: &str| {
        let token = site.server.token_file(&format!("{WEB}-named"), &[]);
        let mut command = signet();
        command
            .args(["cert", "issue", "-o", "json", "--dns", name, "--token-file"])
            .arg(token)
            .arg("--out")
            .arg(site.server.path(name));
        command
    };
    run(&mut issue("web.corp.example"));
    site.verify(&site.server.path("web.corp.example/svid.pem"));
    let (_, error) = fails(&mut issue("web.other.example"));
    for part in ["NAME_NOT_GRANTED", "web.other.example", "CN=Policy"] {
        assert!(error.contains(part), "{error}");
    }

    // A start under a name that the company does not permit says so, and one under a permitted name works
    // again.
    let (code, folder) = site.server.terminate();
    assert_eq!(code, 0);
    let renamed = Settings {
        without_root: true,
        arguments: vec!["--server-name".to_owned(), "ca.other.example".to_owned()],
        ..Settings::default()
    };
    let data = folder.path().join("data");
    let status = server_command(&data, folder.path(), &renamed)
        .status()
        .expect("signet starts");
    assert_eq!(status.code(), Some(1));
    let log = std::fs::read_to_string(folder.path().join("log")).expect("a log");
    for part in ["ca.other.example", "name constraints", "CN=Policy"] {
        assert!(log.contains(part), "{log}");
    }
    let permitted = Settings {
        arguments: vec!["--server-name".to_owned(), "localhost".to_owned()],
        ..renamed
    };
    Server::start_in(folder, permitted);
}
