//! The boot-time clock: it counts suspends, never jumps, and starts again with each boot (`CLOCK_BOOTTIME`,
//! clock_gettime(2)). The wall clock of a machine may be wrong by days; schedules are kept by this one.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use identity::{Clock, SystemClock};
use rustix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;

/// The kernel's name for the current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Longest boot ID that is kept, in bytes; the kernel's has 36.
const MAX_BOOT_ID: usize = 64;

/// A time by the boot-time clock, with the boot that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootTime {
    /// Empty where it is unknown: such a time cannot be compared with any other.
    boot: Arc<str>,
    since_boot: Duration,
}

/// Both clocks of this machine, read together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock, which may be wrong and may be set.
    pub wall: OffsetDateTime,
    /// The boot-time clock.
    pub boot: BootTime,
}

/// The clocks of this machine; the wall clock can be replaced.
#[derive(Clone)]
pub(crate) struct LocalClock(Arc<dyn Clock>);

impl BootTime {
    /// Reads the clock.
    pub fn now() -> Self {
        static BOOT: OnceLock<Arc<str>> = OnceLock::new();
        let boot = BOOT.get_or_init(|| {
            let id = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
            // Without the kernel's name the process is the boot: its own times can still be compared, and no
            // others. In a container its number is the same in each boot.
            let id = id.trim();
            if id.is_empty() || id.len() > MAX_BOOT_ID {
                let begun = SystemClock.now().unix_timestamp_nanos();
                format!("process {} {begun}", std::process::id()).into()
            } else {
                id.into()
            }
        });
        let now = clock_gettime(BOOT_CLOCK);
        Self {
            boot: boot.clone(),
            since_boot: Duration::new(
                u64::try_from(now.tv_sec).unwrap_or(0),
                u32::try_from(now.tv_nsec).unwrap_or(0),
            ),
        }
    }

    /// A time of the boot with this ID; an ID that is empty or too long is one that is unknown.
    pub fn of(boot: &str, since_boot: Duration) -> Self {
        let known = boot.len() <= MAX_BOOT_ID;
        Self {
            boot: if known { boot } else { "" }.into(),
            since_boot,
        }
    }

    /// A time of an unknown boot.
    pub fn unknown() -> Self {
        Self::of("", Duration::ZERO)
    }

    /// The ID of the boot; empty if it is unknown.
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// How long the machine had been running.
    pub fn since_boot(&self) -> Duration {
        self.since_boot
    }

    /// The time from `earlier` to this; `None` if the two are of different boots, or in the wrong order.
    pub fn since(&self, earlier: &Self) -> Option<Duration> {
        if self.boot.is_empty() || self.boot != earlier.boot {
            return None;
        }
        self.since_boot.checked_sub(earlier.since_boot)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const BOOT_CLOCK: ClockId = ClockId::Boottime;
/// Elsewhere the monotonic clock is the nearest.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const BOOT_CLOCK: ClockId = ClockId::Monotonic;

impl Reading {
    /// Reads the clocks of the operating system.
    pub fn now() -> Self {
        LocalClock::system().read()
    }
}

impl LocalClock {
    pub(crate) fn system() -> Self {
        Self(Arc::new(SystemClock))
    }

    #[cfg(feature = "grpc")]
    pub(crate) fn with_wall(wall: Arc<dyn Clock>) -> Self {
        Self(wall)
    }

    pub(crate) fn read(&self) -> Reading {
        Reading {
            wall: self.0.now(),
            boot: BootTime::now(),
        }
    }
}

impl std::fmt::Debug for LocalClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalClock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_of_one_boot_in_order_have_a_difference() {
        let at = |boot, seconds| BootTime::of(boot, Duration::from_secs(seconds));
        assert_eq!(at("a", 7).since(&at("a", 5)), Some(Duration::from_secs(2)));
        assert_eq!(at("a", 5).since(&at("a", 7)), None);
        assert_eq!(at("a", 7).since(&at("b", 5)), None);
        assert_eq!(BootTime::unknown().since(&BootTime::unknown()), None);
        assert_eq!(at(&"x".repeat(MAX_BOOT_ID + 1), 1), at("", 1));
        let first = BootTime::now();
        assert!(BootTime::now().since(&first).is_some());
    }
}
