//! The audit log: one JSON object a line, appended. Log rotation renames the file and asks to open it again
//! (SIGHUP). It is not the record: that is the journal, which is chained and synced.

use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Who may read it: the owner and its group. The lines name identities and callers.
const MODE: u32 = 0o640;

/// Where audit lines go. Share it in an `Arc`.
#[derive(Debug)]
pub struct AuditLog {
    /// Absent for stdout.
    path: Option<PathBuf>,
    sink: Mutex<Sink>,
}

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub struct AuditLines(Vec<u8>);

#[derive(Debug)]
struct Sink {
    file: File,
    /// The last write ended within a line: the next begins on a line of its own.
    torn: bool,
}

impl AuditLog {
    /// Appends to the file at `path`, made with mode 0640 if absent.
    pub fn file(path: &Path) -> io::Result<Self> {
        Ok(Self {
            sink: Mutex::new(Sink::new(open(path)?)),
            path: Some(path.to_owned()),
        })
    }

    /// Writes to the process's stdout, past the buffer of `std`.
    pub fn stdout() -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self {
            sink: Mutex::new(Sink::new(file)),
            path: None,
        })
    }

    /// Writes one line; `line` must be an object. See [`AuditLog::write_lines`].
    pub fn write(&self, line: &impl Serialize) -> io::Result<()> {
        let mut lines = AuditLines::default();
        lines.push(line)?;
        self.write_lines(&mut lines)
    }

    /// Writes lines and takes out those that are written: all, or after an error those before it. The call blocks while the kernel
    /// takes them: no time for a file, but a reader of stdout that stands still stops the writer, too, as an audit must. After an
    /// error the next line may be there in part; written again it is whole and stands on a line of its own.
    pub fn write_lines(&self, lines: &mut AuditLines) -> io::Result<()> {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        if sink.torn && !lines.is_empty() {
            sink.file.write_all(b"\n")?;
            sink.torn = false;
        }
        let mut written = 0;
        let mut outcome = Ok(());
        while written < lines.0.len() && outcome.is_ok() {
            match sink.file.write(&lines.0[written..]) {
                Ok(0) => outcome = Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => outcome = Err(e),
            }
        }
        let whole = lines.0[..written]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        sink.torn = whole < written;
        lines.0.drain(..whole);
        outcome
    }

    /// Opens the file at its path again; stdout stays as it is. After an error the lines go on to the old file.
    pub fn reopen(&self) -> io::Result<()> {
        if let Some(path) = &self.path {
            let fresh = Sink::new(open(path)?);
            *self.sink.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }
}

impl AuditLines {
    /// Adds a line; `line` must be an object.
    pub fn push(&mut self, line: &impl Serialize) -> io::Result<()> {
        let start = self.0.len();
        let added = serde_json::to_writer(&mut self.0, line).map_err(io::Error::from);
        let is_object = self.0.get(start) == Some(&b'{');
        if added.is_err() || !is_object {
            self.0.truncate(start);
        }
        added?;
        if !is_object {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an audit line is not a JSON object, expected one",
            ));
        }
        self.0.push(b'\n');
        Ok(())
    }

    /// Whether all are written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Sink {
    fn new(file: File) -> Self {
        Self { file, torn: false }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::fs;

    fn lines(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn each_write_is_one_line_after_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        for serial in 1..=2 {
            let log = AuditLog::file(&path).unwrap();
            log.write(&json!({ "serial": serial, "reason": "two\nlines" }))
                .unwrap();
        }
        let serials: Vec<_> = lines(&path).iter().map(|line| line["serial"].clone()).collect();
        assert_eq!(serials, [1, 2]);
    }

    #[test]
    fn lines_of_many_threads_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let log = AuditLog::file(&path).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    for _ in 0..250 {
                        log.write(&json!({ "thread": thread, "filler": "x".repeat(300) }))
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(lines(&path).len(), 1000);
    }

    #[test]
    fn after_a_rotation_and_a_reopen_lines_go_to_the_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("audit.log"), dir.path().join("audit.log.1"));
        let log = AuditLog::file(&path).unwrap();
        log.write(&json!({ "n": 1 })).unwrap();
        fs::rename(&path, &rotated).unwrap();
        log.write(&json!({ "n": 2 })).unwrap();
        log.reopen().unwrap();
        log.write(&json!({ "n": 3 })).unwrap();
        assert_eq!(lines(&rotated), [json!({ "n": 1 }), json!({ "n": 2 })]);
        assert_eq!(lines(&path), [json!({ "n": 3 })]);
    }

    #[test]
    fn a_reopen_that_fails_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, moved) = (dir.path().join("logs"), dir.path().join("moved"));
        fs::create_dir(&folder).unwrap();
        let log = AuditLog::file(&folder.join("audit.log")).unwrap();
        fs::rename(&folder, &moved).unwrap();
        log.reopen().unwrap_err();
        log.write(&json!({ "n": 1 })).unwrap();
        assert_eq!(lines(&moved.join("audit.log")).len(), 1);
    }

    #[test]
    fn a_failed_write_is_told_and_the_next_line_is_whole() {
        // /dev/full takes nothing.
        let log = AuditLog::file(Path::new("/dev/full")).unwrap();
        let line = json!({ "n": 1 });
        assert_eq!(log.write(&line).unwrap_err().kind(), io::ErrorKind::StorageFull);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        fs::write(&path, "{\"half").unwrap();
        *log.sink.lock().unwrap() = Sink {
            file: open(&path).unwrap(),
            torn: true,
        };
        log.write(&line).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"half\n{\"n\":1}\n");
    }

    #[test]
    fn lines_that_were_not_taken_wait_for_a_file_that_takes_them() {
        let log = AuditLog::file(Path::new("/dev/full")).unwrap();
        let mut lines_waiting = AuditLines::default();
        for n in 1..=3 {
            lines_waiting.push(&json!({ "n": n })).unwrap();
        }
        log.write_lines(&mut lines_waiting).unwrap_err();
        assert!(!lines_waiting.is_empty());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        log.sink.lock().unwrap().file = open(&path).unwrap();
        log.write_lines(&mut lines_waiting).unwrap();
        assert!(lines_waiting.is_empty());
        assert_eq!(lines(&path), [1, 2, 3].map(|n| json!({ "n": n })));
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        let log = AuditLog::file(Path::new("/dev/null")).unwrap();
        log.write(&json!([1])).unwrap_err();
    }
}
