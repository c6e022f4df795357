//! The clocks of Linux: clock_gettime(2) for CLOCK_BOOTTIME, adjtimex(2) for what the kernel says of the wall
//! clock.

use std::time::Duration;

use identity::{Clock as _, SystemClock};
use rtime_clock::adjtime::{Timex, adjtimex};
use rustix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;

use super::TimeSource;

/// STA_UNSYNC of linux/timex.h. The kernel sets it when the clock is set by hand, and when no daemon has
/// disciplined the clock for long.
const STA_UNSYNC: i32 = 0x40;

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsTime;

impl TimeSource for OsTime {
    fn wall(&self) -> OffsetDateTime {
        SystemClock.now()
    }

    fn boot(&self) -> Duration {
        let since_boot = clock_gettime(ClockId::Boottime);
        // It begins at zero and only grows.
        let seconds = u64::try_from(since_boot.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(since_boot.tv_nsec).unwrap_or_default();
        Duration::new(seconds, nanos)
    }

    fn is_synchronised(&self) -> bool {
        // No mode is set, so this only reads, which needs no privilege.
        let mut timex = Timex::new();
        // TIME_ERROR is a state beside STA_UNSYNC; a call that a sandbox refuses says nothing good of the
        // clock.
        adjtimex(&mut timex).is_ok() && timex.0.status & STA_UNSYNC == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_runs_and_the_kernel_answers() {
        let before = OsTime.boot();
        assert!(before > Duration::ZERO);
        assert!(OsTime.boot() >= before);
        let mut timex = Timex::new();
        adjtimex(&mut timex).unwrap();
        assert_eq!(OsTime.is_synchronised(), timex.0.status & STA_UNSYNC == 0);
    }
}
