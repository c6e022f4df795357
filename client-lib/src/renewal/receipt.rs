//! When a certificate was received, by the clocks of this machine and by that of the CA. Everything about its
//! age is computed from differences since then: a machine whose clock is wrong by days renews as often as one
//! whose clock is right. The wall clock serves only to notice that a certificate has expired while the
//! boot-time clock did not run.

use std::time::Duration;

use identity::validity::MAX_BACKDATE;
use identity::{Validity, moment};
use time::OffsetDateTime;

use super::Stage;
use crate::boot_time::{BootTime, Reading};

/// The default share of the life after which a holder renews.
const RENEWAL_SHARE: f64 = 0.5;
/// The bounds of what the CA may ask for instead.
const EARLIEST_SHARE: f64 = 0.1;
const LATEST_SHARE: f64 = 0.8;
/// When a certificate is renewed whose lifetime was clipped to its authority's, as a share of what is left.
const CLIPPED_SHARE: f64 = 0.9;
/// And how long after receipt at least.
const CLIPPED_FLOOR: Duration = Duration::from_secs(10);
/// How much earlier a holder may renew, so that certificates issued together do not come back together.
const JITTER: f64 = 0.1;
/// Between two successful renewals lies at least this part of the life.
const FLOOR: u32 = 10;
/// A certificate is back-dated by its life divided by this, up to [`MAX_BACKDATE`].
const BACKDATE: u32 = 10;
/// The difference between the clocks from which it is reported.
const NOTICED_SKEW: Duration = Duration::from_secs(300);

/// The facts of an answer that say how long its certificate lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// notBefore and notAfter of the leaf.
    pub validity: Validity,
    /// When the CA would like to renew it, by its own clock.
    pub renew_after: Option<OffsetDateTime>,
    /// Whether the authority expires before the life that was requested has passed.
    pub clipped: bool,
    /// The life that was requested.
    pub requested: Option<Duration>,
}

/// When a certificate was received, and how long it lives from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The clocks of this machine at that time.
    pub(crate) at: Reading,
    /// The clock of the CA at that time.
    pub(crate) ca_time: OffsetDateTime,
    /// From then to notAfter.
    pub(crate) life: Duration,
    /// From then to the renewal.
    pub(crate) renew_in: Duration,
}

/// The clocks of this machine and of the CA disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the clock of this machine reads {}, but by the certificate from the CA it is {}; peers and programs on this machine \
     may take a valid certificate for one that has expired or is not yet valid",
    moment(*wall), moment(*ca)
)]
pub struct ClockSkew {
    /// The wall clock of this machine.
    pub wall: OffsetDateTime,
    /// The clock of the CA at the same time.
    pub ca: OffsetDateTime,
}

impl Receipt {
    /// An answer that arrived at `at`. `age` is how long before that its certificate was issued: nothing for
    /// a prompt answer, and up to the age of its key for one that was repeated.
    pub fn new(terms: &Terms, at: Reading, age: Duration) -> Self {
        let total = span(terms.validity);
        let life = total.saturating_sub(backdate(terms));
        let age = age.min(life);
        let share = match terms.renew_after {
            Some(wanted) if !total.is_zero() && !terms.clipped => {
                (wanted - terms.validity.not_before()) / time_of(total)
            }
            _ => RENEWAL_SHARE,
        };
        let left = life - age;
        let renew_in = life
            .mul_f64(share.clamp(EARLIEST_SHARE, LATEST_SHARE))
            .saturating_sub(age);
        let renew_in = if terms.clipped {
            // The authority ends with the certificate, so the next one would expire at the same time; there is another
            // authority later, or none.
            left.mul_f64(CLIPPED_SHARE).max(CLIPPED_FLOOR).min(left)
        } else {
            renew_in.max(left / FLOOR)
        };
        Self {
            at,
            ca_time: terms.validity.not_after() - time_of(left),
            life: left,
            renew_in,
        }
    }

    /// For a certificate whose receipt is unknown: as if it had been received when it was issued, by a clock
    /// that was right, in another boot.
    pub fn assumed(validity: Validity) -> Self {
        let terms = Terms {
            validity,
            renew_after: None,
            clipped: false,
            requested: None,
        };
        let at = Reading {
            wall: validity.not_after() - time_of(span(validity).saturating_sub(backdate(&terms))),
            boot: BootTime::unknown(),
        };
        Self::new(&terms, at, Duration::ZERO)
    }

    /// How long before its arrival at `now` a certificate was issued. The key was first sent `asked` ago,
    /// which bounds it; within that, what is known of the CA's clock decides: an earlier receipt, else the
    /// wall clock.
    pub fn age(terms: &Terms, known: Option<&Receipt>, asked: Duration, now: &Reading) -> Duration {
        let ca_time = known.map_or(now.wall, |known| known.ca_time_at(now));
        let issued = terms.validity.not_before() + time_of(backdate(terms));
        Duration::try_from(ca_time - issued)
            .unwrap_or_default()
            .min(asked)
    }

    /// A receipt that was written down earlier; the renewal is kept within its bounds.
    pub(crate) fn recorded(at: Reading, ca_time: OffsetDateTime, life: Duration, renew_in: Duration) -> Self {
        Self {
            at,
            ca_time,
            life,
            renew_in: renew_in.clamp(life / FLOOR, life),
        }
    }

    /// From receipt to expiry.
    pub fn life(&self) -> Duration {
        self.life
    }

    /// From receipt to renewal, up to a tenth earlier as `jitter` goes from 0.0 to 1.0.
    pub fn renew_in(&self, jitter: f64) -> Duration {
        if self.renew_in == self.life {
            // It is not to be renewed before it expires.
            return self.life;
        }
        let earlier = self.renew_in.mul_f64(1.0 - JITTER * jitter.clamp(0.0, 1.0));
        earlier.max(self.floor())
    }

    /// The shortest time from receipt to the next successful renewal.
    pub fn floor(&self) -> Duration {
        self.life / FLOOR
    }

    /// The time of the CA at receipt, at which the certificate and everything above it was valid.
    pub fn ca_time(&self) -> OffsetDateTime {
        self.ca_time
    }

    /// The time of the CA now, as far as this machine can know it.
    pub fn ca_time_at(&self, now: &Reading) -> OffsetDateTime {
        let elapsed = self.counted(now).or(self.by_wall(now)).unwrap_or_default();
        self.ca_time.saturating_add(time_of(elapsed))
    }

    /// What is left until expiry; `None` where the clocks do not say.
    pub fn left(&self, now: &Reading) -> Option<Duration> {
        let elapsed = self.counted(now).or(self.by_wall(now))?;
        Some(self.life.saturating_sub(elapsed))
    }

    /// Whether enough time has passed since receipt for another success; yes where the clocks do not say.
    pub fn permits_success(&self, now: &Reading) -> bool {
        self.counted(now).is_none_or(|elapsed| elapsed >= self.floor())
    }

    /// What the holder has to do, if the renewal comes `renew_in` after receipt.
    pub fn stage(&self, renew_in: Duration, now: &Reading) -> Stage {
        match (self.counted(now), self.by_wall(now)) {
            (Some(counted), _) if counted > self.life => Stage::Lapsed,
            (Some(counted), _) if counted >= renew_in => Stage::Due,
            // The wall clock moved by more than the life: the machine was stopped without counting it, or the
            // clock was set. The CA knows which; the next receipt starts from the new time.
            (Some(counted), Some(by_wall)) if by_wall > self.life && counted >= self.floor() => Stage::Due,
            (Some(_), _) => Stage::Current,
            (None, Some(by_wall)) if by_wall < renew_in => Stage::Current,
            // Of another boot, and old or from the future: the CA decides whether it can still be renewed.
            (None, _) => Stage::Due,
        }
    }

    /// Whether the holder can use the certificate without asking the CA.
    pub fn is_in_force(&self, validity: Validity, now: &Reading) -> bool {
        match self.counted(now) {
            Some(counted) => counted <= self.life,
            None => {
                self.by_wall(now).is_some_and(|elapsed| elapsed <= self.life) || validity.contains(now.wall)
            }
        }
    }

    /// When the renewal is due, by the wall clock of this machine as it reads now.
    pub fn due_at(&self, renew_in: Duration, now: &Reading) -> OffsetDateTime {
        match self.counted(now).or(self.by_wall(now)) {
            Some(elapsed) => now.wall.saturating_add(time_of(renew_in) - time_of(elapsed)),
            None => now.wall,
        }
    }

    /// How the clocks of this machine and of the CA differ now, if that matters.
    pub fn clock_skew(&self, validity: Validity, now: &Reading) -> Option<ClockSkew> {
        let skew = ClockSkew {
            wall: now.wall,
            ca: self.ca_time_at(now),
        };
        let differs = (skew.wall - skew.ca).unsigned_abs() > NOTICED_SKEW;
        // A short-lived certificate is out of its validity sooner.
        let misleads = validity.contains(skew.ca) && !validity.contains(skew.wall);
        (differs || misleads).then_some(skew)
    }

    /// The time since receipt by the boot-time clock, which cannot be wrong.
    fn counted(&self, now: &Reading) -> Option<Duration> {
        now.boot.since(&self.at.boot)
    }

    /// The time since receipt by the wall clock; `None` if it was set back before that.
    fn by_wall(&self, now: &Reading) -> Option<Duration> {
        Duration::try_from(now.wall - self.at.wall).ok()
    }
}

fn span(validity: Validity) -> Duration {
    Duration::try_from(validity.not_after() - validity.not_before()).unwrap_or_default()
}

/// How long before its issue a certificate begins: a tenth of the life, up to a minute
/// (`Validity::starting`). Of a clipped one the life is the requested one; where that is unknown, the most is
/// assumed, so that it is renewed in time.
fn backdate(terms: &Terms) -> Duration {
    let total = span(terms.validity);
    if terms.clipped {
        let assumed = terms
            .requested
            .map_or(MAX_BACKDATE, |life| (life / BACKDATE).min(MAX_BACKDATE));
        assumed.min(total - total / (BACKDATE + 1))
    } else {
        (total / (BACKDATE + 1)).min(MAX_BACKDATE)
    }
}

/// Lives are far shorter than `time` can hold; what is not is cut.
fn time_of(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
