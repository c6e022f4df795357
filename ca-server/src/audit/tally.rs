//! Counting instead of writing: what a caller can repeat at will costs a line once and then an addition. All of it is bounded.

use std::collections::{BTreeMap, HashMap, HashSet};

use identity::{Reason, Serial};
use proto::Refusal;
use time::OffsetDateTime;

/// Most callers and parents that are told apart within a minute.
const MAX_NAMES: usize = 4096;
/// Stands for the callers beyond.
const OTHERS: &str = "(others)";

/// Refusals of one caller for one reason within a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalCount {
    /// The caller as the record names it.
    pub caller: String,
    /// The stable word.
    pub reason: Reason,
    /// The message of the first.
    pub message: String,
    /// How many there were.
    pub count: u64,
    /// The last of them.
    pub last: OffsetDateTime,
}

/// Refusals of strangers: one of each reason and second is shown.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<Reason, Sample>);

#[derive(Debug)]
struct Sample {
    second: i64,
    passed_over: u64,
}

impl Samples {
    /// How many refusals the line stands for, if there is to be one.
    pub(super) fn take(&mut self, reason: Reason, now: OffsetDateTime) -> Option<u64> {
        let second = now.unix_timestamp();
        let fresh = Sample {
            second: i64::MIN,
            passed_over: 0,
        };
        let sample = self.0.entry(reason).or_insert(fresh);
        if sample.second == second {
            sample.passed_over += 1;
            return None;
        }
        let count = 1 + std::mem::take(&mut sample.passed_over);
        sample.second = second;
        Some(count)
    }
}

/// Refusals of known callers within the open minute.
#[derive(Debug, Default)]
pub(super) struct Minute {
    number: i64,
    callers: HashMap<String, BTreeMap<Reason, RefusalCount>>,
}

impl Minute {
    /// Counts one; tells whether it is the first of its kind, and what the minute before held if this one opens another.
    pub(super) fn count(
        &mut self,
        caller: &str,
        refusal: &Refusal,
        now: OffsetDateTime,
    ) -> (bool, Vec<RefusalCount>) {
        let over = self.over(now);
        let full = self.callers.len() >= MAX_NAMES;
        let caller = if full && !self.callers.contains_key(caller) {
            OTHERS
        } else {
            caller
        };
        if !self.callers.contains_key(caller) {
            self.callers.insert(caller.to_owned(), BTreeMap::new());
        }
        let reasons = self.callers.entry(caller.to_owned()).or_default();
        let tally = reasons.entry(refusal.reason()).or_insert_with(|| RefusalCount {
            caller: caller.to_owned(),
            reason: refusal.reason(),
            message: refusal.message().to_owned(),
            count: 0,
            last: now,
        });
        tally.count += 1;
        tally.last = now;
        (tally.count == 1, over)
    }

    /// The counts of the open minute, if it is over.
    pub(super) fn over(&mut self, now: OffsetDateTime) -> Vec<RefusalCount> {
        let number = minute_of(now);
        if number == self.number {
            return Vec::new();
        }
        self.number = number;
        self.close()
    }

    /// The counts of the open minute as it stands.
    pub(super) fn close(&mut self) -> Vec<RefusalCount> {
        self.callers
            .drain()
            .flat_map(|(_, reasons)| reasons.into_values())
            .collect()
    }
}

/// Parents that were forked within the open minute.
#[derive(Debug, Default)]
pub(super) struct Forks {
    minute: i64,
    parents: HashSet<Serial>,
}

impl Forks {
    /// Whether this is the first fork of the parent in its minute.
    pub(super) fn first(&mut self, parent: Serial, now: OffsetDateTime) -> bool {
        let minute = minute_of(now);
        if minute != self.minute {
            self.minute = minute;
            self.parents.clear();
        }
        self.parents.len() < MAX_NAMES && self.parents.insert(parent)
    }
}

fn minute_of(now: OffsetDateTime) -> i64 {
    now.unix_timestamp().div_euclid(60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(second: u64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + second)
    }

    #[test]
    fn a_stranger_gets_one_line_a_second_and_the_next_one_tells_of_the_rest() {
        let mut samples = Samples::default();
        assert_eq!(samples.take(Reason::NoProof, at(0)), Some(1));
        assert_eq!(samples.take(Reason::NoProof, at(0)), None);
        assert_eq!(samples.take(Reason::NoProof, at(0)), None);
        assert_eq!(samples.take(Reason::TokenInvalid, at(0)), Some(1));
        assert_eq!(samples.take(Reason::NoProof, at(1)), Some(3));
    }

    #[test]
    fn a_minute_counts_by_caller_and_reason() {
        let mut minute = Minute::default();
        let (forks, ids) = (
            Refusal::new(Reason::LineageFork, "first"),
            Refusal::new(Reason::IdentityNotGranted, "x"),
        );
        assert!(minute.count("a", &forks, at(0)).0);
        assert!(!minute.count("a", &forks, at(59)).0);
        assert!(minute.count("a", &ids, at(1)).0);
        assert!(minute.count("b", &forks, at(1)).0);
        let (first, over) = minute.count("a", &forks, at(60));
        assert!(first);
        let of = |caller: &str, reason| {
            over.iter()
                .find(|t| t.caller == caller && t.reason == reason)
                .unwrap()
        };
        assert_eq!(of("a", Reason::LineageFork).count, 2);
        assert_eq!(of("a", Reason::LineageFork).last, at(59));
        assert_eq!(of("b", Reason::LineageFork).count, 1);
        assert_eq!(over.len(), 3);
        assert!(minute.over(at(61)).is_empty());
        assert_eq!(minute.over(at(120)).len(), 1);
    }

    #[test]
    fn callers_beyond_the_bound_share_one_count() {
        let mut minute = Minute::default();
        let refusal = Refusal::new(Reason::NotAdmin, "");
        for caller in 0..MAX_NAMES + 10 {
            minute.count(&caller.to_string(), &refusal, at(0));
        }
        let counts = minute.close();
        assert_eq!(counts.len(), MAX_NAMES + 1);
        assert_eq!(counts.iter().find(|t| t.caller == OTHERS).unwrap().count, 10);
    }

    #[test]
    fn a_fork_is_told_once_for_each_parent_and_minute() {
        let mut forks = Forks::default();
        let (one, two): (Serial, Serial) = ("01".parse().unwrap(), "02".parse().unwrap());
        assert!(forks.first(one, at(0)) && !forks.first(one, at(30)) && forks.first(two, at(30)));
        assert!(forks.first(one, at(60)));
    }
}
