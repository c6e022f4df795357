//! What is wrong with a document, and where: file, line, column and field, what was found and what was expected.

use std::fmt;

/// Where a value begins in its text; lines and columns count from 1, and are 0 where a document has no text of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// One fault of a document. Prints `FILE:LINE:COLUMN: spec.life: found "5 parsecs", expected a duration such as 90s, 24h`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceError {
    /// Name of the source as the caller gave it; empty for a document that travelled over the wire.
    pub file: Box<str>,
    /// Line, from 1; 0 where unknown.
    pub line: u32,
    /// Column, from 1; 0 where unknown.
    pub column: u32,
    /// Path of the field, such as `spec.callers[1]`; empty where the text itself is wrong.
    pub field: String,
    /// The value found, quoted if text and cut to a readable length; empty where nothing was found.
    pub found: String,
    /// What would have been right; empty where the message says it all.
    pub expected: String,
    /// The whole sentence.
    pub message: String,
}

impl ResourceError {
    /// More than a text may have of something.
    pub(crate) fn too_large(found: usize, limit: usize, what: &str, file: &str) -> Self {
        let [found, expected] = [format!("{found} {what}"), format!("at most {limit} {what}")];
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            field: String::new(),
            message: format!("found {found}, expected {expected}"),
            found,
            expected,
        }
    }

    /// The word for those who decide by it.
    pub fn reason(&self) -> identity::Reason {
        identity::Reason::ResourceInvalid
    }
}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}:", self.file)?;
        }
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.file.is_empty() || self.line > 0 {
            f.write_str(" ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ResourceError {}

/// Something legal that its author may not have meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Line, from 1; 0 where unknown.
    pub line: u32,
    /// Column, from 1; 0 where unknown.
    pub column: u32,
    /// Path of the field.
    pub field: String,
    /// What it means.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Cuts hostile text to what fits an error message.
pub(crate) fn shorten(text: &str) -> String {
    const READABLE: usize = 100;
    let mut short: String = text.chars().take(READABLE).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}
