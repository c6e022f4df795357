//! What a running server reads again: key sets when they change, the whole configuration on SIGHUP, all or nothing.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Server, Settings, fails, python, repository, run, wait_for};

const SUBJECT: &str = "robot-7";
const REGISTRATION: &str = "apiVersion: signet.dev/v1\n\
    kind: Registration\n\
    metadata: { name: robot }\n\
    spec:\n  \
      spiffeId: spiffe://example.org/ns/default/sa/robot\n  \
      callers: [ \"jwt:robots:robot-*\" ]\n";

/// An issuer's keys and tokens in the server's folder.
struct Issuer<'a>(&'a Server);

impl Issuer<'_> {
    /// A key of this name, with a token signed by it.
    fn make(&self, name: &str) {
        for (verb, more) in [("key", None), ("token", Some(SUBJECT))] {
            let mut script = python();
            script.arg(repository("tests/python/es256.py")).arg(verb);
            run(script.arg(self.0.folder()).arg(name).args(more));
        }
    }

    /// Makes the key set of `name` the one in force, by rename.
    fn publish(&self, name: &str) {
        let fresh = self.0.path(&format!("{name}.jwks"));
        std::fs::rename(fresh, key_set(self.0)).expect("a key set");
    }

    /// Asks for a certificate with the token of `name`.
    fn asks(&self, name: &str) -> std::process::Command {
        let mut command = self.0.signet(&["cert", "issue", "-o", "json"]);
        command.arg("--jwt-file").arg(self.0.path(&format!("{name}.jwt")));
        command.arg("--out").arg(self.0.path(name));
        command
    }

    fn is_served(&self, name: &str) -> bool {
        self.asks(name).output().expect("signet runs").status.success()
    }

    fn refusal(&self, name: &str) -> String {
        let (_, error) = fails(&mut self.asks(name));
        let error: Value = serde_json::from_str(&error).expect("an error in JSON");
        error["error"]["reason"].as_str().expect("a reason").to_owned()
    }
}

fn key_set(server: &Server) -> PathBuf {
    server.path("robots.jwks")
}

fn configuration(server: &Server) -> String {
    format!(
        "authentication:\n  jwt:\n    - {{ name: robots, issuer: \"https://issuer.example\", audiences: [ signet ], jwksFile: {} }}\n",
        key_set(server).display()
    )
}

/// Puts this in place of the configuration that the server was started with, and says so.
fn reconfigure(server: &Server, text: &str) {
    std::fs::write(server.path("server.yaml"), text).expect("a configuration");
    server.signal("HUP");
}

#[test]
fn sighup_and_new_key_sets_count_without_a_restart_and_what_is_broken_changes_nothing() {
    let server = Server::start(Settings {
        config: Some("log: { level: info }\n".to_owned()),
        ..Settings::default()
    });
    let file = server.path("robot.yaml");
    std::fs::write(&file, REGISTRATION).expect("a file");
    run(server.signet(&["apply"]).arg("-f").arg(&file));
    let issuer = Issuer(&server);
    issuer.make("first");
    issuer.make("second");
    issuer.publish("first");
    assert_eq!(issuer.refusal("first"), "JWT_ISSUER_UNKNOWN");

    reconfigure(&server, &configuration(&server));
    wait_for("the new issuer to count", || {
        issuer.is_served("first").then_some(())
    });
    assert_eq!(issuer.refusal("second"), "JWT_INVALID");

    // The issuer is gone from it, but for a mistake in another field the whole is not taken.
    reconfigure(&server, "limits: { inflight: 1 }\n");
    wait_for("the mistake to be named", || {
        server.log().contains("inflight").then_some(())
    });
    assert!(server.log().contains("the old one stays in force"));
    assert_eq!(
        issuer.refusal("second"),
        "JWT_INVALID",
        "the issuer is still known"
    );

    // A key set that cannot be read changes nothing; the next one that can be read counts.
    std::fs::write(server.path("broken.jwks"), "{ not JSON").expect("a file");
    issuer.publish("broken");
    wait_for("the broken key set to be named", || {
        server.log().contains("robots.jwks").then_some(())
    });
    assert_eq!(issuer.refusal("second"), "JWT_INVALID");
    issuer.publish("second");
    wait_for("the second key to count", || {
        issuer.is_served("second").then_some(())
    });
    issuer.make("third");
    assert_eq!(issuer.refusal("third"), "JWT_INVALID");
}
