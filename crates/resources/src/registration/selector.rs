//! Selectors: what a node agent sees of a process, `unix:user:details`.

use std::fmt;

/// A selector. Prints as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    kind: SelectorKind,
    value: String,
}

/// What a selector speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SelectorKind {
    /// `unix:uid`, a number.
    UnixUid,
    /// `unix:user`, a name.
    UnixUser,
    /// `unix:gid`, a number.
    UnixGid,
    /// `unix:group`, a name.
    UnixGroup,
    /// `unix:path`, absolute.
    UnixPath,
    /// `unix:sha256` of the program, 64 lower-case hex digits.
    UnixSha256,
    /// `systemd:unit`.
    SystemdUnit,
    /// `container:id`.
    ContainerId,
}

impl Selector {
    pub(super) const EXPECTED: &str =
        "unix:uid|user|gid|group|path|sha256:<value>, systemd:unit:<name> or container:id:<id>";

    pub(super) fn new(text: &str) -> Option<Self> {
        let kind = SelectorKind::ALL.into_iter().find(|kind| {
            text.strip_prefix(kind.word())
                .is_some_and(|rest| rest.starts_with(':'))
        })?;
        let value = &text[kind.word().len() + 1..];
        let valid = match kind {
            SelectorKind::UnixUid | SelectorKind::UnixGid => value
                .parse::<u32>()
                .is_ok_and(|number| number.to_string() == value),
            SelectorKind::UnixPath => value.starts_with('/'),
            SelectorKind::UnixSha256 => {
                value.len() == 64 && value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            }
            SelectorKind::UnixUser
            | SelectorKind::UnixGroup
            | SelectorKind::SystemdUnit
            | SelectorKind::ContainerId => !value.is_empty(),
        };
        valid.then(|| Self {
            kind,
            value: value.to_owned(),
        })
    }

    /// What it speaks of.
    pub fn kind(&self) -> SelectorKind {
        self.kind
    }

    /// What must be seen.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl SelectorKind {
    const ALL: [SelectorKind; 8] = [
        SelectorKind::UnixUid,
        SelectorKind::UnixUser,
        SelectorKind::UnixGid,
        SelectorKind::UnixGroup,
        SelectorKind::UnixPath,
        SelectorKind::UnixSha256,
        SelectorKind::SystemdUnit,
        SelectorKind::ContainerId,
    ];

    /// The words before the value.
    pub fn word(self) -> &'static str {
        match self {
            SelectorKind::UnixUid => "unix:uid",
            SelectorKind::UnixUser => "unix:user",
            SelectorKind::UnixGid => "unix:gid",
            SelectorKind::UnixGroup => "unix:group",
            SelectorKind::UnixPath => "unix:path",
            SelectorKind::UnixSha256 => "unix:sha256",
            SelectorKind::SystemdUnit => "systemd:unit",
            SelectorKind::ContainerId => "container:id",
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.word(), self.value)
    }
}
