//! What the authority counts for Prometheus (OpenMetrics 1.0). Names and labels are a contract with dashboards and alerts; refusals are
//! counted under the word that the caller got. Nothing on the path of a request makes a string.

use std::time::Duration;

use identity::Reason;
use issuance::ProfileName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use time::OffsetDateTime;

/// Bounds of the time from a request to its recorded answer, in seconds.
const ISSUE_BOUNDS: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// Bounds of one sync of the journal, in seconds: from a disk with a battery to one that is failing.
const SYNC_BOUNDS: [f64; 12] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
];

/// Outcomes of snapshots.
const WRITTEN: &str = "written";
const FAILED: &str = "failed";

/// The counters of one server. Each is an atomic or a lock held for nanoseconds.
#[derive(Debug)]
pub struct Metrics {
    issued: Family<IssuedLabels, Counter>,
    replays: Counter,
    refusals: Family<RefusalLabels, Counter>,
    forks: Counter,
    ignored_bearers: Counter,
    issue_duration: Histogram,
    in_flight: Gauge,
    sync_duration: Histogram,
    snapshots: Family<SnapshotLabels, Counter>,
    authority_not_after: Gauge,
    clock_disputed: Gauge,
    unreadable_registrations: Gauge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuedLabels {
    profile: &'static str,
    method: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SnapshotLabels {
    outcome: &'static str,
}

/// A request in work; it is counted until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the request"]
pub struct InFlight(Gauge);

impl Metrics {
    /// Registers every metric. Each reason of refusal stands at zero from the start, so that its first one shows as a rise.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            issued: Family::default(),
            replays: Counter::default(),
            refusals: Family::default(),
            forks: Counter::default(),
            ignored_bearers: Counter::default(),
            issue_duration: Histogram::new(ISSUE_BOUNDS),
            in_flight: Gauge::default(),
            sync_duration: Histogram::new(SYNC_BOUNDS),
            snapshots: Family::default(),
            authority_not_after: Gauge::default(),
            unreadable_registrations: Gauge::default(),
            clock_disputed: Gauge::default(),
        };
        for reason in Reason::ALL {
            let _at_zero = metrics.refusals.get_or_create(&RefusalLabels::from(reason));
        }
        for outcome in [WRITTEN, FAILED] {
            let _at_zero = metrics.snapshots.get_or_create(&SnapshotLabels { outcome });
        }
        metrics.show_in(registry);
        metrics
    }

    fn show_in(&self, registry: &mut Registry) {
        registry.register(
            "signet_certificates_issued",
            "Certificates signed and recorded",
            self.issued.clone(),
        );
        registry.register(
            "signet_replays",
            "Recorded certificates that were given again",
            self.replays.clone(),
        );
        registry.register(
            "signet_refusals",
            "Requests refused, by reason",
            self.refusals.clone(),
        );
        registry.register(
            "signet_lineage_forks",
            "Second keys renewed from one certificate",
            self.forks.clone(),
        );
        registry.register(
            "signet_ignored_bearers",
            "Bearers that did not verify, beside a certificate that did",
            self.ignored_bearers.clone(),
        );
        registry.register_with_unit(
            "signet_issue_duration",
            "From a request to its recorded certificate",
            Unit::Seconds,
            self.issue_duration.clone(),
        );
        registry.register(
            "signet_requests_in_flight",
            "Requests in work",
            self.in_flight.clone(),
        );
        registry.register_with_unit(
            "signet_journal_sync_duration",
            "One batch of the journal, written and synced",
            Unit::Seconds,
            self.sync_duration.clone(),
        );
        registry.register(
            "signet_snapshots",
            "Snapshots of the state for the journal, by outcome",
            self.snapshots.clone(),
        );
        registry.register_with_unit(
            "signet_authority_not_after",
            "When the active signing authority ends, in seconds since 1970",
            Unit::Seconds,
            self.authority_not_after.clone(),
        );
        registry.register(
            "signet_registrations_unreadable",
            "Stored registrations that cannot be read and grant nothing",
            self.unreadable_registrations.clone(),
        );
        registry.register(
            "signet_clock_disputed",
            "1 while the server does not believe its wall clock",
            self.clock_disputed.clone(),
        );
    }

    /// So many stored registrations cannot be read.
    pub fn unreadable_registrations(&self, count: usize) {
        self.unreadable_registrations
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A certificate was signed and recorded, this long after its request was read. `method` is the record's word.
    pub fn issued(&self, profile: ProfileName, method: &'static str, took: Duration) {
        let profile = profile.word();
        self.issued.get_or_create(&IssuedLabels { profile, method }).inc();
        self.issue_duration.observe(took.as_secs_f64());
    }

    /// A recorded certificate was given again: no issuance.
    pub fn replayed(&self) {
        self.replays.inc();
    }

    /// A request was refused.
    pub fn refused(&self, reason: Reason) {
        self.refusals.get_or_create(&RefusalLabels::from(reason)).inc();
    }

    /// A second key was renewed from one certificate.
    pub fn forked(&self) {
        self.forks.inc();
    }

    /// A bearer did not verify and was ignored beside a certificate that did.
    pub fn bearer_ignored(&self) {
        self.ignored_bearers.inc();
    }

    /// A request is in work until this is dropped.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// The journal wrote and synced one batch.
    pub fn journal_synced(&self, took: Duration) {
        self.sync_duration.observe(took.as_secs_f64());
    }

    /// A snapshot of the state is complete in the journal, or could not be written.
    pub fn snapshot_ended(&self, is_complete: bool) {
        let outcome = if is_complete { WRITTEN } else { FAILED };
        self.snapshots.get_or_create(&SnapshotLabels { outcome }).inc();
    }

    /// The active signing authority ends then.
    pub fn authority_ends(&self, not_after: OffsetDateTime) {
        self.authority_not_after.set(not_after.unix_timestamp());
    }

    /// Whether the time is disputed.
    pub fn clock_disputed(&self, is_disputed: bool) {
        self.clock_disputed.set(is_disputed.into());
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl From<Reason> for RefusalLabels {
    fn from(reason: Reason) -> Self {
        Self {
            reason: reason.word(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn every_metric_has_the_name_and_labels_that_alerts_rely_on() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.issued(ProfileName::Workload, "token", Duration::from_millis(3));
        metrics.issued(ProfileName::Workload, "token", Duration::from_millis(3));
        metrics.replayed();
        metrics.refused(Reason::TokenSpent);
        metrics.forked();
        metrics.bearer_ignored();
        metrics.journal_synced(Duration::from_micros(200));
        metrics.authority_ends(OffsetDateTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000));
        metrics.clock_disputed(true);
        metrics.unreadable_registrations(3);
        let text = text(&registry);
        for line in [
            "signet_certificates_issued_total{profile=\"workload\",method=\"token\"} 2",
            "signet_replays_total 1",
            "signet_refusals_total{reason=\"TOKEN_SPENT\"} 1",
            "signet_refusals_total{reason=\"NO_PROOF\"} 0",
            "signet_lineage_forks_total 1",
            "signet_ignored_bearers_total 1",
            "signet_issue_duration_seconds_count 2",
            "signet_issue_duration_seconds_bucket{le=\"0.0025\"} 0",
            "signet_issue_duration_seconds_bucket{le=\"0.005\"} 2",
            "signet_journal_sync_duration_seconds_count 1",
            "signet_authority_not_after_seconds 2000000000",
            "signet_requests_in_flight 0",
            "signet_clock_disputed 1",
            "signet_registrations_unreadable 3",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn a_request_is_in_flight_until_its_guard_is_dropped() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let (one, two) = (metrics.in_flight(), metrics.in_flight());
        assert!(text(&registry).contains("signet_requests_in_flight 2\n"));
        drop(one);
        assert!(text(&registry).contains("signet_requests_in_flight 1\n"));
        drop(two);
        assert!(text(&registry).contains("signet_requests_in_flight 0\n"));
    }
}
