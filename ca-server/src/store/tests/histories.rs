//! Random histories against a model that forgets nothing: whatever happened, in whatever order, with
//! restarts, lost indexes and clocks that were wrong for a while, the store answers every question that a
//! caller may ask as the model does.
//!
//! `HISTORIES=N cargo test --release -p ca-server --lib -- histories` runs N histories of 500 steps instead
//! of 200. `HISTORY=SEED` repeats one.

mod model;
mod questions;
mod steps;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use identity::{Clock, Reason};
use tempfile::TempDir;
use time::OffsetDateTime;

use self::model::{Model, Seen};
use crate::store::tests::support::{HOUR, START};
use crate::store::{Command, EmbeddedStore, Outcome, RegistrationRef, Store};

const STEPS: usize = 500;
const DAY: i64 = 24 * HOUR;

#[test]
fn a_store_answers_every_question_as_a_model_that_forgets_nothing() {
    if let Ok(seed) = std::env::var("HISTORY") {
        return run(seed.parse().unwrap());
    }
    let histories = std::env::var("HISTORIES").map_or(200, |number| number.parse().unwrap());
    std::thread::scope(|scope| {
        for first in 0..2 {
            scope.spawn(move || (first..histories).step_by(2).for_each(run));
        }
    });
}

fn run(seed: u64) {
    let mut history = History::new(seed);
    let steps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..STEPS {
            history.step();
            history.compare();
        }
    }));
    if let Err(panic) = steps {
        let last: Vec<_> = history.log.iter().cloned().collect();
        eprintln!("HISTORY={seed} differs; its last steps:\n{}", last.join("\n"));
        std::panic::resume_unwind(panic);
    }
}

/// A clock that can be wrong for a while: the time is disputed then, and nothing may be deleted.
struct WrongClock {
    now: AtomicI64,
    permits_deletion: AtomicBool,
}

impl Clock for WrongClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.now.load(Ordering::SeqCst)).unwrap()
    }

    fn permits_deletion(&self) -> bool {
        self.permits_deletion.load(Ordering::SeqCst)
    }
}

/// A random number generator that is the same everywhere (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = self.below(of.len().max(1) as u64);
        of.get(usize::try_from(at).unwrap())
    }
}

/// One history: a store, the model, and what callers remember.
struct History {
    random: Random,
    dir: TempDir,
    clock: Arc<WrongClock>,
    store: Option<Arc<EmbeddedStore>>,
    model: Model,
    /// Registrations as callers saw them, some of them long ago.
    seen: Vec<(RegistrationRef, Seen)>,
    serials: u64,
    tokens: u64,
    /// How far the clock is ahead, while that may still be corrected.
    ahead: Option<i64>,
    /// When the clock was set last, by the clock itself.
    set_at: i64,
    log: VecDeque<String>,
}

impl History {
    fn new(seed: u64) -> Self {
        // A disk would be the slowest part by far.
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let clock = Arc::new(WrongClock {
            now: AtomicI64::new(START),
            permits_deletion: AtomicBool::new(true),
        });
        let mut history = Self {
            random: Random(seed),
            dir: dir.unwrap(),
            clock,
            store: None,
            model: Model::default(),
            seen: Vec::new(),
            serials: 0,
            tokens: 0,
            ahead: None,
            set_at: START - HOUR,
            log: VecDeque::new(),
        };
        history.open();
        history.put_authority(0);
        history
    }

    fn open(&mut self) {
        let store = EmbeddedStore::open(self.dir.path(), self.clock.clone(), |_| {}).unwrap();
        self.store = Some(Arc::new(store));
    }

    fn store(&self) -> &Arc<EmbeddedStore> {
        self.store.as_ref().expect("it is open between two steps")
    }

    fn now(&self) -> i64 {
        self.clock.now.load(Ordering::SeqCst)
    }

    fn log(&mut self, step: &str) {
        if self.log.len() == 40 {
            self.log.pop_front();
        }
        let line = format!("{:>9} {step}", self.now() - START);
        self.log.push_back(line);
    }

    fn submit(&self, command: Command) -> Result<Outcome, Reason> {
        let answer = self.store().submit(command).blocking_recv().unwrap();
        answer.map_err(|refusal| refusal.reason())
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..=44 => self.issue_some(),
            45..=50 => self.create_token(),
            51..=52 => self.revoke_token(),
            53..=58 => self.apply(),
            59..=60 => self.delete(),
            61..=70 => self.revoke(),
            71..=72 => self.put_authority(1 + self.serials),
            73 => self.put_crl(),
            74..=87 => self.pass(),
            88..=90 => self.jump(),
            91..=95 => drop(self.submit(Command::Prune)),
            _ => self.restart(),
        }
    }
}
