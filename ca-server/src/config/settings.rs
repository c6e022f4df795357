//! The usable form: every field filled, every rule kept, every file that is named read. What is in force prints as YAML that parses
//! again. Some fields count only at a start; [`Settings::needs_restart`] names those that differ.

use std::path::{Path, PathBuf};
use std::time::Duration;

use identity::{TrustDomain, duration};
use issuance::{CrlBaseUrl, MIN_LIFE, Profile, ProfileName};
use runtime::instance::socket_path_fits;

use super::ConfigError;
use super::addresses::Addresses;
use super::args::ServerArgs;
use super::defaults::default_data_dir;
use super::file::{Config, LogFormat, LogLevel, ProfileConfig};
use super::providers::{certificate_providers, jwt_providers, repeated};
use super::values::{Life, Namespace, Rate, ServerName};
use super::watch::Watch;
use crate::caller::certificate::CertificateProvider;
use crate::caller::jwt::JwtProvider;

/// The administrators' socket, in the data folder.
pub const ADMIN_SOCKET: &str = "admin.sock";
const DEFAULT_IN_FLIGHT: u32 = 512;
/// The server's certificate has a URI besides.
const MAX_SERVER_NAMES: usize = issuance::MAX_NAMES - 1;

/// Which command starts the server: it decides where the server listens by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `signet up`: everything on 127.0.0.1.
    Up,
    /// `signet server run`: gRPC, HTTPS and CRLs on `[::]`.
    Server,
}

/// What the server works with.
#[derive(Clone)]
pub struct Settings {
    config: Config,
    data_dir: PathBuf,
    addresses: Addresses,
    profiles: Profiles,
    jwt: Vec<JwtProvider>,
    certificate: Vec<CertificateProvider>,
    limits: Limits,
    log_format: LogFormat,
    audit: AuditSink,
    watch: Watch,
}

/// The profiles in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profiles {
    /// Workloads and administrators.
    pub workload: Profile,
    /// Devices.
    pub device: Profile,
    /// The server itself.
    pub server: Profile,
    /// Node agents.
    pub agent: Profile,
    /// Signing authorities that the server makes itself.
    pub intermediate: Profile,
    /// JWT-SVIDs.
    pub jwt: JwtLives,
}

/// How long JWT-SVIDs live: [`MIN_LIFE`] <= `life` <= `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JwtLives {
    /// Where neither registration nor caller says otherwise.
    pub life: Duration,
    /// The longest that may be asked for.
    pub max: Duration,
}

/// What the server takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests in work at one moment; `None` for no limit.
    pub in_flight: Option<usize>,
    /// Requests of one network address.
    pub per_address: Rate,
    /// Requests of one identity.
    pub per_identity: Rate,
}

/// Where audit lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSink {
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

impl Settings {
    /// Reads the file that `args` names, puts flags and variables over it, fills the defaults of `mode`, and reads every file that
    /// is named in it. All or nothing: a reload that fails leaves what is in force as it was.
    pub fn load(args: &ServerArgs, mode: Mode) -> Result<Self, ConfigError> {
        let mut config = match &args.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        args.overlay(&mut config);
        Self::new(config, mode)
    }

    /// The same configuration with every file that it names read again: what [`Settings::watch`] asks for.
    pub fn reread(&self) -> Result<Self, ConfigError> {
        // Everything is filled, so the mode decides nothing.
        Self::new(self.config.clone(), Mode::Server)
    }

    /// Fills and judges a configured form.
    pub fn new(mut config: Config, mode: Mode) -> Result<Self, ConfigError> {
        let given = match config.data_dir.take() {
            Some(dir) => dir,
            None => default_data_dir().ok_or_else(|| {
                field(
                    "dataDir",
                    "no home folder to put it in, expected --data DIR or SIGNET_DATA",
                )
            })?,
        };
        let data_dir = absolute("dataDir", &given)?;
        config.data_dir = Some(data_dir.clone());
        let audit = audit_sink(&mut config, &data_dir)?;
        config.mesh.root_namespace.get_or_insert_default();
        let log_format = *config.log.format.get_or_insert(LogFormat::Text);
        if repeated(config.server_names.iter().map(ServerName::as_str)).is_some() {
            return Err(field("serverNames", "a name stands twice, expected each once"));
        }
        let names = config.server_names.len();
        if names > MAX_SERVER_NAMES {
            let why = format!("{names} names, expected at most {MAX_SERVER_NAMES}");
            return Err(field("serverNames", why));
        }
        socket_path_fits(&data_dir.join(ADMIN_SOCKET)).map_err(|e| field("dataDir", e.to_string()))?;
        // Before the files are read: what changes meanwhile is seen later.
        let watch = Watch::new(named_files(&config));
        Ok(Self {
            data_dir,
            addresses: Addresses::fill(&mut config.listen, mode)?,
            profiles: Profiles::fill(&mut config)?,
            jwt: jwt_providers(&config.authentication.jwt)?,
            certificate: certificate_providers(&config.authentication.certificate)?,
            limits: Limits::fill(&mut config),
            log_format,
            audit,
            watch,
            config,
        })
    }

    /// The trust domain, if one was given.
    pub fn trust_domain(&self) -> Option<&TrustDomain> {
        self.config.trust_domain.as_ref()
    }

    /// The data folder, absolute.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The names of the server that were given; none: those of the first start hold, see [`default_server_names`].
    pub fn server_names(&self) -> &[ServerName] {
        &self.config.server_names
    }

    /// Where to listen.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// How long what is issued lives.
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// The namespace of the mesh's own policies.
    pub fn root_namespace(&self) -> &str {
        let given = self.config.mesh.root_namespace.as_ref();
        given.map_or(policy::DEFAULT_ROOT_NAMESPACE, Namespace::as_str)
    }

    /// Issuers of JSON Web Tokens.
    pub fn jwt_providers(&self) -> &[JwtProvider] {
        &self.jwt
    }

    /// Foreign certificate authorities.
    pub fn certificate_providers(&self) -> &[CertificateProvider] {
        &self.certificate
    }

    /// What to take at once.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The URL under which CRLs are fetched, for certificates.
    pub fn crl_base_url(&self) -> Option<&CrlBaseUrl> {
        self.config.crl.base_url.as_ref().map(|url| &url.0)
    }

    /// How log lines are written.
    pub fn log_format(&self) -> runtime::logs::Format {
        self.log_format.into()
    }

    /// Which log lines are written, if that was given.
    pub fn log_level(&self) -> Option<&'static str> {
        self.config.log.level.map(LogLevel::word)
    }

    /// Where audit lines go.
    pub fn audit(&self) -> &AuditSink {
        &self.audit
    }

    /// Tells when a file that the configuration names has changed since it was read here.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// The configured form with every default filled in.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is in force, as YAML that parses again.
    pub fn to_yaml(&self) -> String {
        self.config.to_yaml()
    }

    /// The fields that differ in `newer` and count only at a start. None: `newer` can take the place of these settings as it is.
    pub fn needs_restart(&self, newer: &Self) -> Vec<&'static str> {
        let (old, new) = (&self.config, &newer.config);
        let differs = [
            ("trustDomain", old.trust_domain != new.trust_domain),
            ("dataDir", old.data_dir != new.data_dir),
            ("serverNames", old.server_names != new.server_names),
            ("listen", old.listen != new.listen),
            ("mesh", old.mesh != new.mesh),
            ("log", old.log != new.log),
            ("audit.file", old.audit != new.audit),
        ];
        differs
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name)
            .collect()
    }
}

impl Profiles {
    fn fill(config: &mut Config) -> Result<Self, ConfigError> {
        let profiles = &mut config.profiles;
        Ok(Self {
            workload: profile(ProfileName::Workload, &mut profiles.workload)?,
            device: profile(ProfileName::Device, &mut profiles.device)?,
            server: profile(ProfileName::Server, &mut profiles.server)?,
            agent: profile(ProfileName::Agent, &mut profiles.agent)?,
            intermediate: profile(ProfileName::Intermediate, &mut profiles.intermediate)?,
            jwt: JwtLives::fill(&mut profiles.jwt)?,
        })
    }

    /// The profile of this name; roots have no place in the configuration.
    pub fn named(&self, name: ProfileName) -> Profile {
        match name {
            ProfileName::Workload => self.workload,
            ProfileName::Device => self.device,
            ProfileName::Server => self.server,
            ProfileName::Agent => self.agent,
            ProfileName::Intermediate => self.intermediate,
            ProfileName::Root => Profile::default_of(name),
        }
    }
}

fn profile(name: ProfileName, config: &mut ProfileConfig) -> Result<Profile, ConfigError> {
    let default = Profile::default_of(name);
    let Life(life) = *config.life.get_or_insert(Life(default.default_life()));
    let Life(max_life) = *config.max_life.get_or_insert(Life(default.max_life()));
    Profile::new(name, life, max_life)
        .map_err(|error| field(format!("profiles.{name}.life"), error.to_string()))
}

impl JwtLives {
    fn fill(config: &mut ProfileConfig) -> Result<Self, ConfigError> {
        let Life(life) = *config.life.get_or_insert(Life(Duration::from_secs(300)));
        let Life(max) = *config.max_life.get_or_insert(Life(Duration::from_secs(3600)));
        if life < MIN_LIFE || life > max {
            let [life, least, max] = [life, MIN_LIFE, max].map(duration::print);
            return Err(field(
                "profiles.jwt.life",
                format!("{life}, expected {least} to its maxLife {max}"),
            ));
        }
        Ok(Self { life, max })
    }
}

impl Limits {
    fn fill(config: &mut Config) -> Self {
        let limits = &mut config.limits;
        let in_flight = *limits.in_flight.get_or_insert(DEFAULT_IN_FLIGHT);
        Self {
            in_flight: usize::try_from(in_flight).ok().filter(|limit| *limit > 0),
            per_address: *limits.per_address.get_or_insert_default(),
            per_identity: *limits.per_identity.get_or_insert_default(),
        }
    }
}

fn audit_sink(config: &mut Config, data_dir: &Path) -> Result<AuditSink, ConfigError> {
    let file = config
        .audit
        .file
        .get_or_insert_with(|| data_dir.join("audit.log"));
    if file.as_os_str() == "-" {
        return Ok(AuditSink::Stdout);
    }
    *file = absolute("audit.file", file)?;
    // The data folder is made at the first start; any other folder is the operator's.
    let folder = file.parent().unwrap_or(data_dir);
    if folder != data_dir && !folder.is_dir() {
        let why = format!(
            "{} is not a folder, expected a file in a folder that exists",
            folder.display()
        );
        return Err(field("audit.file", why));
    }
    if file.is_dir() {
        let why = format!("{} is a folder, expected a file", file.display());
        return Err(field("audit.file", why));
    }
    Ok(AuditSink::File(file.clone()))
}

fn named_files(config: &Config) -> Vec<PathBuf> {
    let keys = config
        .authentication
        .jwt
        .iter()
        .filter_map(|jwt| jwt.jwks_file.clone());
    let roots = config
        .authentication
        .certificate
        .iter()
        .map(|ca| ca.roots_file.clone());
    keys.chain(roots).collect()
}

fn absolute(name: &str, path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|e| field(name, format!("{}: {e}, expected a path", path.display())))
}

/// The error of a value that breaks a rule.
pub(super) fn field(field: impl Into<String>, why: impl Into<String>) -> ConfigError {
    ConfigError::Field {
        field: field.into(),
        why: why.into(),
    }
}
