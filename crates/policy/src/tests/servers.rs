//! Which mode a workload has, and which policy says so.

use resources::Kind;

use super::{compiled, enrolled, labels};

/// What a rule says, by its number; policies, the port asked about (0: none), and mode, level and policy for `app=a` in `shop`.
const MODES: &[(&str, &str, u16, &str)] = &[
    ("1: nothing is PERMISSIVE", "", 0, "PERMISSIVE default -"),
    (
        "1: the mesh decides",
        "pa istio-system/m { mtls: { mode: STRICT } }",
        0,
        "STRICT mesh istio-system/m",
    ),
    (
        "1: the namespace overrides the mesh",
        "pa istio-system/m { mtls: { mode: STRICT } }
         pa shop/n { mtls: { mode: DISABLE } }",
        0,
        "DISABLE namespace shop/n",
    ),
    (
        "1: a namespace that is UNSET leaves it to the mesh",
        "pa istio-system/m { mtls: { mode: STRICT } }
         pa shop/n { mtls: { mode: UNSET } }",
        0,
        "STRICT mesh istio-system/m",
    ),
    (
        "1: the workload overrides the namespace",
        "pa shop/n { mtls: { mode: STRICT } }
         pa shop/w { selector: { matchLabels: { app: a } }, mtls: { mode: DISABLE } }",
        0,
        "DISABLE workload shop/w",
    ),
    (
        "2: all labels of a selector must be equal",
        "pa shop/w { selector: { matchLabels: { app: a, v: '1' } }, mtls: { mode: STRICT } }
         pa shop/x { selector: { matchLabels: { app: b } }, mtls: { mode: STRICT } }",
        0,
        "PERMISSIVE default -",
    ),
    (
        "2: an empty selector is none",
        "pa shop/n { selector: { matchLabels: {} }, mtls: { mode: STRICT } }",
        0,
        "STRICT namespace shop/n",
    ),
    (
        "2: a selector in the root namespace is ignored",
        "pa istio-system/m { selector: { matchLabels: { app: a } }, mtls: { mode: STRICT } }",
        0,
        "PERMISSIVE default -",
    ),
    (
        "2: other namespaces do not count",
        "pa web/n { mtls: { mode: STRICT } }
         pa web/w { selector: { matchLabels: { app: a } }, mtls: { mode: STRICT } }",
        0,
        "PERMISSIVE default -",
    ),
    (
        "3: the oldest of a scope wins",
        "pa shop/a@09 { mtls: { mode: DISABLE } }
         pa shop/b@01 { mtls: { mode: STRICT } }",
        0,
        "STRICT namespace shop/b",
    ),
    (
        "3: then the first by name",
        "pa shop/b@01 { mtls: { mode: DISABLE } }
         pa shop/a@01 { mtls: { mode: STRICT } }",
        0,
        "STRICT namespace shop/a",
    ),
    (
        "3: what has an age goes before what has none",
        "pa shop/a { mtls: { mode: DISABLE } }
         pa shop/b@59 { mtls: { mode: STRICT } }",
        0,
        "STRICT namespace shop/b",
    ),
    (
        "3: losers are dropped whole, so an UNSET winner hides them",
        "pa istio-system/m { mtls: { mode: STRICT } }
         pa shop/a@01 { mtls: { mode: UNSET } }
         pa shop/b@02 { mtls: { mode: DISABLE } }",
        0,
        "STRICT mesh istio-system/m",
    ),
    (
        "3: workload policies are never merged",
        "pa shop/a@01 { selector: { matchLabels: { app: a } }, mtls: { mode: STRICT } }
         pa shop/b@02 { selector: { matchLabels: { app: a } }, portLevelMtls: { 80: { mode: DISABLE } } }",
        80,
        "STRICT workload shop/a",
    ),
    (
        "4: a port overrides its workload",
        "pa shop/w { selector: { matchLabels: { app: a } }, mtls: { mode: STRICT }, portLevelMtls: { 80: { mode: DISABLE } } }",
        80,
        "DISABLE port shop/w",
    ),
    (
        "4: other ports have the workload's mode",
        "pa shop/w { selector: { matchLabels: { app: a } }, mtls: { mode: STRICT }, portLevelMtls: { 80: { mode: DISABLE } } }",
        81,
        "STRICT workload shop/w",
    ),
    (
        "4: a port that is UNSET has the workload's mode",
        "pa shop/w { selector: { matchLabels: { app: a } }, mtls: { mode: STRICT }, portLevelMtls: { 80: { mode: UNSET } } }",
        80,
        "STRICT workload shop/w",
    ),
    (
        "4: a port that is empty has the resolved mode, here the mesh's",
        "pa istio-system/m { mtls: { mode: STRICT } }
         pa shop/w { selector: { matchLabels: { app: a } }, portLevelMtls: { 80: {} } }",
        80,
        "STRICT mesh istio-system/m",
    ),
    (
        "7: strict mesh, unset namespace and workload, and one permissive port: that port",
        "pa istio-system/m { mtls: { mode: STRICT } }
         pa shop/n { mtls: { mode: UNSET } }
         pa shop/w { selector: { matchLabels: { app: a } }, mtls: { mode: UNSET }, portLevelMtls: { 80: { mode: PERMISSIVE } } }",
        80,
        "PERMISSIVE port shop/w",
    ),
    (
        "7: and every other port is strict",
        "pa istio-system/m { mtls: { mode: STRICT } }
         pa shop/n { mtls: { mode: UNSET } }
         pa shop/w { selector: { matchLabels: { app: a } }, mtls: { mode: UNSET }, portLevelMtls: { 80: { mode: PERMISSIVE } } }",
        81,
        "STRICT mesh istio-system/m",
    ),
    (
        "7: unset workload, strict parent, port DISABLE opens that port",
        "pa shop/n { mtls: { mode: STRICT } }
         pa shop/w { selector: { matchLabels: { app: a } }, portLevelMtls: { 80: { mode: DISABLE } } }",
        80,
        "DISABLE port shop/w",
    ),
    (
        "7: mesh DISABLE, workload STRICT",
        "pa istio-system/m { mtls: { mode: DISABLE } }
         pa shop/w { selector: { matchLabels: { app: a } }, mtls: { mode: STRICT } }",
        80,
        "STRICT workload shop/w",
    ),
];

#[test]
fn the_mode_of_a_workload_is_that_of_its_nearest_policy() {
    let app = labels("app=a");
    for (what, lines, port, expected) in MODES {
        let policies = compiled(lines);
        let inbound = policies.inbound(&enrolled("shop", &app), (*port > 0).then_some(*port));
        let policy = inbound.policy.map_or("-".to_owned(), |policy| policy.full_name());
        let found = format!("{} {} {policy}", inbound.mode.word(), inbound.level.word());
        assert_eq!(found, *expected, "{what}");
    }
}

#[test]
fn in_the_root_namespace_the_meshs_policy_is_that_of_its_own_workloads_and_selectors_are_ignored() {
    let policies = compiled(
        "pa istio-system/m { mtls: { mode: STRICT } }
         pa istio-system/w { selector: { matchLabels: { app: a } }, mtls: { mode: DISABLE }, portLevelMtls: { 80: { mode: DISABLE } } }",
    );
    let app = labels("app=a");
    let inbound = policies.inbound(&enrolled("istio-system", &app), Some(80));
    assert_eq!((inbound.mode.word(), inbound.level.word()), ("STRICT", "mesh"));
}

#[test]
fn policies_that_lost_are_told_with_the_reason() {
    let policies = compiled(
        "pa istio-system/m { mtls: { mode: STRICT } }
         pa istio-system/r { selector: { matchLabels: { app: a } }, mtls: { mode: DISABLE } }
         pa shop/a@01 { mtls: { mode: PERMISSIVE } }
         pa shop/b@02 { mtls: { mode: STRICT } }
         pa shop/w { selector: { matchLabels: { app: a } }, mtls: { mode: UNSET } }",
    );
    let app = labels("app=a");
    let workload = enrolled("shop", &app);
    let inbound = policies.inbound(&workload, None);
    let lost = policies.shadowed(&workload, &inbound);
    let told: Vec<String> = lost
        .iter()
        .map(|lost| format!("{}: {}", lost.policy.full_name(), lost.why))
        .collect();
    assert_eq!(
        told,
        [
            "istio-system/m: shop/a is nearer to the workload",
            "istio-system/r: a selector in the root namespace is ignored",
            "shop/b: shop/a has the same scope and is older",
            "shop/w: its mode is UNSET, which leaves it to the wider scope",
        ]
    );
}

#[test]
fn the_effect_of_a_policy_is_who_is_covered_and_whether_it_counts() {
    let policies = compiled(
        "pa istio-system/m { mtls: { mode: STRICT } }
         pa istio-system/r { selector: { matchLabels: { app: a } }, mtls: { mode: DISABLE } }
         pa shop/a@01 { mtls: { mode: UNSET } }
         pa shop/b@02 { mtls: { mode: STRICT } }
         pa shop/w { selector: { matchLabels: { app: a } }, mtls: { mode: STRICT } }
         we shop/one { address: 10.0.0.1, labels: { app: a } }
         dr shop/d@01 { host: details, exportTo: [ web ] }
         dr shop/e@02 { host: details }",
    );
    let told = |kind, namespace, name| {
        let effect = policies.effect(kind, namespace, name).unwrap();
        format!("{} | {}", effect.covers, effect.counts)
    };
    for (namespace, name, expected) in [
        (
            "istio-system",
            "m",
            "every workload of the mesh that no nearer policy covers | yes",
        ),
        (
            "istio-system",
            "r",
            "nobody | no: a selector in the root namespace is ignored",
        ),
        (
            "shop",
            "a",
            "workloads of namespace shop that no policy with a selector covers | yes; its mode is that of the wider scope",
        ),
        (
            "shop",
            "b",
            "workloads of namespace shop that no policy with a selector covers | no: shop/a has the same scope and is older",
        ),
        ("shop", "w", "workloads of namespace shop with app=a: one | yes"),
    ] {
        assert_eq!(told(Kind::PeerAuthentication, namespace, name), expected);
    }
    assert_eq!(
        told(Kind::DestinationRule, "shop", "d"),
        "clients of web that call details.shop.svc.cluster.local | yes, for clients whose own namespace has no rule for the host"
    );
    assert!(
        told(Kind::DestinationRule, "shop", "e")
            .ends_with("its subsets alone: shop/d has the same scope and is older")
    );
}
