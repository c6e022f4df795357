//! Whether the writer waits for more before it makes a batch: with many callers at work, a moment's wait saves a sync for each of
//! them; with few it would only be a wait. It is tried, and kept as long as it gathers many.

use std::time::Duration;

/// How long it waits. It is of no account where so many ask that it is worth it.
const PAUSE: Duration = Duration::from_millis(2);
/// From so many commands in a batch on, several callers are at work: a wait is tried.
const TRY_FROM: usize = 3;
/// As many commands that a wait gathered were worth it.
const WORTH: usize = 8;
/// After a wait that was not, as many batches go without one.
const REST: u32 = 100;

/// What the last batches taught.
#[derive(Debug, Default)]
pub(super) struct Gather {
    waits: bool,
    rest: u32,
}

impl Gather {
    /// How long to wait before the next batch.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.waits.then_some(PAUSE)
    }

    /// Takes in how many commands a batch had.
    pub(super) fn learn(&mut self, commands: usize) {
        if self.waits {
            self.waits = commands >= WORTH;
            self.rest = REST;
        } else if self.rest > 0 {
            self.rest -= 1;
        } else {
            self.waits = commands >= TRY_FROM;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the next batches had a wait before them, where one gathers so many commands with it and so many without.
    fn waits(gather: &mut Gather, batches: usize, with: usize, without: usize) -> usize {
        (0..batches)
            .filter(|_| {
                let waited = gather.pause().is_some();
                gather.learn(if waited { with } else { without });
                waited
            })
            .count()
    }

    #[test]
    fn callers_who_come_one_by_one_never_wait() {
        assert_eq!(waits(&mut Gather::default(), 1000, 2, 1), 0);
    }

    #[test]
    fn with_many_callers_each_batch_waits_until_they_are_gone() {
        let mut gather = Gather::default();
        assert_eq!(waits(&mut gather, 1000, WORTH, TRY_FROM), 999);
        assert_eq!(waits(&mut gather, 1000, 1, 1), 1);
    }

    #[test]
    fn a_wait_that_gathers_few_is_seldom_tried_again() {
        assert_eq!(waits(&mut Gather::default(), 1020, WORTH - 1, TRY_FROM), 10);
    }
}
