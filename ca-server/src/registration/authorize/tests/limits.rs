//! What bounds a grant next to its registration: the token of the lineage, and the names of the server.

use super::*;

#[tokio::test]
async fn the_life_of_a_token_is_the_upper_bound_for_its_lineage() {
    let bench = Bench::new().await;
    bench
        .apply("a", json!({ "spiffeId": A, "life": "2h", "callers": ["token"] }))
        .await;
    for made_registration in [false, true] {
        let id = format!("t{made_registration}");
        let token = bench
            .token(&id, A, "a", |row| {
                (row.life, row.made_registration) = (600, made_registration);
            })
            .await;
        let ask = |seconds: u64, clip_life| Ask {
            bearer: Some(&token),
            life: (seconds > 0).then(|| Duration::from_secs(seconds)),
            clip_life,
            ..Ask::default()
        };
        let request = csr(&key(), &[]);
        let refusal = bench
            .issue(&nobody(), &request, ask(601, false))
            .await
            .unwrap_err();
        assert_eq!(
            (refusal.reason(), refusal.evidence("limit")),
            (Reason::LifeTooLong, Some("10m"))
        );
        let first = bench.issue(&nobody(), &request, ask(86_400, true)).await.unwrap();
        assert_eq!(
            first.validity.not_after() - bench.now(),
            time::Duration::minutes(10)
        );
        let mut holder_of = holder(&first);
        for _ in 0..2 {
            let renewal = |seconds: u64, clip_life| Ask {
                bearer: None,
                ..ask(seconds, clip_life)
            };
            let refused = bench
                .refused(&holder_of, &csr(&key(), &[]), renewal(601, false))
                .await;
            assert_eq!(refused, Reason::LifeTooLong);
            let renewed = bench
                .issue(&holder_of, &csr(&key(), &[]), renewal(3600, true))
                .await
                .unwrap();
            assert_eq!(
                renewed.validity.not_after() - bench.now(),
                time::Duration::minutes(10)
            );
            holder_of = holder(&renewed);
        }
    }
}

#[tokio::test]
async fn a_lineage_recorded_without_the_life_of_its_token_is_bounded_by_it_all_the_same() {
    let bench = Bench::new().await;
    bench
        .apply("token-t", json!({ "spiffeId": A, "callers": ["token"] }))
        .await;
    let made = |row: &mut crate::store::TokenRow| (row.life, row.made_registration) = (600, true);
    let token = bench.token("t", A, "token-t", made).await;
    let ask = Ask {
        bearer: Some(&token),
        ..Ask::default()
    };
    let first = bench.issue(&nobody(), &csr(&key(), &[]), ask).await.unwrap();
    let judged = bench.callers.certificate(&holder(&first), bench.now());
    let Verified::Own(own) = judged.unwrap().unwrap() else {
        panic!("not recognised");
    };
    let mut own = Arc::into_inner(own).expect("the connection is gone");
    own.issued.origin.as_mut().unwrap().life = 0;
    let own = Attested::Own(Arc::new(own));
    let request = VerifiedCsr::parse(&csr(&key(), &[])).unwrap();
    let wish = Wish {
        spiffe_id: None,
        csr: &request,
        life: Some(HOUR),
        clip_life: false,
    };
    let refusal = bench.registrations.authorize(&own, &wish, bench.now());
    assert_eq!(refusal.unwrap_err().reason(), Reason::LifeTooLong);
}

#[tokio::test]
async fn a_name_of_the_server_is_granted_in_no_spelling_and_by_no_registration() {
    let bench = Bench::new().await;
    let spec = json!({ "spiffeId": A, "dnsNames": ["one", "ca.example.org"], "callers": ["token"] });
    bench.apply("a", spec).await;
    assert_eq!(decide(&bench, &KERNEL, &[A]).unwrap().dns_names, ["one"]);
    for spelling in ["ca.example.org", "CA.example.org", "ca.example.org."] {
        let refusal = decide(&bench, &KERNEL, &[A, "one", spelling]).unwrap_err();
        assert_eq!(
            (refusal.reason(), refusal.evidence("name")),
            (Reason::NameNotGranted, Some("ca.example.org"))
        );
        assert!(refusal.message().contains("name of this server"), "{refusal}");
    }
    let limit = |row: &mut crate::store::TokenRow| row.dns_names = vec!["ca.example.org".to_owned()];
    let token = bench.token("t", A, "a", limit).await;
    let ask = Ask {
        bearer: Some(&token),
        ..Ask::default()
    };
    let issued = bench.issue(&nobody(), &csr(&key(), &[]), ask).await.unwrap();
    assert!(leaf(&issued).dns_names().is_empty());
}
