//! The thread that owns the file. What it cannot write it keeps and tries again, until the file takes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use runtime::logs::AuditLog;

use super::tally::RefusalCount;
use super::{BACKLOG, Decision, Line, Shared, ToJournal, lock};

/// How often a minute that is over is looked for.
const TICK: Duration = Duration::from_secs(1);
/// How long it leaves the queue alone after a look: waking it for each line would cost the server more than the line does.
const LINGER: Duration = Duration::from_millis(5);
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
    to_journal: ToJournal,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, log: AuditLog, to_journal: ToJournal) -> Self {
        Self {
            shared,
            log,
            to_journal,
        }
    }

    /// Writes until it is told to end.
    pub(super) fn run(self, queue: &Receiver<Message>) {
        let shared = Arc::clone(&self.shared);
        loop {
            let first = queue.recv_timeout(TICK);
            let over = lock(&shared.minute).over(shared.clock.now());
            self.counted(over);
            match first {
                Ok(message) => {
                    for message in std::iter::once(message).chain(queue.try_iter()) {
                        if !self.take(message) {
                            return;
                        }
                    }
                    thread::sleep(LINGER);
                }
                // Nothing waits, so all is written.
                Err(RecvTimeoutError::Timeout) => shared.condition.set_ready(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Does what one message says; `false` after the last.
    fn take(&self, message: Message) -> bool {
        match message {
            Message::Line(line) => self.write(&line),
            Message::Counted(counts) => self.counted(counts),
            Message::Reopen => self.reopen(),
            Message::End(end) => {
                let open = lock(&self.shared.minute).close();
                self.counted(open);
                // Whoever waited may have given up.
                let _ = end.send(());
                return false;
            }
        }
        if self.shared.waiting.fetch_sub(1, Ordering::Relaxed) == BACKLOG {
            self.shared.condition.set_ready();
        }
        true
    }

    fn reopen(&self) {
        if let Err(error) = self.log.reopen() {
            tracing::error!(%error, "the audit log cannot be opened again, lines go on to the old file");
        }
    }

    /// A minute is over: each count goes to the journal, and is a line where it says more than the first line did.
    fn counted(&self, counts: Vec<RefusalCount>) {
        for count in counts {
            if count.count > 1 {
                let mut line = Line::new(count.last, Decision::Refused, count.caller.clone());
                line.reason = Some(count.reason);
                line.message = Some(count.message.clone());
                line.count = Some(count.count);
                self.write(&line);
            }
            (self.to_journal)(count);
        }
    }

    fn write(&self, line: &Line) {
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(
                lost,
                "audit lines were lost while the audit log took none; the journal has their certificates"
            );
        }
        while let Err(error) = self.log.write(line) {
            self.shared.stuck.store(true, Ordering::Relaxed);
            self.shared.condition.set_not_ready(format!(
                "the audit log cannot be written: {error}; nothing is issued until it can"
            ));
            if self.shared.closing.load(Ordering::Relaxed) {
                tracing::error!(%error, "an audit line is lost, the server stops");
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
}
