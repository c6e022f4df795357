//! What an application would clash with, while the store changes below.

use std::sync::Arc;

use resources::parse;

use super::*;
use crate::store::{Command, NewResource, ResourceName};

const SHOP: &str = "
{ apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: { name: details, namespace: shop },
  spec: { hosts: [ details.shop.svc.cluster.local ], ports: [ { number: 80, name: http, protocol: HTTP } ], resolution: STATIC, workloadSelector: { labels: { app: details } } } }
---
{ apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: { name: details, namespace: shop }, spec: { address: 10.0.0.1, labels: { app: details }, serviceAccount: details } }
---
{ apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: { name: plain, namespace: shop }, spec: { host: details, trafficPolicy: { tls: { mode: DISABLE } } } }
";
const STRICT: &str = "{ apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: { name: strict, namespace: mesh-config }, spec: { mtls: { mode: STRICT } } }";
const OTHER: &str = "{ apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: { name: other, namespace: shop }, spec: { selector: { matchLabels: { app: details } } } }";

struct Bench {
    store: Arc<dyn Store>,
    mesh: Mesh,
}

impl Bench {
    fn new() -> Self {
        let bench = crate::grpc::admin::bench::Bench::new();
        Self {
            store: Arc::clone(&bench.admin.store),
            mesh: Mesh::new("mesh-config"),
        }
    }

    /// Codes and documents of what is found.
    fn clashes(&self, text: &str) -> Vec<(String, String, String)> {
        let mut documents = parse(text, "").unwrap();
        let found = self.mesh.clashes(self.store.as_ref(), &mut documents);
        found
            .into_iter()
            .map(|found| (found.code, found.resource, found.other))
            .collect()
    }

    async fn apply(&self, text: &str) {
        let resources = parse(text, "").unwrap().into_iter().map(|document| NewResource {
            kind: document.kind.word().to_owned(),
            namespace: document.namespace,
            name: document.name,
            document_json: document.json.into_bytes(),
        });
        let command = Command::Apply {
            resources: resources.collect(),
            dry_run: false,
            by: "ann".to_owned(),
        };
        self.store.submit(command).await.unwrap().unwrap();
    }

    async fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let which = vec![ResourceName {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }];
        let by = "ann".to_owned();
        self.store
            .submit(Command::Delete { which, by })
            .await
            .unwrap()
            .unwrap();
    }
}

fn clash() -> Vec<(String, String, String)> {
    vec![(
        "DISABLE_AGAINST_STRICT".to_owned(),
        "DestinationRule shop/plain".to_owned(),
        "PeerAuthentication mesh-config/strict".to_owned(),
    )]
}

#[tokio::test]
async fn an_application_is_judged_among_what_the_store_has() {
    let bench = Bench::new();
    assert_eq!(bench.clashes(STRICT), [], "nothing to clash with");
    bench.apply(SHOP).await;
    assert_eq!(bench.clashes(STRICT), clash());
    assert_eq!(
        bench.clashes(OTHER),
        [],
        "what was only asked about is no part of the set"
    );
    bench.apply(STRICT).await;
    assert_eq!(bench.clashes(STRICT), clash());
    assert_eq!(bench.clashes(OTHER), [], "clashes of others are not its own");
    bench.delete("DestinationRule", "shop", "plain").await;
    assert_eq!(bench.clashes(STRICT), []);
}

#[tokio::test]
async fn the_store_says_which_of_two_policies_is_older() {
    let bench = Bench::new();
    bench.apply(STRICT).await;
    let second = STRICT.replace("strict", "a-second");
    let shadowed = |resource: &str, other: &str| {
        let name = |name: &str| format!("PeerAuthentication mesh-config/{name}");
        vec![("POLICY_SHADOWED".to_owned(), name(resource), name(other))]
    };
    assert_eq!(bench.clashes(&second), shadowed("a-second", "strict"));
    let older = second.replace(
        "namespace: mesh-config",
        "namespace: mesh-config, creationTimestamp: '2000-01-01T00:00:00Z'",
    );
    assert_eq!(bench.clashes(&older), shadowed("a-second", "strict"));
}

#[tokio::test]
async fn many_clashes_are_told_in_part() {
    let bench = Bench::new();
    let documents: Vec<String> = (0..150)
        .map(|number| STRICT.replace("strict", &format!("p{number:03}")))
        .collect();
    let found = bench.clashes(&documents.join("\n---\n"));
    assert_eq!(found.len(), MAX_CLASHES + 1);
    assert_eq!(found[MAX_CLASHES].0, "MORE");
}
