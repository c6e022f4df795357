//! The story of the samples on a running server: policies applied, shown, explained and deleted in kubectl's words; and files
//! explained and analyzed without any server.

use std::process::Command;

use serde_json::Value;

use crate::support::{Server, Settings, fails, repository, run, signet};

const UNMESHED: &[&str] = &[
    "explain",
    "connection",
    "--to",
    "default:app=details",
    "--service",
    "details.default.svc.cluster.local:9080",
    "--from-unmeshed",
    "-o",
    "json",
];

fn sample(name: &str) -> String {
    repository("docs/samples").join(name).display().to_string()
}

fn outcome(command: &mut Command) -> String {
    let told: Value = serde_json::from_str(&run(command)).expect("JSON");
    told["outcome"].as_str().expect("an outcome").to_owned()
}

#[test]
fn the_story_of_the_tutorial_is_told_by_the_running_server() {
    let server = Server::up();
    run(&mut server.signet(&["apply", "-f", &sample("shop.yaml")]));
    assert_eq!(outcome(&mut server.signet(UNMESHED)), "plaintext");

    let mesh = sample("02_mesh-mTLS-STRICT.yaml");
    let applied = run(&mut server.signet(&["apply", "-f", &mesh]));
    assert_eq!(
        applied.trim(),
        "peerauthentication.security.istio.io/mesh-strict-policy created"
    );
    assert_eq!(outcome(&mut server.signet(UNMESHED)), "refused");
    let listed = run(&mut server.signet(&["get", "pa", "--all-namespaces"]));
    let rows: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["NAMESPACE", "NAME", "MODE", "AGE"]);
    assert_eq!(rows[1][..3], ["istio-system", "mesh-strict-policy", "STRICT"]);
    let described = run(&mut server.signet(&["describe", "pa", "-n", "istio-system"]));
    assert!(described.contains("Mode:  STRICT"), "{described}");
    assert!(
        described.contains("Covers:  every workload of the mesh"),
        "{described}"
    );

    let server = server.restart();
    let deleted = run(&mut server.signet(&["delete", "pa", "-n", "istio-system", "mesh-strict-policy"]));
    assert_eq!(
        deleted.trim(),
        "peerauthentication.security.istio.io \"mesh-strict-policy\" deleted"
    );
    assert_eq!(outcome(&mut server.signet(UNMESHED)), "plaintext");

    let (strict, rule) = (
        sample("03_namespace-mTLS-STRICT.yaml"),
        sample("03_details-ISTIO-MUTUAL.yaml"),
    );
    run(&mut server.signet(&["apply", "-f", &strict, "-f", &rule]));
    assert_eq!(outcome(&mut server.signet(UNMESHED)), "refused");
    let all = [
        "get",
        "destinationrules.networking.istio.io",
        "--all-namespaces",
        "-o",
        "yaml",
    ];
    assert!(run(&mut server.signet(&all)).contains("mode: ISTIO_MUTUAL"));
    assert!(run(&mut server.signet(&["describe", "dr", "details"])).contains("Counts:  yes"));
}

#[test]
fn an_application_is_warned_of_what_it_breaks_in_the_namespace_that_the_server_is_told() {
    let server = Server::start(Settings {
        arguments: vec!["--mesh-root-namespace".to_owned(), "mesh-config".to_owned()],
        ..Settings::default()
    });
    run(&mut server.signet(&["apply", "-f", &sample("shop.yaml")]));
    let policy = |name: &str, namespace: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(sample(name)).expect("the sample");
        let path = server.path(name);
        std::fs::write(&path, text.replace("istio-system", namespace).replace(from, to)).expect("a file");
        path.display().to_string()
    };
    let rule = policy(
        "03_details-ISTIO-MUTUAL.yaml",
        "default",
        "ISTIO_MUTUAL",
        "DISABLE",
    );
    let elsewhere = policy("05_mesh-DISABLE.yaml", "istio-system", "DISABLE", "STRICT");
    run(&mut server.signet(&["apply", "-f", &rule, "-f", &elsewhere]));
    let mesh = policy("02_mesh-mTLS-STRICT.yaml", "mesh-config", "", "");
    let warned = "error DISABLE_AGAINST_STRICT: DestinationRule default/details";
    for arguments in [&["apply", "--dry-run", "-f", &mesh][..], &["apply", "-f", &mesh]] {
        let output = server.signet(arguments).output().expect("signet runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains(warned), "{said}");
        assert!(
            said.contains("other: PeerAuthentication mesh-config/mesh-strict-policy"),
            "{said}"
        );
    }
    assert_eq!(outcome(&mut server.signet(UNMESHED)), "refused");
    let described = run(&mut server.signet(&["describe", "pa", "-n", "mesh-config"]));
    assert!(described.contains("every workload of the mesh"), "{described}");
    let described = run(&mut server.signet(&["describe", "pa", "-n", "istio-system"]));
    assert!(
        described.contains("workloads of namespace istio-system"),
        "{described}"
    );
}

#[test]
fn files_are_explained_and_analyzed_without_a_server() {
    let all = repository("docs/samples").display().to_string();
    assert_eq!(outcome(signet().args(UNMESHED).args(["-f", &all])), "plaintext");
    let files = [
        "-f",
        &sample("shop.yaml"),
        "-f",
        &sample("02_mesh-mTLS-STRICT.yaml"),
    ];
    assert_eq!(outcome(signet().args(UNMESHED).args(files)), "refused");
    let clean = run(signet().args(["analyze", "-o", "json"]).args(files));
    assert_eq!(clean.trim(), "[]");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let rule = std::fs::read_to_string(sample("03_details-ISTIO-MUTUAL.yaml")).expect("the sample");
    let rule = rule.replace("ISTIO_MUTUAL", "DISABLE");
    std::fs::write(folder.path().join("rule.yaml"), rule).expect("a written file");
    let mut clash = signet();
    clash.args(["analyze"]).args(files).arg("-f").arg(folder.path());
    let (code, said) = fails(&mut clash);
    assert_eq!(code, 1, "{said}");
}
