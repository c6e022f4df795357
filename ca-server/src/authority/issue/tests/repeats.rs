//! Recorded certificates are given again only while all that they contain would be granted.

use super::*;

fn named(names: &[&str]) -> serde_json::Value {
    json!({ "spiffeId": A, "dnsNames": names, "callers": ["token"] })
}

fn lived(life: &str) -> serde_json::Value {
    json!({ "spiffeId": A, "life": life, "maxLife": life, "callers": ["token"] })
}

#[tokio::test]
async fn a_token_does_not_bring_back_a_name_lifetime_or_registration_that_is_no_longer_granted() {
    for (before, after, said) in [
        (named(&["one", "two"]), named(&["one"]), "name two"),
        (lived("2h"), lived("1h"), "lifetime of 2h"),
    ] {
        let bench = bench().await;
        bench.apply("a", before.clone()).await;
        let token = bench.token("t", A, "a", |_| ()).await;
        let request = csr(&key(), &[]);
        let first = bench.issue(&nobody(), &request, bearer(&token)).await.unwrap();
        bench.apply("a", after).await;
        let refusal = bench
            .issue(&nobody(), &request, bearer(&token))
            .await
            .unwrap_err();
        assert_eq!(refusal.reason(), Reason::TokenSpent);
        assert!(refusal.message().contains(said), "{refusal}");
        bench.apply("a", before.clone()).await;
        let again = bench.issue(&nobody(), &request, bearer(&token)).await.unwrap();
        assert_eq!(again.chain, first.chain, "granted again, given again");
        bench.delete("a").await;
        bench.apply("a", before).await;
        let refusal = bench
            .issue(&nobody(), &request, bearer(&token))
            .await
            .unwrap_err();
        assert_eq!(refusal.reason(), Reason::TokenSpent);
        assert!(refusal.message().contains("default/a"), "{refusal}");
    }
}

#[tokio::test]
async fn a_renewal_whose_recorded_answer_is_outdated_gets_a_new_certificate_which_is_repeated_in_turn() {
    let bench = bench().await;
    bench.apply("a", named(&["one"])).await;
    let parent = bench.enrol("t", A, "a").await;
    let (connection, request) = (holder(&parent), csr(&key(), &[]));
    let renew = || bench.issue(&connection, &request, Ask::default());
    bench.apply("a", named(&["one", "two"])).await;
    let wide = renew().await.unwrap();
    assert_eq!(leaf(&wide).dns_names(), ["one", "two"]);
    bench.apply("a", named(&["one"])).await;
    let narrow = renew().await.unwrap();
    assert_eq!(leaf(&narrow).dns_names(), ["one"]);
    assert_eq!(
        renew().await.unwrap().chain,
        narrow.chain,
        "a lost answer is repeated"
    );
    assert_eq!(bench.count("signet_replays_total"), 1);
    bench.apply("a", named(&["one", "two"])).await;
    assert_eq!(
        renew().await.unwrap().chain,
        wide.chain,
        "what it contains is granted again"
    );
}

#[tokio::test]
async fn a_request_that_waited_for_its_token_is_decided_at_the_time_when_the_wait_ended() {
    let bench = bench().await;
    let token = bench.token("t", A, "a", |_| ()).await;
    let held = bench.authority.claims.lock("t").await;
    let (connection, request, ask) = (nobody(), csr(&key(), &[]), bearer(&token));
    let mut call = std::pin::pin!(bench.issue(&connection, &request, ask));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(
        call.as_mut().poll(&mut context).is_pending(),
        "it waits for the claim"
    );
    bench.later(Duration::from_secs(601));
    drop(held);
    assert_eq!(call.await.unwrap_err().reason(), Reason::TokenExpired);
}
