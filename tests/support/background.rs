//! A program that runs beside the test, its output in a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{run, wait_for};

/// A running program; killed when dropped.
pub struct Background {
    child: Child,
    output: PathBuf,
}

impl Background {
    /// Starts it, with both output streams in the file `output`.
    pub fn start(command: &mut Command, output: &Path) -> Self {
        let file = File::create(output).expect("a file for the output");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .expect("the program starts");
        Self {
            child,
            output: output.to_owned(),
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// The rest of the first line that begins so, once it is there.
    pub fn line(&mut self, beginning: &str) -> String {
        wait_for(beginning, || {
            let text = self.text();
            let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
            let found = complete.lines().find_map(|line| line.strip_prefix(beginning));
            let ended = self.child.try_wait().expect("a child can be asked");
            assert!(
                found.is_some() || ended.is_none(),
                "{ended:?} without {beginning:?}: {text}"
            );
            found.map(str::to_owned)
        })
    }

    /// SIGTERM, then the exit code and all that it wrote.
    pub fn terminate(mut self) -> (i32, String) {
        run(Command::new("kill").arg(self.child.id().to_string()));
        let status = wait_for("the program to end", || {
            self.child.try_wait().expect("a child can be asked")
        });
        (status.code().expect("it ended by itself"), self.text())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
