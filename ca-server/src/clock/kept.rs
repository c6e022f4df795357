//! What the server knows of the clocks, in its data folder: a restart within one boot goes on with it, so
//! that it ends no dispute. In another boot the boot-time clock begins anew, and the file says nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use identity::clock::witnessed::{Mark, Marks};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

const FILE: &str = "clock.json";
/// The kernel's name for the current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Largest file that is read.
const MAX_BYTES: u64 = 4096;

/// The file of a data folder.
#[derive(Clone, Debug)]
pub struct KeptTime {
    path: PathBuf,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    boot_id: String,
    anchor: Instant,
    agreement: Instant,
}

/// Both clocks in milliseconds: since 1970, and since boot.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Instant {
    wall: i64,
    boot: u64,
}

impl KeptTime {
    /// Of this data folder.
    pub fn of(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join(FILE),
        }
    }

    /// What an earlier process of this boot wrote. A file that cannot be read is as good as none.
    pub fn read(&self) -> Option<Marks> {
        match self.content() {
            Ok(content) => {
                let marks = content.marks();
                marks.filter(|_| boot_id().is_some_and(|boot_id| boot_id == content.boot_id))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the file with the last agreement of the clocks is ignored");
                None
            }
        }
    }

    /// Writes the file anew; nothing where the kernel does not name the boot.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, marks: &Marks) -> Result<(), runtime::atomic::WriteError> {
        let Some(boot_id) = boot_id() else {
            return Ok(());
        };
        let content = Content {
            boot_id,
            anchor: Instant::of(&marks.anchor),
            agreement: Instant::of(&marks.agreement),
        };
        let text = serde_json::json!(content).to_string();
        runtime::atomic::write(&self.path, text.as_bytes(), 0o600)
    }

    fn content(&self) -> io::Result<Content> {
        let mut text = String::new();
        File::open(&self.path)?
            .take(MAX_BYTES)
            .read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Content {
    fn marks(&self) -> Option<Marks> {
        Some(Marks {
            anchor: self.anchor.mark()?,
            agreement: self.agreement.mark()?,
        })
    }
}

impl Instant {
    fn of(mark: &Mark) -> Self {
        let since_1970 = mark.wall - OffsetDateTime::UNIX_EPOCH;
        Self {
            wall: i64::try_from(since_1970.whole_milliseconds()).unwrap_or(i64::MAX),
            boot: u64::try_from(mark.boot.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn mark(&self) -> Option<Mark> {
        let since_1970 = time::Duration::milliseconds(self.wall);
        Some(Mark {
            wall: OffsetDateTime::UNIX_EPOCH.checked_add(since_1970)?,
            boot: Duration::from_millis(self.boot),
        })
    }
}

fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string(BOOT_ID).ok()?;
    let id = text.trim();
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn marks_are_read_as_they_were_written_in_this_boot_and_damage_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptTime::of(folder.path());
        assert_eq!(kept.read(), None);
        let mark = |seconds| Mark {
            wall: datetime!(2026-01-01 12:00 UTC) + time::Duration::seconds(seconds),
            boot: Duration::from_secs(1000),
        };
        let marks = Marks {
            anchor: mark(0),
            agreement: mark(1),
        };
        kept.write(&marks).unwrap();
        assert_eq!(kept.read(), Some(marks));

        let text = std::fs::read_to_string(&kept.path).unwrap();
        let other = text.replace(&boot_id().unwrap(), "another boot");
        for damaged in [&other, &text[..text.len() / 2], ""] {
            std::fs::write(&kept.path, damaged).unwrap();
            assert_eq!(kept.read(), None, "{damaged}");
        }
    }
}
