//! Documents that are right, and each way in which one is not, with the place that is named.

use std::net::IpAddr;
use std::time::Duration;

use identity::spiffe_id::Role;
use identity::{SpiffeId, TrustDomain};
use proptest::prelude::*;

use super::*;
use crate::registration::{Forks, IdentityError, Proof, SelectorKind, TokenGrant};
use crate::template::Facts;

mod mesh;
mod refusals;

const SAMPLE: &str = r#"apiVersion: signet.dev/v1
kind: Registration
metadata: { name: details, namespace: default }
spec:
  role: workload                                            # or agent, admin, device: needed for their reserved paths
  spiffeId: spiffe://example.org/ns/default/sa/details     # or a template: /ns/{{ jwt.namespace }}/sa/{{ jwt.serviceAccount }}
  dnsNames: [ details.default.svc.cluster.local ]           # a CSR without DNS names gets all of these, a CSR with some just those
  life: 1h
  maxLife: 24h
  hint: internal                                            # optional; Workload API
  default: true                                             # optional; goes first among several
  jwtLife: 5m
  renewFor: 30d                                             # longest lineage before a new proof is needed; absent: no end
  workload: { labels: { app: details }, addresses: [ 10.0.0.0/8 ] }   # what its proxy may say of itself
  forks: allow                                              # or refuse: a second key renewed from one parent, see 04
  # who may have it; at least one of the three
  callers:                                                  # programs that ask the CA themselves
    - token                                                 # a join token made for this identity
    - jwt:k8s:system:serviceaccount:default:details         # jwt:<name in the configuration>:<pattern of sub>; jwt:self:<SPIFFE ID> is our own JWT-SVID
    - certificate:factory:D-*                               # certificate:<name in the configuration>:<pattern of the id that `idFrom` names>
  nodes: [ "web-*" ]                                        # node agents that may ask for it; required with match; "*" is legal and warned about
  match: [ "unix:user:details", "unix:path:/usr/bin/details" ]   # what the agent must see; all must hold
  impersonators: [ spiffe://example.org/ns/istio-system/sa/ztunnel ]   # node proxies that may ask for it (07.2)
"#;

/// A document whose `spec` has these lines; the first of them is line 5.
fn with_spec(spec: &str) -> String {
    let lines: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: signet.dev/v1\nkind: Registration\nmetadata: {{ name: a }}\nspec:\n{lines}")
}

fn registration(text: &str) -> Registration {
    let mut documents = parse(text, "t.yaml").unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    let Resource::Registration(registration) = documents.remove(0).resource else {
        panic!("not a registration: {text}");
    };
    *registration
}

fn faults(text: &str) -> Vec<String> {
    let errors = parse(text, "t.yaml").map(|_| ()).expect_err(text);
    errors.iter().map(ToString::to_string).collect()
}

fn json(document: &Document) -> Json {
    serde_json::from_str(&document.json).unwrap()
}

#[test]
fn the_sample_of_the_interface_is_read_to_the_letter() {
    let documents = parse(SAMPLE, "details.yaml").unwrap();
    let document = &documents[0];
    assert_eq!(
        (document.namespace.as_str(), document.name.as_str()),
        ("default", "details")
    );
    assert_eq!((document.place("").line, document.warnings.len()), (1, 1));
    for (field, line, column) in [
        ("spec.spiffeId", 6, 13),
        ("spec.callers[2]", 20, 7),
        ("spec.workload.addresses[0]", 14, 54),
        ("spec.life.no.further", 8, 9),
        ("spec.absent", 5, 3),
    ] {
        let place = document.place(field);
        assert_eq!((place.line, place.column), (line, column), "{field}");
    }
    let value = registration(SAMPLE);
    assert_eq!(value.role(), Role::Workload);
    assert_eq!(value.dns_names(), ["details.default.svc.cluster.local"]);
    assert_eq!(value.life(), Some(Duration::from_secs(3_600)));
    assert_eq!(value.max_life(), Some(Duration::from_secs(86_400)));
    assert_eq!(value.jwt_life(), Some(Duration::from_secs(300)));
    assert_eq!(value.renew_for(), Some(Duration::from_secs(30 * 86_400)));
    assert_eq!((value.hint(), value.is_default()), (Some("internal"), true));
    assert_eq!(value.labels()["app"], "details");
    assert!(value.addresses()[0].contains(IpAddr::from([10, 1, 2, 3])));
    assert_eq!(value.forks(), Forks::Allow);
    assert!(value.nodes()[0].matches("web-7"));
    assert_eq!(value.selectors()[1].kind(), SelectorKind::UnixPath);
    assert_eq!(value.selectors()[1].value(), "/usr/bin/details");
    assert_eq!(value.impersonators()[0].path(), "/ns/istio-system/sa/ztunnel");
    let domain = TrustDomain::new("example.org").unwrap();
    let id = value.spiffe_id_for(&domain, &Facts::default()).unwrap();
    assert_eq!(id.as_str(), "spiffe://example.org/ns/default/sa/details");
}

#[test]
fn a_line_of_callers_admits_the_proofs_that_it_names() {
    let device = registration(&with_spec(
        "role: device\nspiffeId: /device/{{ certificate.id }}\ncallers: [ 'certificate:factory:D-*', 'jwt:self:spiffe://td/a' ]",
    ));
    let admitted = |proof: Proof<'_>| device.grants_caller(&proof).map(ToString::to_string);
    let factory = |provider, id| admitted(Proof::Certificate { provider, id });
    assert_eq!(
        factory("factory", "D-1").as_deref(),
        Some("certificate:factory:D-*")
    );
    assert_eq!(factory("other", "D-1"), None);
    assert_eq!(factory("factory", "E-1"), None);
    assert_eq!(admitted(Proof::Token), None);
    let jwt = |provider, subject| admitted(Proof::Jwt { provider, subject });
    assert_eq!(
        jwt("self", "spiffe://td/a").as_deref(),
        Some("jwt:self:spiffe://td/a")
    );
    assert_eq!(jwt("self", "spiffe://td/ab"), None);
    assert_eq!(jwt("factory", "D-1"), None);
}

#[test]
fn a_factory_certificate_is_admitted_under_role_device_only() {
    let value = registration(SAMPLE);
    let proof = Proof::Certificate {
        provider: "factory",
        id: "D-1",
    };
    assert_eq!(value.grants_caller(&proof), None);
    let warning = &parse(SAMPLE, "").unwrap()[0].warnings[0];
    assert_eq!((warning.line, warning.field.as_str()), (20, "spec.callers[2]"));
}

#[test]
fn an_identity_lies_in_the_servers_trust_domain() {
    let value = registration(SAMPLE);
    let other = TrustDomain::new("other.org").unwrap();
    let error = value.spiffe_id_for(&other, &Facts::default()).unwrap_err();
    assert!(matches!(error, IdentityError::TrustDomain { .. }), "{error}");
}

#[test]
fn each_fault_is_told_with_its_place() {
    for (spec, fault) in refusals::OF_SPEC {
        let found = faults(&with_spec(spec));
        assert_eq!(found.len(), 1, "{spec}\n{found:?}");
        assert!(
            found[0].starts_with(&format!("t.yaml:{fault}")),
            "{spec}\n{found:?}"
        );
    }
    let hint = with_spec(&format!(
        "spiffeId: /a\nhint: {}\ncallers: [ token ]",
        "x".repeat(1025)
    ));
    assert!(faults(&hint)[0].ends_with("expected at most 1024 bytes"));
}

#[test]
fn faults_of_the_envelope_are_told_with_their_place() {
    let spec = "spec: { spiffeId: /a, callers: [ token ] }";
    for (text, fault) in [
        (
            "kind: Pod\napiVersion: v1\nmetadata: { name: a }\nspec: {}",
            "1:7: kind: found \"Pod\", expected one of Registration",
        ),
        (
            &format!("apiVersion: v1\nkind: Registration\nmetadata: {{ name: a }}\n{spec}"),
            "1:13: apiVersion: found \"v1\", expected signet.dev/v1",
        ),
        (
            &format!("apiVersion: signet.dev/v1\nkind: Registration\n{spec}"),
            "1:1: metadata: missing",
        ),
        (
            &format!("apiVersion: signet.dev/v1\nkind: Registration\nmetadata: {{ name: A }}\n{spec}"),
            "3:19: metadata.name: found \"A\", expected a DNS-1123",
        ),
        (
            &format!(
                "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: {{ name: a, namespace: a.b }}\n{spec}"
            ),
            "3:33: metadata.namespace: found \"a.b\"",
        ),
        (
            &format!(
                "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: {{ name: a, nam: b }}\n{spec}"
            ),
            "3:22: metadata.nam: unknown field",
        ),
        ("- a", "1:1: found a list, expected a mapping"),
        ("a: 1\na: 2", "2:1: not readable as YAML: "),
        ("a: [", "not readable as YAML: "),
    ] {
        let found = faults(text);
        let place = if fault.starts_with("not") {
            String::new()
        } else {
            "t.yaml:".to_owned()
        };
        assert!(found[0].contains(&format!("{place}{fault}")), "{text}\n{found:?}");
        assert_eq!(found.len(), 1, "{text}\n{found:?}");
    }
}

#[test]
fn all_faults_of_a_text_are_told_at_once() {
    let bad = with_spec("spiffeId: /a\nlife: x\nmaxLife: y\ncallers: [ token ]");
    let found = faults(&format!("{bad}---\n{bad}---\n{SAMPLE}"));
    let places: Vec<_> = found.iter().map(|f| f.split(' ').next().unwrap()).collect();
    assert_eq!(
        places,
        ["t.yaml:6:9:", "t.yaml:7:12:", "t.yaml:15:9:", "t.yaml:16:12:"]
    );
}

#[test]
fn several_documents_lists_and_json_are_read() {
    let json = serde_json::to_string_pretty(&json(&parse(SAMPLE, "").unwrap()[0])).unwrap();
    assert_eq!(parse(&json, "").unwrap()[0].name, "details");
    let list = format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{json},{json}]}}");
    let text = format!("---\n{SAMPLE}---\n---\n{list}\n");
    assert_eq!(parse(&text, "").unwrap().len(), 3);
    assert_eq!(parse("", "").unwrap().len(), 0);
    let broken = faults("apiVersion: v1\nkind: List\nitems:\n- kind: Pod");
    assert!(broken[0].starts_with("t.yaml:4:9: items[0].kind: "), "{broken:?}");
}

#[test]
fn what_kubectl_adds_is_accepted_and_its_own_record_dropped() {
    let text = r#"
apiVersion: signet.dev/v1
kind: Registration
metadata:
  name: a
  uid: 7b0d
  resourceVersion: "12"
  generation: 2
  creationTimestamp: "2026-01-01T00:00:00Z"
  labels: { app: a }
  annotations: { "kubectl.kubernetes.io/last-applied-configuration": "{}" }
  managedFields: [ { manager: kubectl } ]
spec: { spiffeId: /a, callers: [ token ] }
status: { observed: 1 }
"#;
    let document = parse(text, "").unwrap().remove(0);
    let json = json(&document);
    assert_eq!(json["metadata"]["namespace"], "default");
    assert_eq!(json["metadata"]["labels"]["app"], "a");
    assert!(json.get("status").is_none());
    for field in ["managedFields", "resourceVersion", "creationTimestamp"] {
        assert!(json["metadata"].get(field).is_none(), "{field}");
    }
}

#[test]
fn every_node_is_legal_and_warned_about() {
    let text = with_spec("spiffeId: /a\nnodes: [ \"*\" ]\nmatch: [ 'unix:uid:0' ]");
    let warnings = parse(&text, "").unwrap().remove(0).warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!((warnings[0].line, warnings[0].field.as_str()), (6, "spec.nodes"));
}

#[test]
fn bombs_depth_and_size_end_in_an_error() {
    let mut bomb = "a0: &a0 [ x, x, x, x, x, x, x, x, x, x ]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [ {aliases} ]\n"));
    }
    let too_large = "x".repeat(10 << 20);
    for hostile in [
        bomb,
        "[".repeat(100_000),
        "{a: ".repeat(1_000),
        "- ".repeat(10_000),
        too_large,
    ] {
        assert_eq!(parse(&hostile, "").map(|_| ()).expect_err("hostile").len(), 1);
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(Document::from_json(deep.as_bytes()).is_err());
    assert!(Document::from_json(&vec![b' '; MAX_DOCUMENT_BYTES + 1]).is_err());
}

#[test]
fn ten_thousand_documents_fit_in_a_text_and_ten_megabytes_of_them_do_not() {
    let one = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: a\n  namespace: shop\nspec:\n  \
        selector:\n    matchLabels:\n      app: details\n  mtls:\n    mode: STRICT\n";
    assert_eq!(parse(&one.repeat(10_000), "").unwrap().len(), 10_000);
    let large = one.repeat(10_000_000 / one.len());
    let errors = parse(&large, "").unwrap_err();
    assert!(
        errors[0].message.contains("expected at most 8388608 bytes"),
        "{}",
        errors[0]
    );
    // Many small values cost more than their text: they are counted.
    let many = format!("[ {} ]", "1,".repeat(2_000_000));
    assert_eq!(parse(&many, "").unwrap_err().len(), 1);
}

#[test]
fn json_off_the_wire_is_judged_by_the_same_rules() {
    let good = r#"{"apiVersion":"signet.dev/v1","kind":"Registration","metadata":{"name":"a"},"spec":{"spiffeId":"/a","callers":["token"]}}"#;
    assert_eq!(Document::from_json(good.as_bytes()).unwrap().namespace, "default");
    let twice = good.replace(r#""spiffeId":"/a""#, r#""spiffeId":"/b","spiffeId":"/a""#);
    let error = Document::from_json(twice.as_bytes()).unwrap_err();
    assert!(error.message.contains("duplicate key"), "{error}");
    let unknown = good.replace("callers", "caller");
    let error = Document::from_json(unknown.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("spec.caller: unknown field"), "{error}");
    assert!(Document::from_json(b"{} {}").is_err());
}

#[test]
fn dns_names_are_kept_in_canonical_form_and_are_at_most_as_many_as_a_certificate_holds() {
    let value = registration(&with_spec(
        "spiffeId: /a\ndnsNames: [ Web.Shop, www.shop. ]\ncallers: [ token ]",
    ));
    assert_eq!(value.dns_names(), ["web.shop", "www.shop"]);
    let spec = |count: usize| {
        let names: Vec<String> = (0..count).map(|i| format!("n{i}.shop")).collect();
        with_spec(&format!(
            "spiffeId: /a\ndnsNames: [ {} ]\ncallers: [ token ]",
            names.join(", ")
        ))
    };
    assert_eq!(registration(&spec(99)).dns_names().len(), 99);
    let found = faults(&spec(150));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("spec.dnsNames[99]: more than 99 DNS names"),
        "{found:?}"
    );
}

#[test]
fn a_stored_document_stays_readable_without_the_dns_names_that_are_refused_today() {
    let object = |names: &[&str]| {
        serde_json::json!({
            "apiVersion": "signet.dev/v1", "kind": "Registration", "metadata": { "name": "a" },
            "spec": { "spiffeId": "/a", "dnsNames": names, "callers": ["token"] },
        })
        .to_string()
    };
    let stored = object(&["a.shop", "10.9.8.7", "127.1", "a.shop", "b.shop"]);
    assert!(Document::from_json(stored.as_bytes()).is_err());
    let document = Document::from_stored_json(stored.as_bytes()).unwrap();
    let warned: Vec<&str> = document.warnings.iter().map(|w| w.field.as_str()).collect();
    assert_eq!(
        warned,
        ["spec.dnsNames[1]", "spec.dnsNames[2]", "spec.dnsNames[3]"]
    );
    assert!(document.warnings[1].message.ends_with("it is not granted"));
    let Resource::Registration(value) = document.resource else {
        panic!("not a registration");
    };
    assert_eq!(value.dns_names(), ["a.shop", "b.shop"]);
    let other_fault = stored.replace("callers", "caller");
    assert!(Document::from_stored_json(other_fault.as_bytes()).is_err());
    let many: Vec<String> = (0..120).map(|i| format!("n{i}.shop")).collect();
    let many = object(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let document = Document::from_stored_json(many.as_bytes()).unwrap();
    assert_eq!(document.warnings.len(), 1, "{:?}", document.warnings);
}

#[test]
fn registrations_share_callers_where_one_proof_may_be_admitted_by_both() {
    let with = |callers: &str| registration(&with_spec(&format!("spiffeId: /a\ncallers: [ {callers} ]")));
    for (one, other, expected) in [
        ("token", "token", true),
        ("token", "'jwt:k8s:a'", false),
        ("'jwt:k8s:a', token", "'jwt:k8s:b', token", true),
        ("'jwt:k8s:a'", "'jwt:k8s:b'", false),
        ("'jwt:k8s:a'", "'jwt:other:a'", false),
        ("'jwt:k8s:a*'", "'jwt:k8s:ab'", true),
        ("'jwt:k8s:a*'", "'jwt:k8s:b'", false),
        ("'jwt:k8s:a*'", "'jwt:k8s:*b'", true),
    ] {
        assert_eq!(
            with(one).shares_callers_with(&with(other)),
            expected,
            "{one} {other}"
        );
        assert_eq!(
            with(other).shares_callers_with(&with(one)),
            expected,
            "{other} {one}"
        );
    }
}

#[test]
fn a_token_brings_a_registration_of_its_own() {
    let id = SpiffeId::new("spiffe://example.org/admin/ann").unwrap();
    let grant = TokenGrant {
        token_id: "0af3",
        role: Role::Admin,
        spiffe_id: &id,
        dns_names: &["a.example.org".to_owned()],
        life: Some(Duration::from_secs(3_600)),
    };
    let document = Registration::for_token(&grant).unwrap();
    assert_eq!(
        (document.namespace.as_str(), document.name.as_str()),
        ("default", "token-0af3")
    );
    let Resource::Registration(value) = document.resource else {
        panic!("not a registration");
    };
    assert_eq!(value.life(), grant.life);
    assert!(value.grants_caller(&Proof::Token).is_some());
    let without_role = TokenGrant {
        role: Role::Workload,
        ..grant
    };
    let error = Registration::for_token(&without_role).unwrap_err();
    assert_eq!(error.field, "spec.spiffeId");
}

proptest! {
    #[test]
    fn parsing_what_was_printed_is_identity(name in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?", path in "(/[a-zA-Z0-9_-]{1,9}){1,4}", hint in "\\PC{0,40}") {
        prop_assume!(!["agent", "admin", "device", "server"].contains(&path.split('/').nth(1).unwrap()));
        let object = serde_json::json!({
            "apiVersion": "signet.dev/v1", "kind": "Registration",
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "spiffeId": path, "hint": hint, "callers": ["token"] },
        });
        let once = Document::from_json(object.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&json(&once), &object);
        let again = parse(&once.json, "").unwrap().remove(0);
        prop_assert_eq!(&json(&again), &object);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        let _ = parse(&text, "");
        let _ = parse(&with_spec(&text), "");
        let _ = Document::from_json(text.as_bytes());
    }
}
