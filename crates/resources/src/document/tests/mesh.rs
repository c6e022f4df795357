//! Istio's kinds: what they mean, and each way in which a document is refused, with the place and the words.

use super::json;
use crate::labels::ExportTo;
use crate::{Kind, Location, Mode, Protocol, Resource, TlsMode, parse};

/// A document whose `spec` has these lines; the first of them is line 5.
fn document(kind: Kind, spec: &str) -> String {
    let lines: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let version = kind.api_version();
    format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{ name: a, namespace: shop }}\nspec:\n{lines}")
}

fn value(kind: Kind, spec: &str) -> (Resource, Vec<String>) {
    let text = document(kind, spec);
    let read = parse(&text, "t.yaml")
        .unwrap_or_else(|errors| panic!("{errors:?}\n{text}"))
        .remove(0);
    let warnings = read.warnings.iter().map(ToString::to_string).collect();
    (read.resource, warnings)
}

const REFUSED: &[(Kind, &str, &str)] = &[
    (
        Kind::PeerAuthentication,
        "portLevelMtls: { 80: { mode: STRICT } }",
        "5:18: spec.portLevelMtls: mesh/namespace peer authentication cannot have port level mTLS",
    ),
    (
        Kind::PeerAuthentication,
        "selector: { matchLabels: { a: b } }\nportLevelMtls: {}",
        "6:18: spec.portLevelMtls: port level mTLS, if defined, must have at least one element",
    ),
    (
        Kind::PeerAuthentication,
        "selector: { matchLabels: { a: b } }\nportLevelMtls: { 0: { mode: STRICT } }",
        "port must be in range 1..65535",
    ),
    (
        Kind::PeerAuthentication,
        "selector: { matchLabels: { a: b } }\nportLevelMtls: { 65536: { mode: STRICT } }",
        "port must be in range 1..65535",
    ),
    (
        Kind::PeerAuthentication,
        "selector: { matchLabels: { '': b } }",
        "empty key is not supported in selector: \"=b\"",
    ),
    (
        Kind::PeerAuthentication,
        "selector: { matchLabels: { a: 'b*' } }",
        "5:33: spec.selector.matchLabels.a: wildcard is not supported in selector: \"a=b*\"",
    ),
    (
        Kind::PeerAuthentication,
        "selector: { matchLabels: { a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa } }",
        "value of 64 characters, expected at most 63 characters",
    ),
    (
        Kind::PeerAuthentication,
        "mtls: { mode: strict }",
        "5:17: spec.mtls.mode: found \"strict\", expected UNSET, DISABLE, PERMISSIVE or STRICT",
    ),
    (
        Kind::PeerAuthentication,
        "mtls: { mod: STRICT }",
        "5:11: spec.mtls.mod: unknown field, expected one of mode",
    ),
    (
        Kind::DestinationRule,
        "trafficPolicy: {}",
        "5:3: spec.host: missing",
    ),
    (
        Kind::DestinationRule,
        "host: a*b",
        "5:9: spec.host: found \"a*b\"",
    ),
    (
        Kind::DestinationRule,
        "host: a\ntrafficPolicy: { tls: { mode: MTLS } }",
        "6:33: spec.trafficPolicy.tls.mode: found \"MTLS\", expected DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL",
    ),
    (
        Kind::DestinationRule,
        "host: a\ntrafficPolicy: { loadBalancer: { simple: RANDOM } }",
        "6:34: spec.trafficPolicy.loadBalancer: not supported",
    ),
    (
        Kind::DestinationRule,
        "host: a\ntrafficPolicy: { tls: { mode: MUTUAL, privateKey: k } }",
        "clientCertificate: missing, expected a file: client certificate required for mutual tls",
    ),
    (
        Kind::DestinationRule,
        "host: a\ntrafficPolicy: { tls: { mode: ISTIO_MUTUAL, caCertificates: f } }",
        "caCertificates: has no use with mode ISTIO_MUTUAL",
    ),
    (
        Kind::DestinationRule,
        "host: a\ntrafficPolicy: { tls: { mode: SIMPLE, credentialName: x } }",
        "spec.trafficPolicy.tls.credentialName: not supported",
    ),
    (
        Kind::DestinationRule,
        "host: a\nworkloadSelector: { matchLabels: { a: b } }",
        "6:21: spec.workloadSelector: not supported",
    ),
    (
        Kind::DestinationRule,
        "host: a\nsubsets: [ { name: v1 }, { name: v1 } ]",
        "duplicate subset name \"v1\"",
    ),
    (
        Kind::DestinationRule,
        "host: a\nexportTo: [ '~' ]",
        "6:15: spec.exportTo[0]: found \"~\", expected *, . or the name of a namespace",
    ),
    (
        Kind::ServiceEntry,
        "hosts: [ a ]\nports: [ { number: 80, name: h } ]",
        "5:12: spec.hosts[0]: found \"a\", expected a DNS name with a dot",
    ),
    (
        Kind::ServiceEntry,
        "hosts: [ a.b ]\nports: [ { number: 80, name: h, protocol: SMTP } ]",
        "spec.ports[0].protocol: found \"SMTP\"",
    ),
    (
        Kind::ServiceEntry,
        "hosts: [ a.b ]\nports: [ { number: 80, name: h }, { number: 80, name: i } ]",
        "service entry port 80 already defined",
    ),
    (
        Kind::ServiceEntry,
        "hosts: [ a.b ]\nports: []\nresolution: STATIC\nworkloadSelector: { labels: { a: b } }\nendpoints: []",
        "only one of WorkloadSelector or Endpoints is allowed in Service Entry",
    ),
    (
        Kind::ServiceEntry,
        "hosts: [ a.b ]\nports: []\nendpoints: [ { address: 10.0.0.1 } ]",
        "no endpoints should be provided for resolution type none",
    ),
    (
        Kind::WorkloadEntry,
        "labels: { a: b }",
        "5:3: spec.address: missing",
    ),
    (
        Kind::WorkloadEntry,
        "address: unix:///a",
        "5:12: spec.address: found \"unix:///a\"",
    ),
    (
        Kind::WorkloadEntry,
        "address: 10.0.0.1\nweight: 5",
        "6:11: spec.weight: not supported",
    ),
    (
        Kind::WorkloadEntry,
        "address: 10.0.0.1\nports: { http: 0 }",
        "port must be in range 1..65535",
    ),
];

#[test]
fn what_istio_refuses_or_nothing_here_heeds_is_refused_with_its_place_and_words() {
    for (kind, spec, words) in REFUSED {
        let text = document(*kind, spec);
        let errors = parse(&text, "t.yaml").map(|_| ()).expect_err(&text);
        assert_eq!(errors.len(), 1, "{text}\n{errors:?}");
        let found = errors[0].to_string();
        assert!(
            found.starts_with("t.yaml:") && found.contains(words),
            "{text}\n{found}"
        );
    }
}

#[test]
fn every_api_version_of_a_kind_is_read_and_kept_under_one() {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Registration) {
        let spec = match kind {
            Kind::PeerAuthentication => "mtls: { mode: STRICT }",
            Kind::DestinationRule => "host: a",
            Kind::ServiceEntry => "hosts: [ a.b ]\nports: []",
            _ => "address: 10.0.0.1",
        };
        for version in kind.api_versions() {
            let text = document(kind, spec).replace(kind.api_version(), version);
            let read = parse(&text, "").unwrap().remove(0);
            assert_eq!(json(&read)["apiVersion"], kind.api_version(), "{version}");
        }
        let other = document(kind, spec).replace(kind.api_version(), "istio.io/v1");
        assert!(parse(&other, "").is_err());
    }
}

#[test]
fn modes_of_ports_are_read_whatever_quotes_they_have_and_unset_is_none() {
    let spec = "selector: { matchLabels: { app: a } }\nmtls: { mode: UNSET }\n\
        portLevelMtls:\n  8080: { mode: STRICT }\n  \"8081\": { mode: UNSET }\n  8082: {}";
    let (Resource::PeerAuthentication(policy), warnings) = value(Kind::PeerAuthentication, spec) else {
        panic!("another kind");
    };
    assert_eq!(policy.mode(), None);
    assert_eq!(policy.selector().unwrap()["app"], "a");
    let ports: Vec<_> = policy.ports().iter().collect();
    assert_eq!(
        ports,
        [(&8080, &Some(Mode::Strict)), (&8081, &None), (&8082, &None)]
    );
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn a_selector_without_labels_is_none_and_warned_about() {
    for selector in ["{}", "{ matchLabels: {} }"] {
        let spec = format!("selector: {selector}\nmtls: {{ mode: STRICT }}");
        let (Resource::PeerAuthentication(policy), warnings) = value(Kind::PeerAuthentication, &spec) else {
            panic!("another kind");
        };
        assert_eq!(policy.selector(), None);
        assert_eq!(
            warnings,
            ["spec.selector: workload selector specified without labels"]
        );
    }
}

#[test]
fn a_rule_without_a_tls_mode_sends_plaintext_and_is_warned_about() {
    let (Resource::DestinationRule(rule), warnings) =
        value(Kind::DestinationRule, "host: details\ntrafficPolicy: { tls: {} }")
    else {
        panic!("another kind");
    };
    assert_eq!(rule.policy().tls.as_ref().unwrap().mode, TlsMode::Disable);
    assert_eq!(rule.host(), "details.shop.svc.cluster.local");
    assert_eq!(rule.written_host(), "details");
    assert!(warnings[0].contains("means DISABLE"), "{warnings:?}");
}

#[test]
fn a_rule_keeps_its_ports_its_subsets_and_who_sees_it() {
    let spec = "host: '*.example.org'\nexportTo: [ ., web ]\ntrafficPolicy:\n  portLevelSettings: [ { port: { number: 80 }, tls: { mode: SIMPLE, sni: a.b } }, { port: { number: 81 } } ]\n\
        subsets: [ { name: v1, labels: { v: '1' }, trafficPolicy: { tls: { mode: ISTIO_MUTUAL } } } ]";
    let (Resource::DestinationRule(rule), _) = value(Kind::DestinationRule, spec) else {
        panic!("another kind");
    };
    assert_eq!(
        rule.policy().ports[0].1.as_ref().unwrap().sni.as_deref(),
        Some("a.b")
    );
    assert_eq!(rule.policy().ports[1], (81, None));
    assert_eq!(rule.subsets()[0].labels["v"], "1");
    assert_eq!(
        *rule.export_to(),
        ExportTo::Namespaces(vec!["shop".into(), "web".into()])
    );
    assert!(rule.export_to().reaches("web") && !rule.export_to().reaches("other"));
}

#[test]
fn a_service_and_a_workload_are_read_whole() {
    let spec = "hosts: [ details.shop.svc.cluster.local ]\nlocation: MESH_INTERNAL\nresolution: STATIC\n\
        ports: [ { number: 80, name: http, protocol: http, targetPort: 9080 }, { number: 81, name: db, protocol: TCP } ]\n\
        workloadSelector: { labels: { app: details } }\nexportTo: [ '~' ]";
    let (Resource::ServiceEntry(service), _) = value(Kind::ServiceEntry, spec) else {
        panic!("another kind");
    };
    assert_eq!(service.location(), Some(Location::Internal));
    assert_eq!(service.ports()[0].protocol, Some(Protocol::Http));
    assert_eq!(
        (service.ports()[0].target, service.ports()[1].target),
        (Some(9080), None)
    );
    assert!(!service.export_to().reaches("shop"));
    let enrolled = |spec: &str| match value(Kind::WorkloadEntry, spec).0 {
        Resource::WorkloadEntry(workload) => workload.is_enrolled(),
        _ => panic!("another kind"),
    };
    assert!(enrolled("address: 10.0.0.1\nserviceAccount: details"));
    assert!(enrolled(
        "address: 10.0.0.1\nlabels: { security.istio.io/tlsMode: istio }"
    ));
    assert!(!enrolled(
        "address: 10.0.0.1\nlabels: { security.istio.io/tlsMode: disabled }"
    ));
}

#[test]
fn the_age_of_a_document_is_read_and_no_part_of_what_is_stored() {
    let text = document(Kind::PeerAuthentication, "mtls: { mode: STRICT }")
        .replace("name: a", "name: a, creationTimestamp: \"2026-01-01T00:00:00Z\"");
    let read = parse(&text, "").unwrap().remove(0);
    assert_eq!(read.created.unwrap().unix_timestamp(), 1_767_225_600);
    assert!(json(&read)["metadata"].get("creationTimestamp").is_none());
    let wrong = text.replace("2026-01-01T00:00:00Z", "yesterday");
    assert_eq!(
        parse(&wrong, "").unwrap_err()[0].field,
        "metadata.creationTimestamp"
    );
}

#[test]
fn a_policy_of_its_envelope_alone_is_unset() {
    let text = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: a }\n";
    let read = parse(text, "").unwrap().remove(0);
    assert_eq!(read.warnings.len(), 1);
}
