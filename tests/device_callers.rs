//! Devices: a certificate of a factory whose root the server knows becomes a device identity, through a registration of that role.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Caller, REQUEST, Server, Settings, Wanted, ask_openssl, certificate_text, run, signet};

const REGISTRATION: &str = "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: { name: devices }\nspec:\n  \
    role: device\n  spiffeId: /device/{{ certificate.id }}\n  callers: [ 'certificate:factory:D-*' ]\n";
const CLIENT: &str = "extendedKeyUsage=clientAuth";

/// A certificate authority of OpenSSL's making.
struct Factory {
    folder: PathBuf,
}

/// Files of a certificate and its key.
struct Device {
    chain: PathBuf,
    key: PathBuf,
}

impl Factory {
    fn new(parent: &Path, name: &str) -> Self {
        let folder = parent.join(name);
        std::fs::create_dir(&folder).expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
        write("index", "");
        write("serial", "1000\n");
        write(
            "ca.cnf",
            "[ca]\ndefault_ca=factory\n[factory]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ncertificate=ca.pem\n\
             private_key=ca.key\ndefault_md=sha256\npolicy=any\nunique_subject=no\n[any]\nserialNumber=optional\ncommonName=optional\n",
        );
        let mut root = ask_openssl(&REQUEST);
        root.args([
            "-x509",
            "-subj",
            &format!("/CN={name}"),
            "-days",
            "30",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ]);
        root.args(["-addext", "keyUsage=critical,keyCertSign"]);
        run(root.current_dir(&folder));
        Self { folder }
    }

    fn config(&self, id_from: &str) -> String {
        let root = self.folder.join("ca.pem");
        format!(
            "authentication:\n  certificate: [ {{ name: factory, rootsFile: {}, idFrom: {id_from} }} ]\n",
            root.display()
        )
    }

    /// A certificate of this subject with these extensions, that counts until then.
    fn device(&self, subject: &str, extensions: &str, not_after: &str) -> Device {
        let name = subject.replace(['/', '='], "-");
        let key = Wanted::new(&self.folder, &name);
        let extensions_file = self.folder.join("extensions");
        std::fs::write(
            &extensions_file,
            format!("keyUsage=critical,digitalSignature\n{extensions}\n"),
        )
        .expect("a file");
        let chain = self.folder.join(format!("{name}.pem"));
        let mut sign = ask_openssl(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "ca.cnf",
            "-extfile",
            "extensions",
        ]);
        sign.args([
            "-subj",
            subject,
            "-startdate",
            "20200101000000Z",
            "-enddate",
            not_after,
            "-in",
        ]);
        run(sign
            .arg(&key.csr)
            .arg("-out")
            .arg(&chain)
            .current_dir(&self.folder));
        Device { chain, key: key.key }
    }

    fn good(&self, subject: &str, extensions: &str) -> Device {
        self.device(subject, extensions, "20490101000000Z")
    }
}

fn server_for(folder: &Path) -> (Factory, Server) {
    let factory = Factory::new(folder, "factory");
    let server = server_of(&factory, "serialNumber");
    (factory, server)
}

/// A server that takes the factory's word on what `id_from` names.
fn server_of(factory: &Factory, id_from: &str) -> Server {
    Server::start(Settings {
        config: Some(factory.config(id_from)),
        ..Settings::default()
    })
}

/// Reason of the refusal to a caller with this certificate.
fn refused(server: &Server, device: &Device) -> (String, String) {
    let csr = Wanted::new(server.folder(), "next").pem();
    let refused = Caller::new(server, Some((&device.chain, &device.key)))
        .issue(&csr, None, json!({}))
        .expect_err("no identity is due");
    (refused.reason, refused.message)
}

#[test]
fn a_factory_certificate_becomes_a_device_identity_that_renews_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let (factory, server) = server_for(folder.path());
    server.apply(REGISTRATION);
    let device = factory.good("/serialNumber=D-1001/CN=thermostat", CLIENT);
    let out = server.path("device");
    let mut issue = server.signet(&["cert", "issue"]);
    issue
        .arg("--certificate")
        .arg(&device.chain)
        .arg("--key")
        .arg(&device.key);
    run(issue.arg("--out").arg(&out));
    let text = certificate_text(&out.join("svid.pem"));
    assert!(
        text.contains("URI:spiffe://example.org/device/D-1001\n"),
        "{text}"
    );
    run(signet().args(["cert", "renew", "--force"]).arg(&out));
    let certificates = server.certificates("spiffe://example.org/device/*");
    let methods: Vec<&Value> = certificates
        .iter()
        .map(|certificate| &certificate["method"])
        .collect();
    assert_eq!(methods, ["certificate", "renewal"]);
    assert_eq!(certificates[0]["caller"], "certificate:factory:D-1001");
}

#[test]
fn a_device_is_known_by_whatever_its_provider_says_that_it_is_named_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let factory = Factory::new(folder.path(), "factory");
    let hardware = "subjectAltName=@names\n[names]\notherName=1.3.6.1.5.5.7.8.4;SEQUENCE:module\n[module]\n\
        type=OID:1.3.6.1.4.1.32473.1\nserial=FORMAT:HEX,OCTETSTRING:AB01";
    let two_uris = format!("{CLIENT}\nsubjectAltName=URI:urn:example:D-7,URI:urn:example:D-8");
    for (id_from, named, id, other) in [
        (
            "commonName",
            ("/CN=D-7", CLIENT),
            "D-7",
            ("/serialNumber=D-7", CLIENT),
        ),
        (
            "uri",
            ("/CN=u", "subjectAltName=URI:urn:example:D-7"),
            "urn:example:D-7",
            ("/CN=v", &two_uris),
        ),
        (
            "hardwareModuleName",
            ("/CN=h", hardware),
            "ab01",
            ("/CN=i", CLIENT),
        ),
    ] {
        let server = server_of(&factory, id_from);
        server.apply(&format!(
            "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: {{ name: hall }}\nspec:\n  role: device\n  \
             spiffeId: /device/hall\n  callers: [ 'certificate:factory:{id}' ]\n"
        ));
        let device = factory.good(named.0, named.1);
        let csr = Wanted::new(server.folder(), "next").pem();
        Caller::new(&server, Some((&device.chain, &device.key)))
            .issue(&csr, None, json!({}))
            .unwrap_or_else(|refused| panic!("{id_from}: {}", refused.message));
        let issued = server.certificates("spiffe://example.org/device/hall");
        assert_eq!(issued[0]["caller"], format!("certificate:factory:{id}"));
        let (reason, message) = refused(&server, &factory.good(other.0, other.1));
        assert_eq!(reason, "CERTIFICATE_UNTRUSTED");
        assert!(
            message.contains("expected it to name its holder"),
            "{id_from}: {message}"
        );
    }
}

#[test]
fn a_factory_certificate_gets_nothing_without_a_registration_of_role_device_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (factory, server) = server_for(folder.path());
    let device = factory.good("/serialNumber=D-1001", CLIENT);
    assert_eq!(refused(&server, &device).0, "IDENTITY_NOT_GRANTED");
    server.apply(
        "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: { name: workloads }\nspec:\n  \
         spiffeId: '/ns/default/sa/{{ certificate.id }}'\n  callers: [ 'certificate:factory:*' ]\n",
    );
    assert_eq!(refused(&server, &device).0, "IDENTITY_NOT_GRANTED");
    server.apply(REGISTRATION);
    let other = factory.good("/serialNumber=E-1", CLIENT);
    let (reason, message) = refused(&server, &other);
    assert_eq!(reason, "IDENTITY_NOT_GRANTED");
    assert!(message.contains("certificate:factory:E-1"), "{message}");
    let up = factory.good("/serialNumber=D-1 ..", CLIENT);
    assert_eq!(refused(&server, &up).0, "IDENTITY_NOT_GRANTED");
}

#[test]
fn a_certificate_that_is_no_proof_of_a_device_is_refused_saying_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let (factory, server) = server_for(folder.path());
    server.apply(REGISTRATION);
    let stranger = Factory::new(folder.path(), "stranger");
    for (device, reason, said) in [
        (
            stranger.good("/serialNumber=D-1", CLIENT),
            "CERTIFICATE_UNTRUSTED",
            "authentication.certificate",
        ),
        (
            factory.good("/CN=nameless", CLIENT),
            "CERTIFICATE_UNTRUSTED",
            "serialNumber",
        ),
        (
            factory.device("/serialNumber=D-2", CLIENT, "20200102000000Z"),
            "CERTIFICATE_EXPIRED",
            "2020-01-02",
        ),
        (
            factory.good("/serialNumber=D-3", "extendedKeyUsage=serverAuth"),
            "CERTIFICATE_UNTRUSTED",
            "clientAuth",
        ),
    ] {
        let (found, message) = refused(&server, &device);
        assert_eq!(found, reason, "{}: {message}", device.chain.display());
        assert!(message.contains(said), "{said:?} is not in {message:?}");
    }
    let plain = factory.good("/serialNumber=D-4", "basicConstraints=CA:FALSE");
    let csr = Wanted::new(server.folder(), "plain").pem();
    Caller::new(&server, Some((&plain.chain, &plain.key)))
        .issue(&csr, None, json!({}))
        .expect("without any extended key usage it serves every purpose");
}

#[test]
fn a_factory_that_certifies_our_own_identities_makes_neither_workloads_nor_administrators() {
    let folder = tempfile::tempdir().expect("a folder");
    let (factory, server) = server_for(folder.path());
    let extensions = format!("{CLIENT}\nsubjectAltName=URI:spiffe://example.org/admin/root");
    let forged = factory.good("/serialNumber=D-1", &extensions);
    assert_eq!(refused(&server, &forged).0, "IDENTITY_NOT_GRANTED");
    let mut caller = Caller::new(&server, Some((&forged.chain, &forged.key)));
    let refused = caller
        .call("signet.v1.Tokens", "ListTokens", &json!({}), None)
        .expect_err("it is no administrator");
    assert_eq!(
        (refused.code.as_str(), refused.reason.as_str()),
        ("PERMISSION_DENIED", "NOT_ADMIN")
    );
}

#[test]
fn a_token_beside_a_factory_certificate_must_be_the_devices_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let (factory, server) = server_for(folder.path());
    server.apply(REGISTRATION);
    let device = factory.good("/serialNumber=D-1001", CLIENT);
    let mut caller = Caller::new(&server, Some((&device.chain, &device.key)));
    let csr = Wanted::new(server.folder(), "next").pem();
    let token = |id: &str, more: &[&str]| {
        let file = server.token_file(id, more);
        std::fs::read_to_string(file).expect("a token").trim().to_owned()
    };
    let others = token("spiffe://example.org/ns/default/sa/web", &[]);
    for _ in 0..2 {
        let refused = caller
            .issue(&csr, Some(&others), json!({}))
            .expect_err("the factory names another");
        assert_eq!(refused.reason, "PROOFS_DISAGREE", "{}", refused.message);
    }
    Caller::new(&server, None)
        .issue(&csr, Some(&others), json!({}))
        .expect("nobody spent it");
    let own = token("spiffe://example.org/device/D-1001", &["--role", "device"]);
    let next = Wanted::new(folder.path(), "own").pem();
    caller
        .issue(&next, Some(&own), json!({}))
        .expect("both name the device");
}
