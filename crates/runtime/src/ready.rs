//! `ready.json`: tells scripts that the program is ready, and where to reach it. It appears by rename, complete, and goes at stop.

use crate::atomic::{self, WriteError};
use crate::instance::InstanceFolder;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Its name in the data folder.
pub const FILE_NAME: &str = "ready.json";

/// Why the file is not there.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// The facts have no JSON form.
    #[error("cannot write {FILE_NAME}: {0}; expected facts that JSON can hold")]
    Json(#[from] serde_json::Error),
    /// The disk refused.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The file while it is there. Removed at drop, so keep it until the drain begins.
#[derive(Debug)]
pub struct ReadyFile {
    path: PathBuf,
}

impl ReadyFile {
    /// Writes `facts` as one line of JSON, readable by all.
    pub fn publish(folder: &InstanceFolder, facts: &impl Serialize) -> Result<Self, ReadyError> {
        let path = folder.join(FILE_NAME);
        write(&path, facts)?;
        Ok(Self { path })
    }

    /// Puts other facts in their place, by rename.
    pub fn rewrite(&self, facts: &impl Serialize) -> Result<(), ReadyError> {
        write(&self.path, facts)
    }
}

fn write(path: &Path, facts: &impl Serialize) -> Result<(), ReadyError> {
    let mut text = serde_json::to_vec(facts)?;
    text.push(b'\n');
    Ok(atomic::write_fleeting(path, &text, 0o644)?)
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the file that says ready; its pid tells that it is old");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_file_holds_the_facts_and_goes_at_drop() {
        let dir = tempfile::tempdir().unwrap();
        let folder = InstanceFolder::claim(dir.path()).unwrap();
        let facts = json!({ "version": "0.1.0", "pid": 7, "grpc": "127.0.0.1:15012" });
        let ready = ReadyFile::publish(&folder, &facts).unwrap();
        let path = dir.path().join("ready.json");
        let found: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(found, facts);
        ready.rewrite(&json!({ "pid": 8 })).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"pid\":8}\n");
        drop(ready);
        assert!(!path.exists());
    }
}
