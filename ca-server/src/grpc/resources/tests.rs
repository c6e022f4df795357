//! The service `Resources`, asked by an administrator and by others.

mod rivals;
mod watching;

use super::*;
use crate::grpc::admin::bench::Bench;
use v1::resources_server::Resources;

fn service(bench: &Bench) -> ResourcesService {
    ResourcesService::new(bench.admin.clone())
}

fn registration(namespace: &str, name: &str, spec: &str) -> v1::Resource {
    let json = format!(
        r#"{{"apiVersion":"signet.dev/v1","kind":"Registration","metadata":{{"namespace":"{namespace}","name":"{name}"}},"spec":{spec}}}"#
    );
    v1::Resource {
        name: name.to_owned(),
        document_json: json.into_bytes(),
        ..v1::Resource::default()
    }
}

fn granting(namespace: &str, name: &str, life: &str) -> v1::Resource {
    let spec = format!(
        r#"{{"spiffeId":"spiffe://example.org/ns/{namespace}/sa/{name}","life":"{life}","callers":["token"]}}"#
    );
    registration(namespace, name, &spec)
}

async fn apply(bench: &Bench, resources: Vec<v1::Resource>) -> Result<v1::ApplyResourcesResponse, Refusal> {
    let request = v1::ApplyResourcesRequest {
        resources,
        ..v1::ApplyResourcesRequest::default()
    };
    let answer = service(bench).apply_resources(bench.call(request)).await;
    answer
        .map(Response::into_inner)
        .map_err(|status| Refusal::from_status(&status))
}

fn verbs(response: &v1::ApplyResourcesResponse) -> Vec<(&str, MessageVerb)> {
    response
        .outcomes
        .iter()
        .map(|outcome| (outcome.resource.as_str(), outcome.verb()))
        .collect()
}

fn everywhere() -> v1::ListResourcesRequest {
    v1::ListResourcesRequest {
        all_namespaces: true,
        ..v1::ListResourcesRequest::default()
    }
}

async fn names(bench: &Bench, request: v1::ListResourcesRequest) -> Vec<String> {
    let page = service(bench)
        .list_resources(bench.call(request))
        .await
        .unwrap()
        .into_inner();
    page.resources
        .into_iter()
        .map(|row| format!("{}/{}", row.namespace, row.name))
        .collect()
}

async fn delete(bench: &Bench, which: &[(&str, &str)]) -> Result<Vec<String>, Refusal> {
    let which = which
        .iter()
        .map(|(kind, name)| v1::GetResourceRequest {
            kind: (*kind).to_owned(),
            namespace: String::new(),
            name: (*name).to_owned(),
        })
        .collect();
    let answer = service(bench)
        .delete_resources(bench.call(v1::DeleteResourcesRequest { which }))
        .await;
    answer
        .map(|answer| answer.into_inner().deleted)
        .map_err(|status| Refusal::from_status(&status))
}

#[tokio::test]
async fn a_document_is_created_then_unchanged_then_configured() {
    let bench = Bench::new();
    let created = apply(&bench, vec![granting("default", "a", "1h")]).await.unwrap();
    assert_eq!(
        verbs(&created),
        [("registration.signet.dev/a", MessageVerb::Created)]
    );
    let same = apply(&bench, vec![granting("default", "a", "1h")]).await.unwrap();
    assert_eq!(
        verbs(&same),
        [("registration.signet.dev/a", MessageVerb::Unchanged)]
    );
    assert_eq!(same.revision, created.revision);
    let changed = apply(
        &bench,
        vec![granting("default", "a", "2h"), granting("default", "b", "1h")],
    )
    .await
    .unwrap();
    assert_eq!(
        verbs(&changed),
        [
            ("registration.signet.dev/a", MessageVerb::Configured),
            ("registration.signet.dev/b", MessageVerb::Created)
        ]
    );
    assert!(changed.revision > created.revision);
    assert_eq!(bench.audit_lines().len(), 2);
}

#[tokio::test]
async fn of_a_request_all_documents_are_applied_or_none() {
    let bench = Bench::new();
    for (bad, field, word) in [
        (
            registration(
                "default",
                "b",
                r#"{"spiffeId":"spiffe://example.org/b","callers":["token"],"lief":"1h"}"#,
            ),
            "spec.lief",
            "lief",
        ),
        (
            registration(
                "default",
                "b",
                r#"{"spiffeId":"spiffe://other.org/b","callers":["token"]}"#,
            ),
            "spec.spiffeId",
            "other.org",
        ),
        (
            registration(
                "default",
                "b",
                r#"{"spiffeId":"spiffe://example.org/b","callers":["token"],"dnsNames":["ca.example.org"]}"#,
            ),
            "spec.dnsNames",
            "ca.example.org",
        ),
    ] {
        let refusal = apply(&bench, vec![granting("default", "a", "1h"), bad])
            .await
            .unwrap_err();
        assert_eq!(
            (refusal.reason(), refusal.evidence("name")),
            (Reason::ResourceInvalid, Some("default/b")),
            "{refusal}"
        );
        assert!(
            refusal
                .evidence("field")
                .is_some_and(|found| found.starts_with(field)),
            "{refusal:?}"
        );
        assert!(refusal.message().contains(word), "{refusal}");
    }
    assert!(
        apply(
            &bench,
            vec![v1::Resource {
                document_json: b"{".to_vec(),
                ..v1::Resource::default()
            }]
        )
        .await
        .is_err()
    );
    assert!(names(&bench, everywhere()).await.is_empty());
    assert_eq!(bench.admin.store.head().position, 0);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let bench = Bench::new();
    let resources = vec![granting("default", "a", "1h")];
    let request = v1::ApplyResourcesRequest {
        resources,
        dry_run: true,
        force: false,
    };
    let answer = service(&bench)
        .apply_resources(bench.call(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        verbs(&answer),
        [("registration.signet.dev/a", MessageVerb::Created)]
    );
    assert!(names(&bench, everywhere()).await.is_empty());
    assert!(bench.audit_lines().is_empty());
}

#[tokio::test]
async fn what_may_not_be_meant_is_found_and_applied() {
    let bench = Bench::new();
    let any_node = r#"{"spiffeId":"spiffe://example.org/a","nodes":["*"],"match":["unix:user:a"]}"#;
    let answer = apply(&bench, vec![registration("default", "a", any_node)])
        .await
        .unwrap();
    assert_eq!(
        (answer.findings.len(), answer.findings[0].severity.as_str()),
        (1, "warning")
    );
    assert_eq!(names(&bench, everywhere()).await, ["default/a"]);
}

#[tokio::test]
async fn lists_are_by_namespace_and_by_revision_and_in_pages() {
    let bench = Bench::new();
    let first = apply(
        &bench,
        vec![granting("default", "b", "1h"), granting("mesh", "a", "1h")],
    )
    .await
    .unwrap();
    apply(&bench, vec![granting("default", "a", "1h")]).await.unwrap();
    let of = |change: fn(&mut v1::ListResourcesRequest)| {
        let mut request = v1::ListResourcesRequest::default();
        change(&mut request);
        request
    };
    assert_eq!(names(&bench, of(|_| ())).await, ["default/a", "default/b"]);
    assert_eq!(
        names(&bench, of(|request| request.namespace = "mesh".to_owned())).await,
        ["mesh/a"]
    );
    assert_eq!(
        names(&bench, of(|request| request.kind = "reg".to_owned())).await,
        ["default/a", "default/b"]
    );
    let newer = v1::ListResourcesRequest {
        since_revision: first.revision,
        ..everywhere()
    };
    assert_eq!(names(&bench, newer).await, ["default/a"]);
    let (mut found, mut request) = (
        Vec::new(),
        v1::ListResourcesRequest {
            page_size: 1,
            ..everywhere()
        },
    );
    loop {
        let page = service(&bench)
            .list_resources(bench.call(request.clone()))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(page.resources.len(), 1);
        found.extend(page.resources.into_iter().map(|row| row.name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ["a", "b", "a"]);
}

#[tokio::test]
async fn one_resource_is_got_by_any_name_of_its_kind() {
    let bench = Bench::new();
    apply(&bench, vec![granting("default", "a", "1h")]).await.unwrap();
    let get = |kind: &str, name: &str| {
        let request = v1::GetResourceRequest {
            kind: kind.to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
        };
        let (service, request) = (service(&bench), bench.call(request));
        async move {
            service
                .get_resource(request)
                .await
                .map_err(|status| Refusal::from_status(&status))
        }
    };
    let found = get("registrations.signet.dev", "a").await.unwrap().into_inner();
    assert_eq!(
        (
            found.api_version.as_str(),
            found.kind.as_str(),
            found.namespace.as_str()
        ),
        ("signet.dev/v1", "Registration", "default")
    );
    assert!(Document::from_json(&found.document_json).is_ok());
    assert_eq!(get("reg", "b").await.unwrap_err().reason(), Reason::NotFound);
    assert_eq!(
        get("pods", "a").await.unwrap_err().evidence("field"),
        Some("kind")
    );
}

#[tokio::test]
async fn of_a_deletion_all_resources_go_or_none() {
    let bench = Bench::new();
    apply(
        &bench,
        vec![granting("default", "a", "1h"), granting("default", "b", "1h")],
    )
    .await
    .unwrap();
    let refusal = delete(&bench, &[("Registration", "a"), ("Registration", "c")])
        .await
        .unwrap_err();
    assert_eq!(refusal.reason(), Reason::NotFound);
    assert_eq!(names(&bench, everywhere()).await.len(), 2);
    assert_eq!(
        delete(&bench, &[("reg", "a")]).await.unwrap(),
        ["registration.signet.dev/a"]
    );
    assert_eq!(names(&bench, everywhere()).await, ["default/b"]);
}

#[tokio::test]
async fn nobody_else_applies_or_reads() {
    let bench = Bench::new();
    let resources = vec![granting("default", "a", "1h")];
    let request = v1::ApplyResourcesRequest {
        resources,
        ..v1::ApplyResourcesRequest::default()
    };
    assert!(
        service(&bench)
            .apply_resources(Request::new(request))
            .await
            .is_err()
    );
    assert!(
        service(&bench)
            .list_resources(Request::new(everywhere()))
            .await
            .is_err()
    );
    assert!(
        service(&bench)
            .watch_resources(Request::new(everywhere()))
            .await
            .is_err()
    );
    assert!(names(&bench, everywhere()).await.is_empty());
}

#[tokio::test]
async fn policies_of_the_mesh_are_kept_beside_registrations_and_leave_them_alone() {
    let bench = Bench::new();
    let policy = |mode: &str| {
        v1::Resource {
        name: "a".to_owned(),
        document_json: format!(
            r#"{{"apiVersion":"security.istio.io/v1beta1","kind":"PeerAuthentication","metadata":{{"name":"a"}},"spec":{{"mtls":{{"mode":"{mode}"}}}}}}"#
        )
        .into_bytes(),
        ..v1::Resource::default()
    }
    };
    let applied = apply(&bench, vec![granting("default", "a", "1h"), policy("STRICT")])
        .await
        .unwrap();
    assert_eq!(
        verbs(&applied),
        [
            ("registration.signet.dev/a", MessageVerb::Created),
            ("peerauthentication.security.istio.io/a", MessageVerb::Created),
        ]
    );
    let refused = apply(&bench, vec![policy("STRIKT")]).await.unwrap_err();
    assert_eq!(refused.evidence("field"), Some("spec.mtls.mode"));
    let request = v1::GetResourceRequest {
        kind: "pa".to_owned(),
        name: "a".to_owned(),
        ..v1::GetResourceRequest::default()
    };
    let got = service(&bench)
        .get_resource(bench.call(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(got.api_version, "security.istio.io/v1");
    assert_eq!(
        delete(&bench, &[("pa", "a")]).await.unwrap(),
        ["peerauthentication.security.istio.io/a"]
    );
    let left = service(&bench)
        .list_resources(bench.call(everywhere()))
        .await
        .unwrap()
        .into_inner();
    let kinds: Vec<&str> = left.resources.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["Registration"]);
}
