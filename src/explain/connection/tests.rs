//! The samples of docs/samples explained, as the tutorial has them; and the letter of the answer.

use clap::Parser;
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(line: &str) -> Arguments {
    let words = std::iter::once("explain").chain(line.split(' '));
    Line::try_parse_from(words)
        .unwrap_or_else(|e| panic!("{line}: {e}"))
        .arguments
}

/// The answer over these files of docs/samples.
fn explained(files: &[&str], line: &str) -> (Value, String) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/samples");
    let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(file)).collect();
    let written = documents::read_all(&paths).unwrap_or_else(|e| panic!("{}", e.text()));
    let documents: Vec<Document> = written.into_iter().map(|written| written.document).collect();
    let policies = Policies::compile("istio-system", &documents);
    let answer = answer(&arguments(line), &policies).unwrap_or_else(|e| panic!("{}", e.text()));
    (told::json(&answer), told::text(&answer))
}

const SHOP: &str = "shop.yaml";
const DETAILS: &str = "--to default:app=details --service details.default.svc.cluster.local:9080";

/// The page from outside: the gateway's port is its own configuration's business and no policy's, behind it all are of the mesh.
const THROUGH_THE_GATEWAY: [&str; 3] = [
    "--to istio-system:istio=ingressgateway --to-unmeshed --port 80 --from-unmeshed",
    "--to default:app=productpage --service productpage.default.svc.cluster.local:9080 --from istio-system:istio=ingressgateway",
    "--to default:app=details --service details.default.svc.cluster.local:9080 --from default:app=productpage",
];

#[test]
fn the_samples_end_as_the_tutorial_says() {
    let mesh = "02_mesh-mTLS-STRICT.yaml";
    let permissive = "03_namespace-mTLS-PERMISSIVE.yaml";
    let (strict, rule) = ("03_namespace-mTLS-STRICT.yaml", "03_details-ISTIO-MUTUAL.yaml");
    let service = "04_details-mTLS-STRICT.yaml";
    for (files, client, outcome, level) in [
        (vec![SHOP], "--from-unmeshed", "plaintext", "default"),
        (vec![SHOP], "--from default:app=sleep", "mtls", "default"),
        (vec![SHOP, mesh], "--from-unmeshed", "refused", "mesh"),
        (vec![SHOP, mesh], "--from default:app=sleep", "mtls", "mesh"),
        (
            vec![SHOP, permissive],
            "--from-unmeshed",
            "plaintext",
            "namespace",
        ),
        (
            vec![SHOP, permissive],
            "--from default:app=sleep",
            "mtls",
            "namespace",
        ),
        (
            vec![SHOP, strict, rule],
            "--from-unmeshed",
            "refused",
            "namespace",
        ),
        (
            vec![SHOP, strict, rule],
            "--from default:app=sleep",
            "mtls",
            "namespace",
        ),
        (vec![SHOP, service], "--from-unmeshed", "refused", "workload"),
        (
            vec![SHOP, service],
            "--from default:app=sleep",
            "mtls",
            "workload",
        ),
        (
            vec![SHOP, "05_mesh-DISABLE.yaml"],
            "--from default:app=sleep",
            "plaintext",
            "mesh",
        ),
        (
            vec![SHOP, mesh, "05_namespace-DISABLE.yaml"],
            "--from-unmeshed",
            "plaintext",
            "namespace",
        ),
        (
            vec![SHOP, mesh, "05_details-DISABLE.yaml"],
            "--from-unmeshed",
            "plaintext",
            "workload",
        ),
    ] {
        let (value, text) = explained(&files, &format!("{DETAILS} {client}"));
        assert_eq!(value["outcome"], outcome, "{files:?} {client}\n{text}");
        assert_eq!(
            value["inbound"]["decidedBy"]["level"], level,
            "{files:?} {client}"
        );
        assert!((3..=5).contains(&text.lines().count()), "{text}");
        for hop in THROUGH_THE_GATEWAY {
            let (value, text) = explained(&files, hop);
            assert_ne!(value["outcome"], "refused", "{files:?} {hop}\n{text}");
        }
    }
}

#[test]
fn a_policy_for_one_service_leaves_the_others_alone() {
    let line = "--to default:app=productpage --port 9080 --from-unmeshed";
    let (value, _) = explained(&[SHOP, "04_details-mTLS-STRICT.yaml"], line);
    assert_eq!(value["outcome"], "plaintext");
}

#[test]
fn the_answer_for_programs_is_to_the_letter() {
    let files = [
        SHOP,
        "02_mesh-mTLS-STRICT.yaml",
        "03_namespace-mTLS-STRICT.yaml",
        "03_details-ISTIO-MUTUAL.yaml",
    ];
    let (mut value, _) = explained(&files, &format!("{DETAILS} --from default:app=sleep"));
    assert!(value["why"].as_str().is_some_and(|why| !why.is_empty()));
    value["why"] = "".into();
    assert_eq!(
        value,
        json!({
            "inbound": {
                "mode": "STRICT", "port": 9080,
                "decidedBy": { "kind": "PeerAuthentication", "level": "namespace", "namespace": "default", "name": "namespace-strict-policy" },
                "shadowed": [ {
                    "kind": "PeerAuthentication", "namespace": "istio-system", "name": "mesh-strict-policy",
                    "why": "default/namespace-strict-policy is nearer to the workload",
                } ],
            },
            "client": {
                "sends": "mtls",
                "decidedBy": { "kind": "DestinationRule", "level": "rule", "namespace": "default", "name": "details" },
            },
            "outcome": "mtls", "why": "",
        })
    );
    let (value, _) = explained(&[], "--to default");
    assert_eq!(
        value["inbound"]["decidedBy"],
        json!({ "kind": "default", "level": "default" })
    );
    assert!(value.get("client").is_none() && value.get("outcome").is_none());
    assert!(value["inbound"].get("port").is_none());
}

#[test]
fn what_the_command_line_says_goes_before_what_policies_say() {
    for (line, outcome) in [
        ("--sends tls", "tls"),
        ("--sends tls --declared http", "refused"),
        ("--sends mtls --declared http", "mtls"),
        ("--sends plaintext --declared auto", "plaintext"),
        ("--to-unmeshed --sends mtls", "refused"),
        ("--to-unmeshed --from web", "plaintext"),
    ] {
        let (value, _) = explained(&[], &format!("--to default {line}"));
        assert_eq!(value["outcome"], outcome, "{line}");
    }
}

#[test]
fn a_workloads_port_finds_its_service_and_a_services_port_its_workload() {
    let files = [SHOP, "03_details-ISTIO-MUTUAL.yaml"];
    let (value, _) = explained(&files, "--to default:app=details --port 9080 --from default");
    assert_eq!(value["client"]["decidedBy"]["name"], "details");
    let (value, _) = explained(&[SHOP], &format!("{DETAILS} --sends tls"));
    assert_eq!(value["inbound"]["port"], 9080);
    assert_eq!(value["outcome"], "refused", "the entry declares HTTP");
}

#[test]
fn a_subset_that_no_rule_has_is_an_error() {
    let policies = Policies::compile("istio-system", &[]);
    let line = format!("{DETAILS} --subset v9 --from default");
    let failure = answer(&arguments(&line), &policies).err().unwrap();
    assert_eq!(failure.reason(), Reason::NotFound);
}
