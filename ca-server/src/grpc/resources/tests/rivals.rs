//! Of several registrations for one identity one applies; `apply` reports it.

use super::*;

fn web(name: &str, callers: &str) -> v1::Resource {
    registration(
        "default",
        name,
        &format!(r#"{{"spiffeId":"/web","callers":[{callers}]}}"#),
    )
}

fn found(response: &v1::ApplyResourcesResponse) -> Vec<(&str, &str, &str)> {
    let findings = response.findings.iter();
    findings
        .map(|found| (found.code.as_str(), found.resource.as_str(), found.other.as_str()))
        .collect()
}

#[tokio::test]
async fn an_identity_that_two_registrations_grant_to_the_same_callers_is_a_warning() {
    let bench = Bench::new();
    assert_eq!(
        found(&apply(&bench, vec![web("m", r#""token""#)]).await.unwrap()),
        []
    );
    let later = apply(&bench, vec![web("n", r#""token","jwt:k8s:x""#)])
        .await
        .unwrap();
    let expected = (
        "IDENTITY_TWICE",
        "Registration default/n",
        "Registration default/m",
    );
    assert_eq!(found(&later), [expected]);
    assert_eq!(later.findings[0].severity, "warning");
    assert!(later.findings[0].message.contains("this one has no effect"));
    let first = apply(&bench, vec![web("a", r#""token""#)]).await.unwrap();
    assert!(
        first.findings[0].message.contains("this one applies"),
        "{first:?}"
    );
    // Registrations for other callers, and those that the request itself replaces, are left out.
    assert_eq!(
        found(&apply(&bench, vec![web("z", r#""jwt:k8s:y""#)]).await.unwrap()),
        []
    );
    let moved = ["a", "m", "n"].map(|name| granting("default", name, "1h"));
    assert_eq!(found(&apply(&bench, moved.to_vec()).await.unwrap()), []);
}

#[tokio::test]
async fn documents_of_one_request_are_compared_with_each_other_and_in_a_dry_run() {
    let bench = Bench::new();
    let request = v1::ApplyResourcesRequest {
        resources: vec![web("a", r#""token""#), web("b", r#""token""#)],
        dry_run: true,
        ..v1::ApplyResourcesRequest::default()
    };
    let answer = service(&bench)
        .apply_resources(bench.call(request))
        .await
        .unwrap();
    let answer = answer.into_inner();
    let resources: Vec<&str> = answer
        .findings
        .iter()
        .map(|found| found.resource.as_str())
        .collect();
    assert_eq!(resources, ["Registration default/a", "Registration default/b"]);
}
