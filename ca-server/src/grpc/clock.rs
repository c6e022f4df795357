//! `signet.v1.Clock`: an administrator ends a dispute over the time.

use std::sync::Arc;

use identity::{Clock as _, Dispute};
use proto::{Refusal, timestamp_to_message, v1};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use super::admin::Admin;
use crate::authority::keys::KeyFolder;
use crate::authority::lifecycle;
use crate::clock::ServerClock;
use crate::store::{Command, Store};

/// `signet.v1.Clock`.
#[derive(Clone)]
pub struct ClockService {
    admin: Admin,
    clock: Arc<ServerClock>,
    keys: KeyFolder,
}

impl ClockService {
    /// For the administrators of the server that has this clock and these keys.
    pub fn new(admin: Admin, clock: Arc<ServerClock>, keys: KeyFolder) -> Self {
        Self { admin, clock, keys }
    }

    async fn accept(&self, by: &str) -> Result<v1::AcceptClockResponse, Refusal> {
        let sample = self.clock.sample();
        let Some(dispute) = self.clock.dispute() else {
            return Ok(self.message(sample.wall(), None));
        };
        // Recorded first: what cannot be recorded is not done.
        let command = Command::AcceptTime {
            at: sample.wall().unix_timestamp(),
            dispute: dispute.to_string(),
            by: by.to_owned(),
        };
        self.admin.submit(command).await?;
        self.clock.accept(sample)?;
        self.admin
            .changed(by, format!("accepted the wall clock: {dispute}"), |_| ());
        Ok(self.message(sample.wall(), Some(&dispute)))
    }

    fn message(&self, wall: OffsetDateTime, dispute: Option<&Dispute>) -> v1::AcceptClockResponse {
        message(self.admin.store.as_ref(), &self.keys, wall, dispute)
    }
}

/// What became of an acceptance.
pub fn message(
    store: &dyn Store,
    keys: &KeyFolder,
    wall: OffsetDateTime,
    dispute: Option<&Dispute>,
) -> v1::AcceptClockResponse {
    let active = store.read().active_authority().cloned();
    let advice = active.and_then(|row| {
        let root = keys.load_root().ok().flatten();
        let has_root_key = root.is_some_and(|root| **root.certificate() == *row.root);
        lifecycle::begins_later(&row, has_root_key, wall)
    });
    v1::AcceptClockResponse {
        accepted: dispute.is_some(),
        wall: Some(timestamp_to_message(wall)),
        expected: dispute.map(|dispute| timestamp_to_message(dispute.expected)),
        dispute: dispute.map(ToString::to_string).unwrap_or_default(),
        advice: advice.unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl v1::clock_server::Clock for ClockService {
    async fn accept_clock(
        &self,
        request: Request<v1::AcceptClockRequest>,
    ) -> Result<Response<v1::AcceptClockResponse>, Status> {
        let by = self.admin.writer(&request)?;
        let v1::AcceptClockRequest {} = request.into_inner();
        let accepted = self.accept(&by).await;
        Ok(Response::new(self.admin.told(&by, accepted)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::tests::ManualTime;
    use crate::grpc::admin::bench::{Bench, NOW};
    use identity::clock::witnessed::Limits;
    use v1::clock_server::Clock;

    async fn ask(bench: &Bench, service: &ClockService) -> v1::AcceptClockResponse {
        let request = bench.call(v1::AcceptClockRequest {});
        service.accept_clock(request).await.unwrap().into_inner()
    }

    #[tokio::test]
    async fn an_administrator_ends_a_dispute_and_the_journal_has_who_and_both_times() {
        let bench = Bench::new();
        let time = ManualTime::new(NOW);
        let source = Box::new(Arc::clone(&time));
        let clock = Arc::new(ServerClock::new(source, Limits::default()));
        let service = ClockService::new(bench.admin.clone(), Arc::clone(&clock), bench.keys());

        let answer = ask(&bench, &service).await;
        assert!(!answer.accepted && answer.expected.is_none(), "{answer:?}");
        assert_eq!(bench.admin.store.head().position, 0, "it is not recorded");

        time.step(86_400);
        let answer = ask(&bench, &service).await;
        assert!(answer.accepted, "{answer:?}");
        let wall = NOW + time::Duration::DAY;
        assert_eq!(answer.wall, Some(timestamp_to_message(wall)));
        assert_eq!(answer.expected, Some(timestamp_to_message(NOW)));
        assert!(clock.dispute().is_none());
        assert_eq!(clock.now(), wall);

        let entry = bench.admin.store.entry(1).unwrap().unwrap();
        assert_eq!(entry.at, wall.unix_timestamp());
        assert_eq!(entry.by, "unix:uid=0,pid=7");
        for part in ["accept", "2026-01-02T12:00:00Z", "2026-01-01T12:00:00Z"] {
            assert!(entry.action.contains(part), "{}", entry.action);
        }
        let lines = bench.audit_lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0]["decision"], "changed");
    }

    #[tokio::test]
    async fn a_caller_that_is_no_administrator_accepts_no_time() {
        let bench = Bench::new();
        let time = ManualTime::new(NOW);
        let source = Box::new(Arc::clone(&time));
        let clock = Arc::new(ServerClock::new(source, Limits::default()));
        time.step(86_400);
        let service = ClockService::new(bench.admin.clone(), Arc::clone(&clock), bench.keys());
        let status = service
            .accept_clock(Request::new(v1::AcceptClockRequest {}))
            .await;
        assert!(status.is_err());
        assert!(clock.dispute().is_some());
        assert_eq!(bench.admin.store.head().position, 0);
    }
}
