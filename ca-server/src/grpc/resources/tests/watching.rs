//! Followers: the state first, then what changes.

use std::time::Duration;

use tokio_stream::StreamExt;
use v1::resource_event::Verb as EventVerb;

use super::*;

/// The next events, as `(verb, name)`.
async fn events(
    stream: &mut (impl tokio_stream::Stream<Item = Result<v1::ResourceEvent, Status>> + Unpin),
    count: usize,
) -> Vec<(EventVerb, String)> {
    let mut events = Vec::new();
    for _ in 0..count {
        let next = tokio::time::timeout(Duration::from_secs(10), stream.next())
            .await
            .unwrap();
        let event = next.unwrap().unwrap();
        events.push((
            event.verb(),
            event.resource.map(|resource| resource.name).unwrap_or_default(),
        ));
    }
    events
}

fn told(verb: EventVerb, name: &str) -> (EventVerb, String) {
    (verb, name.to_owned())
}

#[tokio::test]
async fn a_follower_gets_the_state_then_what_changes() {
    let bench = Bench::new();
    apply(
        &bench,
        vec![granting("default", "a", "1h"), granting("mesh", "x", "1h")],
    )
    .await
    .unwrap();
    let request = bench.call(v1::ListResourcesRequest::default());
    let mut stream = service(&bench)
        .watch_resources(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        events(&mut stream, 2).await,
        [told(EventVerb::Put, "a"), told(EventVerb::Synced, "")]
    );
    apply(&bench, vec![granting("mesh", "y", "1h")]).await.unwrap();
    apply(&bench, vec![granting("default", "b", "1h")]).await.unwrap();
    assert_eq!(events(&mut stream, 1).await, [told(EventVerb::Put, "b")]);
    delete(&bench, &[("reg", "a")]).await.unwrap();
    assert_eq!(events(&mut stream, 1).await, [told(EventVerb::Deleted, "a")]);
    bench.admin.drain.begin("test");
    assert!(
        tokio::time::timeout(Duration::from_secs(10), stream.next())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_follower_that_comes_back_is_told_the_state_only_if_it_has_changed() {
    let bench = Bench::new();
    let first = apply(&bench, vec![granting("default", "a", "1h")]).await.unwrap();
    let resume = |since_revision| {
        let request = v1::ListResourcesRequest {
            since_revision,
            ..everywhere()
        };
        let (service, request) = (service(&bench), bench.call(request));
        async move { service.watch_resources(request).await.unwrap().into_inner() }
    };
    let mut stream = resume(first.revision).await;
    assert_eq!(events(&mut stream, 1).await, [told(EventVerb::Synced, "")]);
    apply(&bench, vec![granting("default", "b", "1h")]).await.unwrap();
    assert_eq!(events(&mut stream, 1).await, [told(EventVerb::Put, "b")]);
    let mut late = resume(first.revision).await;
    let all = [
        told(EventVerb::Put, "a"),
        told(EventVerb::Put, "b"),
        told(EventVerb::Synced, ""),
    ];
    assert_eq!(events(&mut late, 3).await, all);
}
