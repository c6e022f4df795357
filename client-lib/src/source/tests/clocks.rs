//! Sources on machines whose clock is wrong, against a CA whose clock is right.

use identity::{Clock, SystemClock};

use super::*;

/// The operating system's clock, set wrong.
struct Wrong(time::Duration);

impl Clock for Wrong {
    fn now(&self) -> OffsetDateTime {
        SystemClock.now() + self.0
    }
}

fn wrong(by: time::Duration) -> Arc<Wrong> {
    Arc::new(Wrong(by))
}

#[tokio::test]
async fn a_client_whose_clock_is_ahead_by_more_than_a_life_enrols_once_and_renews_at_half_of_each_life() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.life = Duration::from_secs(4));
    for by in [time::Duration::minutes(35), time::Duration::minutes(-2)] {
        let asked = fake.requests().len();
        let started = Instant::now();
        let source = X509Source::builder(Proof::jwt("a.b.c").unwrap())
            .server(fake.server())
            .clock(wrong(by))
            .start()
            .await
            .unwrap();
        until(&source, "two rotations", |status| status.rotations >= 2).await;
        let elapsed = started.elapsed();
        let requests = fake.requests()[asked..].to_vec();
        assert_eq!(requests.len(), 3, "{by}");
        assert!(requests[1..].iter().all(|seen| seen.bearer.is_none()), "{by}");
        assert!(elapsed >= Duration::from_secs(3), "{by}: {elapsed:?}");
        let skew = source.status().borrow().clock_skew.unwrap();
        assert!(
            (skew.wall - skew.ca - by).abs() < time::Duration::seconds(5),
            "{skew}"
        );
    }
}

#[tokio::test]
async fn a_restart_with_a_clock_that_is_wrong_by_days_goes_on_with_the_stored_certificate_and_renews_it() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.life = Duration::from_secs(8));
    let place = tempfile::tempdir().unwrap();
    let builder = X509Source::builder(Proof::token(fake.token())).folder(place.path().join("web"));
    drop(builder.clone().start().await.unwrap());
    for days in [3, -3] {
        let before = fake.requests().len();
        for _ in 0..3 {
            let by = wrong(time::Duration::days(days));
            drop(builder.clone().clock(by).start().await.unwrap());
        }
        assert_eq!(fake.requests().len(), before, "restarts cost nothing");
        let by = wrong(time::Duration::days(days));
        let source = builder.clone().clock(by).start().await.unwrap();
        until(&source, "a rotation", |status| status.rotations >= 1).await;
        let requests = fake.requests()[before..].to_vec();
        assert!(requests.len() == 1 && requests[0].bearer.is_none(), "{days}");
    }
}

#[tokio::test]
async fn enrolment_with_a_clock_by_which_the_server_has_expired_fails_with_both_times_and_spends_no_token() {
    let fake = FakeCa::start().await;
    let error = X509Source::builder(Proof::token(fake.token()))
        .clock(wrong(time::Duration::days(3)))
        .start()
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::CertificateExpired);
    let now = OffsetDateTime::now_utc().date().to_string();
    let then = (OffsetDateTime::now_utc() + time::Duration::days(3))
        .date()
        .to_string();
    let text = error.to_string();
    assert!(text.contains(&now) && text.contains(&then), "{text}");
    assert!(fake.requests().is_empty());
}
