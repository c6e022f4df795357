//! Two outputs that never mix: logs, for people, on stderr; and audit lines, for machines that keep them, one JSON object a line, in a
//! file of their own or on stdout. Logs never hold up the process; audit lines do, as an audit must.

mod audit;
mod stderr;

pub use audit::{AuditLines, AuditLog};
pub use stderr::{flush, lost};

use std::io::{self, IsTerminal};
use std::str::FromStr;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The variable that holds the level where no flag does.
pub const VARIABLE: &str = "SIGNET_LOG";

const DEFAULT_LEVEL: &str = "info";

/// Libraries for which every frame and handshake is worth a line at `debug`; there they stay at `info`, at `trace` they speak.
const CHATTY: &str = "h2=info,hyper=info,hyper_util=info,rustls=info,tonic=info,tower=info";

/// What a line of the log looks like (`--log-format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One line for people, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a format.
    #[error("log format {0:?} is unknown, expected text or json")]
    Format(String),
    /// Not a level.
    #[error(
        "log level {found:?} is wrong ({why}), expected error, warn, info, debug or trace, or pairs such as info,ca_server=debug"
    )]
    Level {
        /// The text.
        found: String,
        /// What the parser says.
        why: String,
    },
    /// The process has a log already.
    #[error("logging was started twice, expected one start in each process")]
    Twice,
    /// The system has no room for the thread that writes it.
    #[error("cannot start the thread of the log: {0}")]
    Thread(#[source] io::Error),
}

impl FromStr for Format {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(LogError::Format(text.chars().take(100).collect())),
        }
    }
}

/// Sends the log of this process to stderr, panics included. `level` is what the flag said; without it
/// `SIGNET_LOG` decides, without that `info`. A thread writes it: call [`flush`] before the process ends.
pub fn start(format: Format, level: Option<&str>) -> Result<(), LogError> {
    let from_variable = std::env::var(VARIABLE).ok();
    let level = level.or(from_variable.as_deref()).unwrap_or(DEFAULT_LEVEL);
    // The convention of no-color.org: any value that is not empty.
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let lines = stderr::Lines::of_process(format).map_err(LogError::Thread)?;
    let subscriber = subscriber(format, level, colours, lines.clone())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    lines.log_panics();
    Ok(())
}

fn subscriber<W>(
    format: Format,
    level: &str,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let directives = match level {
        "debug" => format!("{level},{CHATTY}"),
        _ => level.to_owned(),
    };
    let filter = EnvFilter::try_new(directives).map_err(|error| LogError::Level {
        found: level.chars().take(100).collect(),
        why: error.to_string(),
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // To complain on stderr of a line that cannot be formatted would wait for a reader of stderr.
        .log_internal_errors(false)
        .with_ansi(colours);
    Ok(match format {
        Format::Text => Box::new(builder.compact().with_target(false).finish()),
        Format::Json => Box::new(builder.json().flatten_event(true).finish()),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the log holds after `event`.
    pub(crate) fn logged(format: Format, level: &str, event: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(format, level, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, event);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_is_one_line_with_level_message_and_fields() {
        let text = logged(Format::Text, "info", || tracing::warn!(port = 15012, "listening"));
        assert_eq!(text.lines().count(), 1);
        for part in ["WARN", "listening", "port=15012"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn debug_is_about_our_own_work_and_trace_about_everything() {
        let events = || {
            tracing::debug!("a decision");
            tracing::debug!(target: "h2::codec", "a frame");
        };
        let debug = logged(Format::Text, "debug", events);
        assert!(
            debug.contains("a decision") && !debug.contains("a frame"),
            "{debug}"
        );
        let trace = logged(Format::Text, "trace", events);
        assert!(
            trace.contains("a decision") && trace.contains("a frame"),
            "{trace}"
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = logged(Format::Json, "info", || {
            tracing::info!(port = 15012, "listening");
            tracing::info!("two\nlines");
        });
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(
            (&lines[0]["message"], &lines[0]["port"]),
            (&"listening".into(), &15012.into())
        );
        assert_eq!(lines[1]["message"], "two\nlines");
    }

    #[test]
    fn the_level_decides_what_is_written() {
        let events = || {
            tracing::debug!("small");
            tracing::error!("large");
        };
        assert!(!logged(Format::Text, "info", events).contains("small"));
        assert!(logged(Format::Text, "debug", events).contains("small"));
        assert!(!logged(Format::Text, "off", events).contains("large"));
    }

    #[test]
    fn control_characters_of_a_caller_do_not_reach_the_terminal() {
        let text = logged(Format::Text, "info", || {
            tracing::info!(name = "\u{1b}[2J", "asked \u{1b}[2J")
        });
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn a_wrong_level_or_format_is_told_with_what_is_expected() {
        let error = subscriber(Format::Text, "a=b=c", false, io::sink)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("\"a=b=c\"") && error.contains("expected error, warn"),
            "{error}"
        );
        let error = "xml".parse::<Format>().unwrap_err().to_string();
        assert!(
            error.contains("\"xml\"") && error.contains("text or json"),
            "{error}"
        );
    }
}
