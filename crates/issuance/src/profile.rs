//! Profiles: what a certificate is for, and how long it may live.

use std::fmt;
use std::time::Duration;

use identity::spiffe_id::Role;
use identity::{Reason, duration};

/// Shortest life of any certificate.
pub const MIN_LIFE: Duration = Duration::from_secs(10);
/// Longest life that a profile can be given; within it no date overflows.
const MAX_LIFE: Duration = Duration::from_secs(100 * YEAR);

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// What certificates are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProfileName {
    /// Workloads, and administrators.
    Workload,
    /// Devices; the subject may carry a serialNumber.
    Device,
    /// Servers of Signet.
    Server,
    /// Node agents.
    Agent,
    /// Signing authorities.
    Intermediate,
    /// Roots.
    Root,
}

impl ProfileName {
    /// Every profile.
    pub const ALL: [ProfileName; 6] = [
        ProfileName::Workload,
        ProfileName::Device,
        ProfileName::Server,
        ProfileName::Agent,
        ProfileName::Intermediate,
        ProfileName::Root,
    ];

    /// The word in configuration, metrics and the record.
    pub fn word(self) -> &'static str {
        match self {
            ProfileName::Workload => "workload",
            ProfileName::Device => "device",
            ProfileName::Server => "server",
            ProfileName::Agent => "agent",
            ProfileName::Intermediate => "intermediate",
            ProfileName::Root => "root",
        }
    }

    /// The profile that this word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.word() == word)
    }

    /// The profile for an end entity with such a SPIFFE ID; `None` for a trust domain, which is no end entity.
    pub fn for_role(role: Role) -> Option<Self> {
        match role {
            Role::Workload | Role::Admin => Some(ProfileName::Workload),
            Role::Device => Some(ProfileName::Device),
            Role::Server => Some(ProfileName::Server),
            Role::Agent => Some(ProfileName::Agent),
            Role::Authority => None,
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A profile in force: its lives are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    name: ProfileName,
    life: Duration,
    max_life: Duration,
}

/// Lives that make no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The default life is too short or above the maximum.
    #[error(
        "life {} of profile {profile} is out of range, expected {} to its maxLife {}",
        duration::print(*.life), duration::print(MIN_LIFE), duration::print(*.max_life)
    )]
    Life {
        /// Which profile.
        profile: ProfileName,
        /// Its default life.
        life: Duration,
        /// Its maximum.
        max_life: Duration,
    },
    /// The maximum is beyond any use.
    #[error(
        "maxLife {} of profile {profile} is too long, expected at most {}",
        duration::print(*.max_life), duration::print(MAX_LIFE)
    )]
    MaxLife {
        /// Which profile.
        profile: ProfileName,
        /// Its maximum.
        max_life: Duration,
    },
}

/// A wish for a life that is not granted. Lives are refused, never clipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifeError {
    /// Above the limit.
    #[error("life of {} is too long, expected at most {}", duration::print(*.wish), duration::print(*.limit))]
    TooLong {
        /// What was asked for.
        wish: Duration,
        /// The least of the limits that apply.
        limit: Duration,
    },
    /// Below the least life.
    #[error("life of {} is too short, expected at least {}", duration::print(*.wish), duration::print(MIN_LIFE))]
    TooShort {
        /// What was asked for.
        wish: Duration,
    },
}

impl LifeError {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            LifeError::TooLong { .. } => Reason::LifeTooLong,
            LifeError::TooShort { .. } => Reason::LifeTooShort,
        }
    }
}

impl Profile {
    /// Checks that the lives are in order: 10 s <= life <= max_life <= 100 years.
    pub fn new(name: ProfileName, life: Duration, max_life: Duration) -> Result<Self, ProfileError> {
        if max_life > MAX_LIFE {
            return Err(ProfileError::MaxLife {
                profile: name,
                max_life,
            });
        }
        if life < MIN_LIFE || life > max_life {
            return Err(ProfileError::Life {
                profile: name,
                life,
                max_life,
            });
        }
        Ok(Self { name, life, max_life })
    }

    /// The profile where nothing is configured.
    pub fn default_of(name: ProfileName) -> Self {
        let (life, max_life) = match name {
            ProfileName::Workload => (HOUR, 24 * HOUR),
            ProfileName::Device => (24 * HOUR, 90 * DAY),
            ProfileName::Server | ProfileName::Agent => (24 * HOUR, 7 * DAY),
            ProfileName::Intermediate => (90 * DAY, 5 * YEAR),
            ProfileName::Root => (10 * YEAR, 25 * YEAR),
        };
        Self {
            name,
            life: Duration::from_secs(life),
            max_life: Duration::from_secs(max_life),
        }
    }

    /// Which profile this is.
    pub fn name(&self) -> ProfileName {
        self.name
    }

    /// Life where none is wished for.
    pub fn default_life(&self) -> Duration {
        self.life
    }

    /// Longest life.
    pub fn max_life(&self) -> Duration {
        self.max_life
    }

    /// The life to issue for: the wish if it is within the profile's and the registration's limit, else the registration's default,
    /// else the profile's. A wish out of range is refused; a default above a limit gives way to it.
    pub fn life(
        &self,
        wish: Option<Duration>,
        registration_default: Option<Duration>,
        registration_max: Option<Duration>,
    ) -> Result<Duration, LifeError> {
        let limit = registration_max.map_or(self.max_life, |max| max.min(self.max_life));
        let life = wish.unwrap_or_else(|| registration_default.unwrap_or(self.life).min(limit));
        if life < MIN_LIFE {
            Err(LifeError::TooShort { wish: life })
        } else if life > limit {
            Err(LifeError::TooLong { wish: life, limit })
        } else {
            Ok(life)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_wish_is_granted_or_refused_with_the_limit_named() {
        let workload = Profile::default_of(ProfileName::Workload);
        assert_eq!(workload.life(None, None, None), Ok(seconds(3600)));
        assert_eq!(workload.life(Some(seconds(60)), None, None), Ok(seconds(60)));
        assert_eq!(
            workload.life(Some(seconds(86_400)), None, None),
            Ok(seconds(86_400))
        );
        let long = workload.life(Some(seconds(86_401)), None, None).unwrap_err();
        assert_eq!(long.reason(), Reason::LifeTooLong);
        assert_eq!(
            long.to_string(),
            "life of 86401s is too long, expected at most 1d"
        );
        let registered = workload
            .life(Some(seconds(700)), None, Some(seconds(600)))
            .unwrap_err();
        assert_eq!(
            registered.to_string(),
            "life of 700s is too long, expected at most 10m"
        );
        for short in [0, 9] {
            let error = workload.life(Some(seconds(short)), None, None).unwrap_err();
            assert_eq!(error.reason(), Reason::LifeTooShort);
        }
    }

    #[test]
    fn defaults_give_way_to_limits() {
        let workload = Profile::default_of(ProfileName::Workload);
        assert_eq!(workload.life(None, Some(seconds(60)), None), Ok(seconds(60)));
        assert_eq!(workload.life(None, None, Some(seconds(600))), Ok(seconds(600)));
        assert_eq!(
            workload.life(None, Some(seconds(999_999)), None),
            Ok(seconds(86_400))
        );
    }

    #[test]
    fn lives_out_of_order_make_no_profile() {
        let make = |life, max| Profile::new(ProfileName::Workload, seconds(life), seconds(max));
        assert!(make(10, 10).is_ok());
        assert!(make(9, 10).is_err());
        assert!(make(11, 10).is_err());
        assert!(make(10, u64::MAX).is_err());
        for name in ProfileName::ALL {
            let profile = Profile::default_of(name);
            assert_eq!(Profile::new(name, profile.life, profile.max_life), Ok(profile));
            assert_eq!(ProfileName::from_word(name.word()), Some(name));
        }
    }
}
