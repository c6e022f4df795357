//! Configuration of the server: the file as it is written ([`Config`]), the same fields as flags and variables ([`ServerArgs`]), and what
//! the server works with ([`Settings`]). A flag beats a variable beats the file beats the default.
//! `docs/CONFIGURATION.md` lists every field with unit and default.

mod addresses;
mod args;
mod defaults;
mod file;
mod providers;
mod settings;
mod values;
mod watch;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use addresses::Addresses;
pub use args::ServerArgs;
pub use defaults::{default_data_dir, default_server_names, unusable_host_name};
pub use file::{
    AuditConfig, AuthenticationConfig, CertificateConfig, Config, CrlConfig, IdFromConfig, JwtConfig,
    LimitsConfig, ListenConfig, LogConfig, LogFormat, LogLevel, MeshConfig, ProfileConfig, ProfilesConfig,
};
pub use settings::{ADMIN_SOCKET, AuditSink, JwtLives, Limits, Mode, Profiles, Settings};
pub use values::{Address, BaseUrl, Life, Namespace, Rate, ServerName, ValueError};
pub use watch::Watch;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself cannot be read.
    #[error("cannot read the configuration file {}: {source}", file.display())]
    Unreadable {
        /// Its path.
        file: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Not YAML, an unknown field, or a value of the wrong form.
    #[error("{}:{line}:{column}: {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong there.
        message: String,
    },
    /// A value that has the right form and breaks a rule.
    #[error("{field}: {why}")]
    Field {
        /// Its path, `profiles.workload.life`.
        field: String,
        /// What is wrong, and what was expected.
        why: String,
    },
    /// A file that a field names is missing or broken.
    #[error("{field}: {}: {why}", file.display())]
    NamedFile {
        /// The field's path, `authentication.jwt[0].jwksFile`.
        field: String,
        /// The file that it names.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl ConfigError {
    /// The file that is wrong: the configuration itself, or one that it names.
    pub fn file(&self) -> Option<&Path> {
        match self {
            ConfigError::Unreadable { file, .. }
            | ConfigError::Syntax { file, .. }
            | ConfigError::NamedFile { file, .. } => Some(file),
            ConfigError::Field { .. } => None,
        }
    }

    /// Line and column in that file, from 1.
    pub fn position(&self) -> Option<(u64, u64)> {
        match self {
            ConfigError::Syntax { line, column, .. } => Some((*line, *column)),
            _ => None,
        }
    }

    /// The path of the field that is wrong.
    pub fn field(&self) -> Option<&str> {
        match self {
            ConfigError::Field { field, .. } | ConfigError::NamedFile { field, .. } => Some(field),
            _ => None,
        }
    }
}

/// Reads a file of at most `limit` bytes; more is an error, so that a wrong path to a device or a log cannot fill the memory.
fn read_limited(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let more = limit as u64 + 1;
    File::open(path)?.take(more).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
