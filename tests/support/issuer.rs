//! An issuer of JSON Web Tokens that a server is told to believe, as a Kubernetes cluster is one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{python, repository, run};

/// Keys of RSA and P-256, their key set, and the key of a stranger who is not in it.
pub struct Issuer {
    folder: TempDir,
}

impl Issuer {
    /// What the tokens have in `iss`.
    pub const NAME: &str = "https://kubernetes.example.org";
    /// A registration that gives each service account its identity.
    pub const REGISTRATION: &str = "apiVersion: signet.dev/v1\nkind: Registration\n\
        metadata: { name: mesh, namespace: istio-system }\n\
        spec:\n  spiffeId: /ns/{{ jwt.namespace }}/sa/{{ jwt.serviceAccount }}\n  \
        callers: [ 'jwt:k8s:system:serviceaccount:*' ]\n  maxLife: 2h\n";

    /// Makes the keys.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        run(script("keys", folder.path()).stdin(Stdio::null()));
        Self { folder }
    }

    /// The part of a server's configuration that believes it, under the name `k8s`.
    pub fn config(&self) -> String {
        format!(
            "authentication:\n  jwt: [ {{ name: k8s, issuer: {}, audiences: [ istio-ca ], jwksFile: {} }} ]\n",
            Self::NAME,
            self.key_set().display()
        )
    }

    /// The file of its key set.
    pub fn key_set(&self) -> PathBuf {
        self.folder.path().join("jwks.json")
    }

    /// Tokens of `{"alg", "key", "kid", "claims"}` each.
    pub fn sign(&self, wanted: &[Value]) -> Vec<String> {
        let mut signer = script("sign", self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut stdin = signer.stdin.take().expect("it is piped");
        write!(stdin, "{}", json!(wanted)).expect("it reads");
        drop(stdin);
        let output = signer.wait_with_output().expect("it ends");
        assert!(output.status.success(), "the tokens could not be signed");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// A good token of a service account.
    pub fn token(&self, namespace: &str, account: &str) -> String {
        self.sign(&[rs256(&claims(namespace, account))]).swap_remove(0)
    }
}

/// Claims of a service account's good token.
pub fn claims(namespace: &str, account: &str) -> Value {
    json!({
        "iss": Issuer::NAME,
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
        "aud": ["istio-ca"],
        "exp": now() + 600,
    })
}

/// Signed with the RSA key of the set.
pub fn rs256(claims: &Value) -> Value {
    json!({ "alg": "RS256", "key": "rsa", "kid": "rsa", "claims": claims })
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("it is after 1970").as_secs()
}

fn script(verb: &str, folder: &Path) -> std::process::Command {
    let mut command = python();
    command
        .arg(repository("tests/python/jwt.py"))
        .arg(verb)
        .arg(folder);
    command
}
