//! Notices when files have changed, by asking for their facts now and then: a secret that a cluster mounts is swapped by renaming a
//! folder above it, which no watch on the file itself would see.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files, and what the kernel said of them when they were last looked at.
#[derive(Clone, Debug)]
pub struct Watch {
    files: Vec<(PathBuf, Option<Facts>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Watch {
    /// Looks at the files as they are now. To miss nothing, make it before the files are read.
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        let look = |file: PathBuf| {
            let seen = facts(&file);
            (file, seen)
        };
        Self {
            files: files.into_iter().map(look).collect(),
        }
    }

    /// Whether any file has changed, appeared or gone since it was last looked at.
    pub fn changed(&mut self) -> bool {
        let mut any = false;
        for (file, seen) in &mut self.files {
            let now = facts(file);
            any |= now != *seen;
            *seen = now;
        }
        any
    }
}

fn facts(file: &Path) -> Option<Facts> {
    let metadata = fs::metadata(file).ok()?;
    Some(Facts {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_removed_has_changed_once() {
        let dir = tempfile::tempdir().unwrap();
        let (file, absent) = (dir.path().join("keys"), dir.path().join("absent"));
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(vec![file.clone(), absent.clone()]);
        assert!(!watch.changed());
        fs::write(&file, "other").unwrap();
        assert!(watch.changed() && !watch.changed());
        fs::write(dir.path().join("next"), "other").unwrap();
        fs::rename(dir.path().join("next"), &file).unwrap();
        assert!(watch.changed() && !watch.changed());
        fs::write(&absent, "").unwrap();
        assert!(watch.changed() && !watch.changed());
        fs::remove_file(&file).unwrap();
        assert!(watch.changed() && !watch.changed());
    }
}
