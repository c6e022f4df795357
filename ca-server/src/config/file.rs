//! The configured form: the YAML file as it is written. Every field may be absent; `settings` fills and judges them.

use std::path::{Path, PathBuf};

use identity::TrustDomain;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::values::{Address, BaseUrl, Life, Namespace, Rate, ServerName, text, texts};

/// Largest configuration file that is parsed, in bytes.
const MAX_FILE_BYTES: usize = 1 << 20;

/// The whole file. Unknown and repeated fields are refused.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Trust domain of the identities issued here; fixed at the first start. Default `example.org`.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<TrustDomain>,
    /// Folder of this instance. Default `/var/lib/signet` for root, else `$XDG_STATE_HOME/signet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// DNS names and IP addresses of the server. Default localhost, 127.0.0.1, ::1 and the host name.
    #[serde(with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub server_names: Vec<ServerName>,
    /// Where it listens.
    pub listen: ListenConfig,
    /// Lives of what it issues.
    pub profiles: ProfilesConfig,
    /// Whose proofs it takes beside its own.
    pub authentication: AuthenticationConfig,
    /// The mesh.
    pub mesh: MeshConfig,
    /// What it takes at once.
    pub limits: LimitsConfig,
    /// Certificate revocation lists.
    pub crl: CrlConfig,
    /// The log for people.
    pub log: LogConfig,
    /// The audit log.
    pub audit: AuditConfig,
}

/// Addresses as `ADDR:PORT`; port 0 takes a free one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ListenConfig {
    /// gRPC over TLS 1.3. Default port 15012.
    #[serde(with = "text")]
    pub grpc: Option<Address>,
    /// HTTPS. Default port 8443.
    #[serde(with = "text")]
    pub https: Option<Address>,
    /// Plain HTTP for CRLs and authority certificates. Default port 8080.
    #[serde(with = "text")]
    pub crl: Option<Address>,
    /// The dashboard. Default 127.0.0.1:20001.
    #[serde(with = "text")]
    pub dashboard: Option<Address>,
    /// Metrics and probes. Default 127.0.0.1:15014.
    #[serde(with = "text")]
    pub metrics: Option<Address>,
}

/// One entry for each profile.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProfilesConfig {
    /// Certificates of workloads and administrators. Default 1h, at most 24h.
    pub workload: ProfileConfig,
    /// Certificates of devices. Default 24h, at most 90d.
    pub device: ProfileConfig,
    /// The server's own certificate. Default 24h, at most 7d.
    pub server: ProfileConfig,
    /// Certificates of node agents. Default 24h, at most 7d.
    pub agent: ProfileConfig,
    /// Signing authorities that the server makes itself. Default 90d, at most 5y.
    pub intermediate: ProfileConfig,
    /// JWT-SVIDs. Default 5m, at most 1h.
    pub jwt: ProfileConfig,
}

/// How long what is issued by a profile lives.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProfileConfig {
    /// Where neither registration nor caller says otherwise.
    #[serde(with = "text")]
    pub life: Option<Life>,
    /// The longest that a registration or a caller may ask for.
    #[serde(with = "text")]
    pub max_life: Option<Life>,
}

/// Foreign issuers. Lists, so only in the file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuthenticationConfig {
    /// Issuers of JSON Web Tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jwt: Vec<JwtConfig>,
    /// Foreign certificate authorities, such as those of factories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificate: Vec<CertificateConfig>,
}

/// What holds for the whole mesh.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MeshConfig {
    /// The namespace whose policies are the mesh's own. Default `istio-system`.
    #[serde(with = "text")]
    pub root_namespace: Option<Namespace>,
}

/// One issuer of JSON Web Tokens.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtConfig {
    /// Its name in registrations: `jwt:<name>:<pattern of sub>`.
    pub name: String,
    /// Claim `iss`, compared byte by byte.
    pub issuer: String,
    /// A token needs one of these in `aud`.
    pub audiences: Vec<String>,
    /// Its JWK Set (RFC 7517).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// Where its JWK Set is fetched; not available yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
}

/// One foreign certificate authority.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateConfig {
    /// Its name in registrations: `certificate:<name>:<pattern of the id>`.
    pub name: String,
    /// Its roots, PEM.
    pub roots_file: PathBuf,
    /// What in its certificates names the holder.
    pub id_from: IdFromConfig,
}

/// What in a foreign certificate names its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum IdFromConfig {
    /// Subject attribute 2.5.4.5.
    SerialNumber,
    /// Other name of RFC 4108 section 5.
    HardwareModuleName,
    /// The one URI SAN.
    Uri,
    /// Subject attribute 2.5.4.3.
    CommonName,
}

/// What the server takes at once; `0` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Requests in work at one moment. Default 512.
    pub in_flight: Option<u32>,
    /// Requests of one network address, `50/s`. Default 0.
    #[serde(with = "text")]
    pub per_address: Option<Rate>,
    /// Requests of one identity, `50/s`. Default 0.
    #[serde(with = "text")]
    pub per_identity: Option<Rate>,
}

/// Certificate revocation lists.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CrlConfig {
    /// Written into certificates as CRL distribution point and caIssuers. Absent: neither is written.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub base_url: Option<BaseUrl>,
}

/// The log for people, on standard error.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogConfig {
    /// How it is written. Default text.
    pub format: Option<LogFormat>,
    /// The least severe lines that are written. Default: what `SIGNET_LOG` says, else info.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How severe a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum LogLevel {
    /// What failed and needs a person.
    Error,
    /// What will need one.
    Warn,
    /// What the server does at large.
    Info,
    /// What it does for each request.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level as log filters write it.
    pub fn word(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

impl From<LogFormat> for runtime::logs::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// The audit log: one JSON object for each decision.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuditConfig {
    /// The file that it is appended to; `-` is standard output. Default `audit.log` in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

impl Config {
    /// Reads a file; errors name line and column.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let yaml = super::read_limited(path, MAX_FILE_BYTES)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| std::io::Error::other("not UTF-8 text")))
            .map_err(|source| ConfigError::Unreadable {
                file: path.to_owned(),
                source,
            })?;
        Self::parse(&yaml, path)
    }

    /// Reads YAML; `path` is where errors say that it stands.
    pub fn parse(yaml: &str, path: &Path) -> Result<Self, ConfigError> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(yaml, options).map_err(|error| {
            let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
            let message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
            // The parser repeats the position behind its message; it stands before ours.
            let message = message
                .strip_suffix(&format!(" at line {line}, column {column}"))
                .unwrap_or(&message);
            let (file, message) = (path.to_owned(), message.to_owned());
            ConfigError::Syntax {
                file,
                line,
                column,
                message,
            }
        })
    }

    /// The YAML that [`Config::parse`] reads back as the same value.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).expect("maps, lists and words can be written as YAML")
    }
}
