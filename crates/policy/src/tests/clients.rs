//! What a client sends: which rule it sees, which part of it counts, and what holds without one.

use super::{compiled, enrolled, labels};
use crate::{Target, Workload};

/// What a rule says, by its number; rules, the client's namespace, subset and port, and what is sent, by which part of which rule, to `a.shop.svc.cluster.local`.
const RULES: &[(&str, &str, &str, &str, u16, &str)] = &[
    ("11: no rule is automatic", "", "web", "", 80, "mtls automatic -"),
    (
        "9: the client's namespace goes first",
        "dr web/c { host: a.shop.svc.cluster.local, trafficPolicy: { tls: { mode: DISABLE } } }
         dr shop/s { host: a, trafficPolicy: { tls: { mode: SIMPLE } } }
         dr istio-system/r { host: '*.local', trafficPolicy: { tls: { mode: ISTIO_MUTUAL } } }",
        "web",
        "",
        80,
        "plaintext rule web/c",
    ),
    (
        "9: then the service's",
        "dr shop/s { host: a, trafficPolicy: { tls: { mode: SIMPLE } } }
         dr istio-system/r { host: '*.local', trafficPolicy: { tls: { mode: ISTIO_MUTUAL } } }",
        "web",
        "",
        80,
        "tls rule shop/s",
    ),
    (
        "9: then the root's",
        "dr istio-system/r { host: '*.local', trafficPolicy: { tls: { mode: ISTIO_MUTUAL } } }",
        "web",
        "",
        80,
        "mtls rule istio-system/r",
    ),
    (
        "9: a rule that is not exported to the client does not count",
        "dr shop/s { host: a, exportTo: [ . ], trafficPolicy: { tls: { mode: SIMPLE } } }
         dr istio-system/r { host: '*.local', exportTo: [ shop ], trafficPolicy: { tls: { mode: SIMPLE } } }",
        "web",
        "",
        80,
        "mtls automatic -",
    ),
    (
        "9: one that is exported to it counts",
        "dr shop/s { host: a, exportTo: [ web ], trafficPolicy: { tls: { mode: SIMPLE } } }",
        "web",
        "",
        80,
        "tls rule shop/s",
    ),
    (
        "9: other namespaces have no say",
        "dr mail/x { host: a.shop.svc.cluster.local, trafficPolicy: { tls: { mode: DISABLE } } }",
        "web",
        "",
        80,
        "mtls automatic -",
    ),
    (
        "9: a short host is one of the rule's namespace",
        "dr web/c { host: a, trafficPolicy: { tls: { mode: DISABLE } } }",
        "web",
        "",
        80,
        "mtls automatic -",
    ),
    (
        "9: exact beats wildcard",
        "dr web/w@01 { host: '*.shop.svc.cluster.local', trafficPolicy: { tls: { mode: DISABLE } } }
         dr web/e@02 { host: a.shop.svc.cluster.local, trafficPolicy: { tls: { mode: SIMPLE } } }",
        "web",
        "",
        80,
        "tls rule web/e",
    ),
    (
        "9: the longest wildcard wins",
        "dr web/x@01 { host: '*.local', trafficPolicy: { tls: { mode: DISABLE } } }
         dr web/y@02 { host: '*.svc.cluster.local', trafficPolicy: { tls: { mode: SIMPLE } } }
         dr web/z { host: '*', trafficPolicy: { tls: { mode: DISABLE } } }",
        "web",
        "",
        80,
        "tls rule web/y",
    ),
    (
        "9: a wildcard does not match its own suffix",
        "dr web/w { host: '*.a.shop.svc.cluster.local', trafficPolicy: { tls: { mode: DISABLE } } }",
        "web",
        "",
        80,
        "mtls automatic -",
    ),
    (
        "9: a level with a match wins whole, even if it says nothing of tls",
        "dr web/c { host: '*.local' }
         dr shop/s { host: a, trafficPolicy: { tls: { mode: DISABLE } } }",
        "web",
        "",
        80,
        "mtls automatic -",
    ),
    (
        "9: of one host in one namespace the oldest counts alone",
        "dr shop/a@02 { host: a, trafficPolicy: { tls: { mode: DISABLE } } }
         dr shop/b@01 { host: a.shop.svc.cluster.local }",
        "web",
        "",
        80,
        "mtls automatic -",
    ),
    (
        "9: and the subsets of all are joined",
        "dr shop/a@01 { host: a, trafficPolicy: { tls: { mode: SIMPLE } } }
         dr shop/b@02 { host: a, subsets: [ { name: v1, trafficPolicy: { tls: { mode: DISABLE } } } ] }",
        "web",
        "v1",
        80,
        "plaintext subset shop/b",
    ),
    (
        "10: subset port before subset",
        "dr shop/a { host: a, subsets: [ { name: v1, trafficPolicy: { tls: { mode: DISABLE }, portLevelSettings: [ { port: { number: 80 }, tls: { mode: SIMPLE } } ] } } ] }",
        "web",
        "v1",
        80,
        "tls subsetPort shop/a",
    ),
    (
        "10: subset before rule port",
        "dr shop/a { host: a, trafficPolicy: { portLevelSettings: [ { port: { number: 80 }, tls: { mode: SIMPLE } } ] }, subsets: [ { name: v1, trafficPolicy: { tls: { mode: DISABLE } } } ] }",
        "web",
        "v1",
        80,
        "plaintext subset shop/a",
    ),
    (
        "10: a subset without tls has the rule port's",
        "dr shop/a { host: a, trafficPolicy: { tls: { mode: DISABLE }, portLevelSettings: [ { port: { number: 80 }, tls: { mode: SIMPLE } } ] }, subsets: [ { name: v1 } ] }",
        "web",
        "v1",
        80,
        "tls port shop/a",
    ),
    (
        "10: rule port before rule",
        "dr shop/a { host: a, trafficPolicy: { tls: { mode: DISABLE }, portLevelSettings: [ { port: { number: 80 }, tls: { mode: SIMPLE } } ] } }",
        "web",
        "",
        80,
        "tls port shop/a",
    ),
    (
        "10: other ports have the rule's",
        "dr shop/a { host: a, trafficPolicy: { tls: { mode: DISABLE }, portLevelSettings: [ { port: { number: 80 }, tls: { mode: SIMPLE } } ] } }",
        "web",
        "",
        81,
        "plaintext rule shop/a",
    ),
    (
        "10: a port without tls inherits none",
        "dr shop/a { host: a, trafficPolicy: { tls: { mode: DISABLE }, portLevelSettings: [ { port: { number: 80 } } ] } }",
        "web",
        "",
        80,
        "mtls automatic -",
    ),
    (
        "8: tls without a mode is plaintext",
        "dr shop/a { host: a, trafficPolicy: { tls: {} } }",
        "web",
        "",
        80,
        "plaintext rule shop/a",
    ),
    (
        "8: own files are mutual TLS too",
        "dr shop/a { host: a, trafficPolicy: { tls: { mode: MUTUAL, clientCertificate: c, privateKey: k } } }",
        "web",
        "",
        80,
        "mtls rule shop/a",
    ),
];

#[test]
fn a_client_sends_what_the_nearest_part_of_the_nearest_rule_says() {
    let app = labels("app=a");
    for (what, lines, client, subset, port, expected) in RULES {
        let policies = compiled(lines);
        let target = Target {
            host: "a.shop.svc.cluster.local",
            namespace: "shop",
            port: *port,
            subset: (!subset.is_empty()).then_some(*subset),
            is_external: false,
        };
        let server = enrolled("shop", &app);
        let inbound = policies.inbound(&server, Some(*port));
        let sent = policies.outbound(client, Some(&target), &server, &inbound);
        let rule = sent.rule.map_or("-".to_owned(), |rule| rule.full_name());
        let found = format!("{} {} {rule}", sent.sends.word(), sent.level.word());
        assert_eq!(found, *expected, "{what}");
    }
}

#[test]
fn without_a_rule_each_endpoint_decides() {
    let app = labels("app=a");
    for (what, policy, is_enrolled, is_external, port, expected) in [
        ("enrolled", "", true, false, 80, "mtls"),
        ("not enrolled", "", false, false, 80, "plaintext"),
        (
            "DISABLE",
            "pa shop/n { mtls: { mode: DISABLE } }",
            true,
            false,
            80,
            "plaintext",
        ),
        (
            "STRICT",
            "pa shop/n { mtls: { mode: STRICT } }",
            true,
            false,
            80,
            "mtls",
        ),
        (
            "mesh DISABLE and workload STRICT: clients must send mutual TLS",
            "pa istio-system/m { mtls: { mode: DISABLE } }
             pa shop/w { selector: { matchLabels: { app: a } }, mtls: { mode: STRICT } }",
            true,
            false,
            80,
            "mtls",
        ),
        (
            "the target port decides",
            "pa shop/w { selector: { matchLabels: { app: a } }, mtls: { mode: STRICT }, portLevelMtls: { 80: { mode: DISABLE } } }",
            true,
            false,
            80,
            "plaintext",
        ),
        ("declared to be outside", "", true, true, 80, "plaintext"),
    ] {
        let policies = compiled(policy);
        let server = Workload {
            namespace: "shop",
            labels: &app,
            is_enrolled,
        };
        let target = Target {
            host: "a.shop.svc.cluster.local",
            namespace: "shop",
            port,
            subset: None,
            is_external,
        };
        let inbound = policies.inbound(&server, Some(port));
        let sent = policies.outbound("web", Some(&target), &server, &inbound);
        assert_eq!(sent.sends.word(), expected, "{what}");
    }
}
