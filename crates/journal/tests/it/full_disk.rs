//! A file that cannot grow, as on a full disk: the append fails in the middle of its write, nothing of it stays, and the
//! journal goes on when there is room. The limit is the system's own on file sizes, in a process of its own.

use std::env;
use std::path::Path;
use std::process::Command;

use journal::{Journal, JournalError, Record, verify};

use crate::support::{ONE_SEGMENT, append_to, options, record, segments, stored};

const FOLDER: &str = "JOURNAL_TEST_LIMITED_FOLDER";
/// `ulimit -f` counts blocks of 512 bytes.
const LIMIT_BLOCKS: &str = "64";
const LIMIT_BYTES: usize = 64 * 512;

#[test]
fn an_append_without_room_fails_whole_and_the_next_one_with_room_succeeds() {
    if let Some(folder) = env::var_os(FOLDER) {
        return append_with_limit(Path::new(&folder));
    }
    let dir = tempfile::tempdir().unwrap();
    // SIGXFSZ would end the process; ignored, the write fails as on a full disk.
    let script = format!("trap '' XFSZ; ulimit -f {LIMIT_BLOCKS}; exec \"$0\" \"$@\"");
    let name = "full_disk::an_append_without_room_fails_whole_and_the_next_one_with_room_succeeds";
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(env::current_exe().unwrap())
        .args(["--exact", name])
        .env(FOLDER, dir.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let verified = verify(dir.path(), None).unwrap();
    assert_eq!((verified.records, verified.torn), (4, None));
}

fn append_with_limit(dir: &Path) {
    let mut journal = Journal::open(dir, options(ONE_SEGMENT)).unwrap().journal;
    append_to(&mut journal, 2, 1);
    let length = segments(dir)[0].metadata().unwrap().len();
    for _ in 0..2 {
        let long = Record {
            payload: vec![1; LIMIT_BYTES],
            ..record(3)
        };
        let error = journal.append(&[record(3), long]).unwrap_err();
        assert!(
            matches!(error, JournalError::Io { action: "write", .. }),
            "{error}"
        );
        assert_eq!(journal.reader().head().position, 2);
        assert_eq!(segments(dir)[0].metadata().unwrap().len(), length);
    }
    append_to(&mut journal, 4, 2);
    assert_eq!(journal.reader().read(3).unwrap(), Some(stored(3)));
    journal.close().unwrap();
    assert!(Journal::open(dir, options(ONE_SEGMENT)).unwrap().clean);
}
