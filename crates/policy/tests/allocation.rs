//! Decisions allocate nothing: counted by an allocator, over a set in which every part of a decision has something to do.

use policy::{Policies, Sends, Target, Workload, admit};
use resources::{Document, Labels, Location, Protocol, parse};

const SET: &str = r"
{ apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: { name: mesh, namespace: istio-system }, spec: { mtls: { mode: STRICT } } }
---
{ apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: { name: all, namespace: shop }, spec: { mtls: { mode: PERMISSIVE } } }
---
{ apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: { name: some, namespace: shop },
  spec: { selector: { matchLabels: { app: details } }, mtls: { mode: STRICT }, portLevelMtls: { 9081: { mode: DISABLE } } } }
---
{ apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: { name: wide, namespace: istio-system },
  spec: { host: '*.local', trafficPolicy: { tls: { mode: ISTIO_MUTUAL } } } }
---
{ apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: { name: details, namespace: shop },
  spec: { host: details, exportTo: [ web ], trafficPolicy: { tls: { mode: ISTIO_MUTUAL } }, subsets: [ { name: v1, labels: { version: v1 }, trafficPolicy: { tls: { mode: DISABLE } } } ] } }
---
{ apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: { name: details, namespace: shop },
  spec: { hosts: [ details.shop.svc.cluster.local ], resolution: STATIC, workloadSelector: { labels: { app: details } },
    ports: [ { number: 80, name: http, protocol: HTTP, targetPort: 9080 }, { number: 81, name: open, protocol: TCP, targetPort: 9081 } ] } }
---
{ apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: { name: details, namespace: shop },
  spec: { address: 10.0.0.1, labels: { app: details }, serviceAccount: details } }
";

#[test]
fn a_decision_from_the_services_name_to_its_end_allocates_nothing() {
    let documents: Vec<Document> = parse(SET, "").expect("valid documents");
    let policies = Policies::compile("istio-system", &documents);
    let labels = Labels::from([("app".to_owned(), "details".to_owned())]);
    let server = Workload {
        namespace: "shop",
        labels: &labels,
        is_enrolled: true,
    };
    let decide = |client: &str, port: u16, subset: Option<&str>| {
        let host = "details.shop.svc.cluster.local";
        let service = policies.service(host, client).expect("the service");
        let declared = service.port(port).expect("its port");
        let workload_port = policies.workload_port(service, declared, &server);
        let inbound = policies.inbound(&server, Some(workload_port));
        let target = Target {
            host,
            namespace: &service.origin().namespace,
            port,
            subset,
            is_external: service.entry().location() == Some(Location::External),
        };
        let sent = policies.outbound(client, Some(&target), &server, &inbound);
        let protocol = policies.declared(&server, workload_port).unwrap_or(Protocol::Tcp);
        (sent.sends, admit(&server, inbound, protocol, sent.sends).is_ok())
    };
    let mut ends = Vec::with_capacity(6);
    let counted = allocation_counter::measure(|| {
        for client in ["web", "mail"] {
            for (port, subset) in [(80, None), (80, Some("v1")), (81, None)] {
                ends.push(decide(client, port, subset));
            }
        }
    });
    assert_eq!(counted.count_total, 0);
    // The counter counts, and the decisions were made.
    assert!(allocation_counter::measure(|| drop(vec![0_u8; 9])).count_total > 0);
    let (mutual, plain) = ((Sends::MutualTls, true), (Sends::Plaintext, false));
    assert_eq!(ends, [mutual, plain, mutual, mutual, mutual, mutual]);
}
