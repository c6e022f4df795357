//! The thread that owns the file. What it cannot write it keeps and tries again, until the file takes it.

use std::iter;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use runtime::logs::{AuditLines, AuditLog};

use super::tally::RefusalCount;
use super::{BACKLOG, Decision, Line, Shared, ToJournal, lock};

/// How often a minute that is over is looked for.
const TICK: Duration = Duration::from_secs(1);
/// How long it leaves the queue alone after a look: waking it for each line would cost the server more than the line does.
const LINGER: Duration = Duration::from_millis(5);
/// Most messages that are taken between two writes.
const BATCH: usize = 1024;
/// How soon a line that was not taken is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// What is handed to the thread.
pub(super) enum Message {
    Line(Box<Line>),
    Counted(Vec<RefusalCount>),
    Reopen,
    /// Write what waits, say so, and end.
    End(SyncSender<()>),
}

/// The state of the thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    log: AuditLog,
    lines: AuditLines,
    to_journal: ToJournal,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, log: AuditLog, to_journal: ToJournal) -> Self {
        Self {
            shared,
            log,
            lines: AuditLines::default(),
            to_journal,
        }
    }

    /// Writes until it is told to end.
    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        let shared = Arc::clone(&self.shared);
        loop {
            let first = queue.recv_timeout(TICK);
            let over = lock(&shared.minute).over(shared.clock.now());
            self.counted(over);
            match first {
                Ok(first) => {
                    if let Some(ended) = self.take(iter::once(first).chain(queue.try_iter().take(BATCH))) {
                        return self.end(&ended);
                    }
                    thread::sleep(LINGER);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.flush();
                    // Nothing waits, so all is written.
                    shared.condition.set_ready();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Does what the messages say, with one write for their lines. Returns whom to tell if one of them says to end.
    fn take(&mut self, messages: impl Iterator<Item = Message>) -> Option<SyncSender<()>> {
        let mut taken = 0;
        for message in messages {
            match message {
                Message::Line(line) => self.add(&line),
                Message::Counted(counts) => self.counted(counts),
                Message::Reopen => {
                    // What was decided before belongs into the old file.
                    self.flush();
                    self.reopen();
                }
                Message::End(ended) => return Some(ended),
            }
            taken += 1;
        }
        self.flush();
        self.done(taken);
        None
    }

    /// So many messages do not wait any more.
    fn done(&self, messages: usize) {
        let waited = self.shared.waiting.fetch_sub(messages, Ordering::Relaxed);
        if waited >= BACKLOG && waited - messages < BACKLOG {
            self.shared.condition.set_ready();
        }
    }

    fn end(mut self, ended: &SyncSender<()>) {
        let open = lock(&self.shared.minute).close();
        self.counted(open);
        self.flush();
        // Whoever waited may have given up.
        let _ = ended.send(());
    }

    fn reopen(&self) {
        if let Err(error) = self.log.reopen() {
            tracing::error!(%error, "the audit log cannot be opened again, lines go on to the old file");
        }
    }

    /// A minute is over: each count goes to the journal, and is a line where it says more than the first line did.
    fn counted(&mut self, counts: Vec<RefusalCount>) {
        for count in counts {
            if count.count > 1 {
                let mut line = Line::new(count.last, Decision::Refused, count.caller.clone());
                line.reason = Some(count.reason);
                line.message = Some(count.message.clone());
                line.count = Some(count.count);
                self.add(&line);
            }
            (self.to_journal)(count);
        }
    }

    fn add(&mut self, line: &Line) {
        if let Err(error) = self.lines.push(line) {
            tracing::error!(%error, "an audit line cannot be put into words");
        }
    }

    /// Writes the lines that wait, and does not give up while the server runs.
    fn flush(&mut self) {
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(
                lost,
                "audit lines were lost while the audit log took none; the journal has their certificates"
            );
        }
        while let Err(error) = self.write() {
            self.shared.stuck.store(true, Ordering::Relaxed);
            self.shared.condition.set_not_ready(format!(
                "the audit log cannot be written: {error}; nothing is issued until it can"
            ));
            if self.shared.closing.load(Ordering::Relaxed) {
                tracing::error!(%error, "audit lines are lost, the server stops");
                return;
            }
            thread::sleep(RETRY);
            // Another file may stand there by now.
            self.reopen();
        }
        if self.shared.stuck.swap(false, Ordering::Relaxed) {
            self.shared.condition.set_ready();
        }
    }

    fn write(&mut self) -> std::io::Result<()> {
        self.shared.pulse.begin(0);
        let written = self.log.write_lines(&mut self.lines);
        self.shared.pulse.end();
        written
    }
}
