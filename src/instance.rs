//! Finds the server of this machine: its folder by `--data`, then `SIGNET_DATA`, then the default, and in it `admin.sock`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use identity::Reason;
use serde::Deserialize;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::cli::Global;
use crate::failure::{Failure, Place};

/// How long the server is given for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// The folder of an instance, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    dir: PathBuf,
    found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Flag,
    Variable,
    Default,
}

/// What verbs read of `ready.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ready {
    pub(crate) trust_domain: String,
    pub(crate) root_namespace: String,
    pub(crate) fingerprint: Option<String>,
    pub(crate) grpc: String,
    pub(crate) metrics: String,
}

impl Instance {
    pub(crate) fn locate(global: &Global) -> Result<Self, Failure> {
        let variable = std::env::var_os("SIGNET_DATA").filter(|value| !value.is_empty());
        Self::choose(
            global.data.clone(),
            variable.map(PathBuf::from),
            ca_server::config::default_data_dir(),
        )
        .ok_or_else(|| Failure::usage("no data folder is known: HOME is not set, expected --data DIR"))
    }

    fn choose(flag: Option<PathBuf>, variable: Option<PathBuf>, default: Option<PathBuf>) -> Option<Self> {
        let candidates = [
            (flag, Found::Flag),
            (variable, Found::Variable),
            (default, Found::Default),
        ];
        candidates
            .into_iter()
            .find_map(|(dir, found)| Some(Self { dir: dir?, found }))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("admin.sock")
    }

    /// Whether a server answers there.
    pub(crate) async fn is_served(&self) -> bool {
        UnixStream::connect(self.socket()).await.is_ok()
    }

    /// A connection as administrator.
    pub(crate) async fn connect(&self) -> Result<Channel, Failure> {
        let socket = self.socket();
        // Dialled once by hand, so that the system's own error is told.
        UnixStream::connect(&socket)
            .await
            .map_err(|e| self.unreachable(&e))?;
        let dial = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://admin.sock")
            .timeout(ANSWER_TIME)
            .connect_with_connector(dial)
            .await
            .map_err(|e| {
                Failure::new(
                    Reason::NotReady,
                    format!("no answer at {}: {e}", self.socket().display()),
                )
            })
    }

    fn unreachable(&self, error: &std::io::Error) -> Failure {
        let socket = self.socket();
        let message = format!("no server at {} ({self}): {error}", socket.display());
        let hint = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "whoever may open the socket is administrator: run this as the user of the server".to_owned()
            }
            _ => format!(
                "start one with `signet up --data {}`, or name its folder with --data",
                self.dir.display()
            ),
        };
        Failure::new(Reason::NotReady, message)
            .hint(hint)
            .at(Place::of_file(&socket))
    }

    /// What a running server says of itself.
    pub(crate) fn ready(&self) -> Result<Ready, Failure> {
        let path = self.dir.join("ready.json");
        let text = std::fs::read(&path).map_err(|e| {
            let message = format!("server is not ready: {} ({self}): {e}", path.display());
            Failure::new(Reason::NotReady, message)
                .hint(format!(
                    "start it with `signet up --data {}`, or name its folder with --data",
                    self.dir.display()
                ))
                .at(Place::of_file(&path))
        })?;
        serde_json::from_slice(&text).map_err(|e| Failure::content(&path, e))
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.found {
            Found::Flag => "folder from --data",
            Found::Variable => "folder from SIGNET_DATA",
            Found::Default => "the default folder; neither --data nor SIGNET_DATA is given",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_variable_before_the_default() {
        let path = |text: &str| Some(PathBuf::from(text));
        for (flag, variable, expected) in [
            (path("/f"), path("/v"), "/f"),
            (None, path("/v"), "/v"),
            (None, None, "/d"),
        ] {
            let instance = Instance::choose(flag, variable, path("/d")).unwrap();
            assert_eq!(instance.dir(), Path::new(expected));
        }
        assert_eq!(Instance::choose(None, None, None), None);
    }

    #[tokio::test]
    async fn an_absent_server_is_told_with_the_path_how_it_was_found_and_what_to_do() {
        let instance = Instance::choose(Some("/nowhere/at/all".into()), None, None).unwrap();
        let text = instance.connect().await.unwrap_err().text();
        for part in [
            "/nowhere/at/all/admin.sock",
            "--data",
            "signet up --data /nowhere/at/all",
            "NOT_READY",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
