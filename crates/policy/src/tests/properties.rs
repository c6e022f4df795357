//! Random sets of resources: the compiled resolver decides as the naive one does, and what must hold of every set holds.

use proptest::prelude::*;
use resources::{Document, Mode, Protocol};

use super::naive;
use super::{ROOT, document, labels};
use crate::{Policies, Sends, Severity, Target, Workload, admit, analyze};

const HOST: &str = "a.shop.svc.cluster.local";

fn namespaces() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![ROOT, "shop", "web"])
}

fn name() -> impl Strategy<Value = String> {
    ("[a-c]", prop::option::of(1_u8..4)).prop_map(|(name, age)| match age {
        Some(second) => format!("{name}@{second:02}"),
        None => name,
    })
}

fn mode() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["UNSET", "DISABLE", "PERMISSIVE", "STRICT"])
}

fn tls() -> impl Strategy<Value = String> {
    let modes = vec!["", "DISABLE", "SIMPLE", "ISTIO_MUTUAL"];
    prop::sample::select(modes).prop_map(|mode| match mode {
        "" => String::new(),
        mode => format!("tls: {{ mode: {mode} }}"),
    })
}

fn peer() -> impl Strategy<Value = String> {
    let selector = prop::sample::select(vec!["", "app: a", "v: '1'", "app: b"]);
    (namespaces(), name(), selector, mode(), prop::option::of(mode())).prop_map(
        |(namespace, name, selector, mode, port)| {
            let port = port.filter(|_| !selector.is_empty());
            let port = port.map_or(String::new(), |mode| {
                format!(", portLevelMtls: {{ 80: {{ mode: {mode} }} }}")
            });
            format!(
                "pa {namespace}/{name} {{ selector: {{ matchLabels: {{ {selector} }} }}, mtls: {{ mode: {mode} }}{port} }}"
            )
        },
    )
}

fn traffic() -> impl Strategy<Value = String> {
    (tls(), prop::option::of(tls())).prop_map(|(tls, port)| {
        let port = port.map(|tls| {
            let comma = if tls.is_empty() { "" } else { ", " };
            format!("portLevelSettings: [ {{ port: {{ number: 80 }}{comma}{tls} }} ]")
        });
        let parts: Vec<String> = [tls]
            .into_iter()
            .chain(port)
            .filter(|part| !part.is_empty())
            .collect();
        format!("{{ {} }}", parts.join(", "))
    })
}

fn rule() -> impl Strategy<Value = String> {
    let hosts = vec![
        "a",
        HOST,
        "'*.shop.svc.cluster.local'",
        "'*.local'",
        "'*'",
        "'*.a.shop.svc.cluster.local'",
    ];
    let exports = vec!["'*'", ".", "web", "shop, web"];
    let (hosts, exports) = (prop::sample::select(hosts), prop::sample::select(exports));
    (namespaces(), name(), hosts, exports, traffic(), prop::option::of(traffic())).prop_map(
        |(namespace, name, host, exports, policy, subset)| {
            let subset = subset.map_or(String::new(), |policy| {
                format!(", subsets: [ {{ name: v1, labels: {{ v: '1' }}, trafficPolicy: {policy} }} ]")
            });
            format!(
                "dr {namespace}/{name} {{ host: {host}, exportTo: [ {exports} ], trafficPolicy: {policy}{subset} }}"
            )
        },
    )
}

/// Documents of different names.
fn set() -> impl Strategy<Value = Vec<Document>> {
    prop::collection::vec(prop_oneof![peer(), rule()], 0..10).prop_map(|lines| {
        let mut documents: Vec<Document> = lines.iter().map(|line| document(line)).collect();
        documents.sort_by(|a, b| (a.kind, &a.namespace, &a.name).cmp(&(b.kind, &b.namespace, &b.name)));
        documents.dedup_by(|a, b| (a.kind, &a.namespace, &a.name) == (b.kind, &b.namespace, &b.name));
        documents
    })
}

/// A service or a workload that may stand behind it.
fn entry() -> impl Strategy<Value = String> {
    let hosts = vec![
        HOST,
        "b.shop.svc.cluster.local",
        "'*.shop.svc.cluster.local'",
        "b.web.svc.cluster.local",
    ];
    let labels = prop::sample::select(vec!["app: a", "app: b", "app: a, v: '1'"]);
    let hosts = prop::sample::subsequence(hosts, 1..3).prop_map(|hosts| hosts.join(", "));
    (any::<bool>(), namespaces(), name(), hosts, labels).prop_map(|(serves, namespace, name, hosts, labels)| {
        if serves {
            format!(
                "se {namespace}/{name} {{ hosts: [ {hosts} ], ports: [ {{ number: 80, name: p, protocol: HTTP }} ], resolution: STATIC, workloadSelector: {{ labels: {{ {labels} }} }} }}"
            )
        } else {
            format!("we {namespace}/{name} {{ address: 10.0.0.1, labels: {{ {labels} }}, serviceAccount: a }}")
        }
    })
}

/// What is taken out of the set, or put in.
fn change() -> impl Strategy<Value = (bool, Document)> {
    (any::<bool>(), prop_oneof![peer(), rule(), entry()]).prop_map(|(out, line)| (out, document(&line)))
}

fn target(port: u16, subset: Option<&'static str>) -> Target<'static> {
    Target {
        host: HOST,
        namespace: "shop",
        port,
        subset,
        is_external: false,
    }
}

fn no_policy() -> Document {
    let text = "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: { name: r }\nspec: { spiffeId: 'spiffe://td/r', callers: [ token ] }";
    resources::parse(text, "").unwrap().remove(0)
}

/// How a connection from `web` to a workload of `shop` is decided, by what.
fn told(policies: &Policies) -> String {
    let own = labels("app=a,v=1");
    let server = Workload {
        namespace: "shop",
        labels: &own,
        is_enrolled: true,
    };
    let inbound = policies.inbound(&server, Some(80));
    let sent = policies.outbound("web", Some(&target(80, Some("v1"))), &server, &inbound);
    let name = |origin: Option<&crate::Origin>| origin.map(crate::Origin::full_name);
    let service = policies
        .service(HOST, "web")
        .map(|service| service.origin().full_name());
    let declared = policies.declared(&server, 80);
    let (decided, ruled) = (name(inbound.policy), name(sent.rule));
    format!(
        "{:?} {:?} {decided:?} {:?} {:?} {ruled:?} {service:?} {declared:?}",
        inbound.mode, inbound.level, sent.sends, sent.level
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn decisions_are_those_of_the_naive_resolver(
        documents in set(), namespace in namespaces(), client in namespaces(), is_enrolled: bool,
        port in 79_u16..82, has_subset: bool, own in prop::sample::select(vec!["app=a", "app=a,v=1", "app=b", ""]),
    ) {
        let own = labels(own);
        let server = Workload { namespace, labels: &own, is_enrolled };
        let policies = Policies::compile(ROOT, &documents);
        let inbound = policies.inbound(&server, Some(port));
        prop_assert_eq!(inbound.mode, naive::mode(&documents, &server, port));
        let target = target(port, has_subset.then_some("v1"));
        let sent = policies.outbound(client, Some(&target), &server, &inbound);
        prop_assert_eq!(sent.sends, naive::sends(&documents, client, &target, &server, inbound.mode));
    }

    #[test]
    fn a_policy_of_another_namespace_never_changes_a_workload(documents in set(), more in peer(), port in 79_u16..82) {
        let own = labels("app=a,v=1");
        let server = Workload { namespace: "shop", labels: &own, is_enrolled: true };
        let before = Policies::compile(ROOT, &documents).inbound(&server, Some(port)).mode;
        let added = document(&more.replacen(&format!("pa {ROOT}/"), "pa web/", 1).replacen("pa shop/", "pa web/", 1));
        let mut documents = documents;
        documents.push(added);
        prop_assert_eq!(Policies::compile(ROOT, &documents).inbound(&server, Some(port)).mode, before);
    }

    #[test]
    fn the_order_of_files_never_matters((documents, shuffled) in set().prop_flat_map(|set| {
        (Just(set.clone()), Just(set).prop_shuffle())
    })) {
        prop_assert_eq!(told(&Policies::compile(ROOT, &documents)), told(&Policies::compile(ROOT, &shuffled)));
    }

    #[test]
    fn a_changed_set_is_the_set_that_compiling_everything_again_gives(
        documents in set(), changes in prop::collection::vec(change(), 1..12),
    ) {
        let mut policies = Policies::compile(ROOT, &documents);
        let mut documents = documents;
        for (out, changed) in changes {
            let same = |known: &Document| {
                (known.kind, &known.namespace, &known.name) == (changed.kind, &changed.namespace, &changed.name)
            };
            let place = documents.iter().position(same);
            if out {
                policies.remove(changed.kind, &changed.namespace, &changed.name);
                // What is no policy keeps the places of the others.
                if let Some(place) = place {
                    documents[place] = no_policy();
                }
            } else {
                let place = place.unwrap_or(documents.len());
                policies.put(place, &changed);
                match documents.get_mut(place) {
                    Some(old) => *old = changed,
                    None => documents.push(changed),
                }
            }
            let again = Policies::compile(ROOT, &documents);
            prop_assert_eq!(analyze(&policies), analyze(&again));
            prop_assert_eq!(told(&policies), told(&again));
            prop_assert_eq!(&policies, &again);
        }
    }

    #[test]
    fn strict_never_yields_plaintext(documents in set(), port in 79_u16..82) {
        let own = labels("app=a,v=1");
        let server = Workload { namespace: "shop", labels: &own, is_enrolled: true };
        let policies = Policies::compile(ROOT, &documents);
        let inbound = policies.inbound(&server, Some(port));
        if inbound.mode == Mode::Strict {
            for sends in [Sends::Plaintext, Sends::Tls, Sends::OwnMutualTls] {
                for protocol in [Protocol::Http, Protocol::Tcp] {
                    prop_assert!(admit(&server, inbound, protocol, sends).is_err());
                }
            }
        }
    }

    #[test]
    fn what_is_clean_and_enrolled_is_never_refused(documents in set(), client in namespaces(), http: bool) {
        let protocol = if http { "HTTP" } else { "TCP" };
        let mut documents = documents;
        documents.push(document(&format!(
            "se shop/a {{ hosts: [ {HOST} ], ports: [ {{ number: 80, name: p, protocol: {protocol} }} ], resolution: STATIC, workloadSelector: {{ labels: {{ app: a }} }} }}"
        )));
        documents.push(document("we shop/a { address: 10.0.0.1, labels: { app: a, v: '1' }, serviceAccount: a }"));
        let policies = Policies::compile(ROOT, &documents);
        let clean = analyze(&policies).iter().all(|finding| finding.code.severity() != Severity::Error);
        let own = labels("app=a,v=1");
        let server = Workload { namespace: "shop", labels: &own, is_enrolled: true };
        let inbound = policies.inbound(&server, Some(80));
        for subset in [None, Some("v1")] {
            let sent = policies.outbound(client, Some(&target(80, subset)), &server, &inbound);
            let protocol = policies.declared(&server, 80).unwrap();
            prop_assert!(!clean || admit(&server, inbound, protocol, sent.sends).is_ok(), "{:?}", sent);
        }
    }
}
