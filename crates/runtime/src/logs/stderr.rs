//! The lines of the log on their way to stderr. A thread of its own writes them, so that a terminal or
//! collector that does not read stderr holds up nobody else: lines beyond [`BUFFER_BYTES`] are dropped and
//! counted.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::Format;

/// Lines that are held while stderr is not read.
const BUFFER_BYTES: usize = 4 << 20;
/// Pause where stderr is non-blocking and full.
const RETRY: Duration = Duration::from_millis(50);
/// How long a panic may wait for its line.
const PANIC_FLUSH: Duration = Duration::from_millis(100);

/// The one of this process, once [`super::start`] was called.
static OF_PROCESS: OnceLock<Lines> = OnceLock::new();

/// Lines that a thread writes. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    format: Format,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// The thread has taken lines and not written them yet.
    is_writing: bool,
    /// Lines dropped since the last one that was accepted.
    dropped: u64,
    /// Lines dropped in all.
    lost: u64,
}

impl Lines {
    /// Begins to write to stderr, panics included. The second call in a process returns the lines of the
    /// first.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub(super) fn of_process(format: Format) -> io::Result<Self> {
        if let Some(lines) = OF_PROCESS.get() {
            return Ok(lines.clone());
        }
        let lines = Self(Arc::new(Shared {
            format,
            ..Shared::default()
        }));
        lines.write_to(io::stderr())?;
        Ok(OF_PROCESS.get_or_init(|| lines).clone())
    }

    /// The default hook writes to stderr itself, and would wait for a reader before anything else learns of
    /// the panic.
    pub(super) fn log_panics(&self) {
        let lines = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            lines.add(&lines.notice(&describe(panic)));
            lines.flush(PANIC_FLUSH);
        }));
    }

    fn write_to(&self, mut output: impl Write + Send + 'static) -> io::Result<()> {
        let lines = self.clone();
        let run = move || {
            loop {
                let batch = lines.take();
                write(&mut output, &batch);
            }
        };
        thread::Builder::new().name("log".to_owned()).spawn(run).map(drop)
    }

    /// Waits for lines.
    fn take(&self) -> Vec<u8> {
        let mut state = self.state();
        state.is_writing = false;
        self.0.changed.notify_all();
        while state.waiting.is_empty() {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_writing = true;
        std::mem::take(&mut state.waiting)
    }

    /// Adds a whole line, or drops it. Never waits for the output.
    fn add(&self, line: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() + line.len() > BUFFER_BYTES {
            state.dropped += 1;
            state.lost += 1;
            return;
        }
        if state.dropped > 0 {
            let dropped = std::mem::take(&mut state.dropped);
            let notice = format!("{dropped} lines of the log were dropped here, as stderr was not read");
            state.waiting.extend_from_slice(&self.notice(&notice));
        }
        state.waiting.extend_from_slice(line);
        self.0.changed.notify_all();
    }

    /// A line of the log that is no event.
    fn notice(&self, message: &str) -> Vec<u8> {
        let line = match self.0.format {
            Format::Text => message.to_owned(),
            Format::Json => json!({ "level": "ERROR", "message": message }).to_string(),
        };
        (line + "\n").into_bytes()
    }

    /// Waits until all lines are written, for at most `limit`.
    fn flush(&self, limit: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        let state = self.state();
        drop(self.0.changed.wait_timeout_while(state, limit, is_busy));
    }

    fn lost(&self) -> u64 {
        self.state().lost
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the log is written, for at most `limit`: before a process ends.
pub fn flush(limit: Duration) {
    if let Some(lines) = OF_PROCESS.get() {
        lines.flush(limit);
    }
}

/// How many lines were dropped as stderr was not read.
pub fn lost() -> u64 {
    OF_PROCESS.get().map_or(0, Lines::lost)
}

/// What stderr does not take is lost: there is no other place to complain of it.
fn write(output: &mut impl Write, mut batch: &[u8]) {
    while !batch.is_empty() {
        match output.write(batch) {
            Ok(0) => return,
            Ok(written) => batch = &batch[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(_) => return,
        }
    }
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => format!("thread '{name}' {panic}\n{backtrace}"),
        _ => format!("thread '{name}' {panic}"),
    }
}

/// Of one event.
pub(super) struct LineWriter<'l>(&'l Lines);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'l> MakeWriter<'l> for Lines {
    type Writer = LineWriter<'l>;

    fn make_writer(&'l self) -> Self::Writer {
        LineWriter(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    const SOON: Duration = Duration::from_secs(30);

    /// Takes one batch for each permission, and hands it on.
    struct Held {
        permitted: Receiver<()>,
        written: SyncSender<Vec<u8>>,
    }

    impl Write for Held {
        fn write(&mut self, batch: &[u8]) -> io::Result<usize> {
            self.permitted.recv().map_err(io::Error::other)?;
            self.written.send(batch.to_vec()).map_err(io::Error::other)?;
            Ok(batch.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_is_not_read_holds_up_no_line_and_the_dropped_ones_are_counted() {
        let (permit, permitted) = sync_channel(8);
        let (written, batches) = sync_channel(8);
        let lines = Lines::default();
        lines.write_to(Held { permitted, written }).unwrap();
        let line = vec![b'x'; BUFFER_BYTES / 4];
        // The thread may have taken one batch already; the buffer holds four lines more.
        for _ in 0..20 {
            lines.add(&line);
        }
        let lost = lines.lost();
        assert!((12..=16).contains(&lost), "{lost}");
        lines.flush(Duration::from_millis(20));

        let mut text = Vec::new();
        for _ in 0..2 {
            permit.send(()).unwrap();
            text.extend(batches.recv_timeout(SOON).unwrap());
            if text.len() == 4 * line.len() {
                break;
            }
        }
        lines.add(b"afterwards\n");
        permit.send(()).unwrap();
        let last = String::from_utf8(batches.recv_timeout(SOON).unwrap()).unwrap();
        assert!(last.starts_with(&format!("{lost} lines of the log")), "{last}");
        assert!(last.ends_with("afterwards\n"), "{last}");
        lines.flush(SOON);
        assert_eq!(lines.lost(), lost);
    }

    #[test]
    fn lines_are_written_whole_in_their_order_before_a_flush_returns() {
        let (permit, permitted) = sync_channel(1024);
        let (written, batches) = sync_channel(1024);
        let lines = Lines::default();
        lines.write_to(Held { permitted, written }).unwrap();
        let expected: Vec<String> = (0..100).map(|number| format!("line {number}\n")).collect();
        for line in &expected {
            permit.send(()).unwrap();
            lines.add(line.as_bytes());
        }
        lines.flush(SOON);
        let text: Vec<u8> = batches.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(text).unwrap(), expected.concat());
    }
}
