//! The same fields as flags and variables: `limits.perIdentity` is `--limits-per-identity` and `SIGNET_LIMITS_PER_IDENTITY`. A flag beats
//! its variable, both beat the file. Lists of objects stand only in the file.

use std::path::PathBuf;

use clap::Args;
use identity::TrustDomain;

use super::file::{Config, LogFormat, LogLevel, ProfileConfig};
use super::values::{Address, BaseUrl, Life, Namespace, Rate, ServerName};

/// What `signet up` and `signet server run` take.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerArgs {
    /// Configuration file (YAML); the other flags and variables beat what it says
    #[arg(long, value_name = "FILE", env = "SIGNET_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the configuration in force as YAML, and stop
    #[arg(long)]
    pub print_config: bool,
    /// Folder that holds all of this instance [default: /var/lib/signet as root, else $XDG_STATE_HOME/signet]
    #[arg(long, alias = "data-dir", value_name = "DIR", env = "SIGNET_DATA")]
    pub data: Option<PathBuf>,
    /// Trust domain of the identities, fixed at the first start [default: example.org]
    #[arg(long, value_name = "NAME", env = "SIGNET_TRUST_DOMAIN")]
    pub trust_domain: Option<TrustDomain>,
    /// DNS name or IP address of the server, repeatable [default: localhost, 127.0.0.1, ::1, host name]
    #[arg(
        long = "server-name",
        alias = "server-names",
        value_name = "NAME",
        env = "SIGNET_SERVER_NAMES",
        value_delimiter = ','
    )]
    pub server_names: Vec<ServerName>,
    /// Namespace whose policies are the mesh's own [default: istio-system]
    #[arg(long, value_name = "NS", env = "SIGNET_MESH_ROOT_NAMESPACE")]
    mesh_root_namespace: Option<Namespace>,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    profiles: ProfileArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// URL under which this server's CRLs are fetched, written into certificates [default: none]
    #[arg(
        long,
        value_name = "URL",
        env = "SIGNET_CRL_BASE_URL",
        help_heading = "Records"
    )]
    crl_base_url: Option<BaseUrl>,
    /// How the log on standard error is written [default: text]
    #[arg(
        long,
        value_name = "FORMAT",
        env = "SIGNET_LOG_FORMAT",
        help_heading = "Records"
    )]
    log_format: Option<LogFormat>,
    /// Least severe log lines that are written [default: what SIGNET_LOG says, else info]
    #[arg(
        long,
        value_name = "LEVEL",
        env = "SIGNET_LOG_LEVEL",
        help_heading = "Records"
    )]
    log_level: Option<LogLevel>,
    /// File that audit lines (JSON) are appended to, - for standard output [default: audit.log in the data folder]
    #[arg(
        long,
        value_name = "FILE",
        env = "SIGNET_AUDIT_FILE",
        help_heading = "Records"
    )]
    audit_file: Option<PathBuf>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Addresses (ADDR:PORT; port 0 takes a free one)")]
struct ListenArgs {
    /// gRPC over TLS 1.3 [default: [::]:15012, with `up` 127.0.0.1:15012]
    #[arg(long, value_name = "ADDR:PORT", env = "SIGNET_LISTEN_GRPC")]
    listen_grpc: Option<Address>,
    /// HTTPS; nothing listens there yet [default: [::]:8443, with `up` 127.0.0.1:8443]
    #[arg(long, value_name = "ADDR:PORT", env = "SIGNET_LISTEN_HTTPS")]
    listen_https: Option<Address>,
    /// Plain HTTP for CRLs and authority certificates [default: [::]:8080, with `up` 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT", env = "SIGNET_LISTEN_CRL")]
    listen_crl: Option<Address>,
    /// Dashboard; nothing listens there yet [default: 127.0.0.1:20001]
    #[arg(long, value_name = "ADDR:PORT", env = "SIGNET_LISTEN_DASHBOARD")]
    listen_dashboard: Option<Address>,
    /// Metrics and probes [default: 127.0.0.1:15014]
    #[arg(long, value_name = "ADDR:PORT", env = "SIGNET_LISTEN_METRICS")]
    listen_metrics: Option<Address>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Lives (durations such as 90s, 10m, 24h, 90d, 5y)")]
struct ProfileArgs {
    /// Workload certificates [default: 1h]
    #[arg(long, value_name = "LIFE", env = "SIGNET_PROFILES_WORKLOAD_LIFE")]
    profiles_workload_life: Option<Life>,
    /// Longest life of workload certificates [default: 24h]
    #[arg(long, value_name = "LIFE", env = "SIGNET_PROFILES_WORKLOAD_MAX_LIFE")]
    profiles_workload_max_life: Option<Life>,
    /// Device certificates [default: 24h]
    #[arg(long, value_name = "LIFE", env = "SIGNET_PROFILES_DEVICE_LIFE")]
    profiles_device_life: Option<Life>,
    /// Longest life of device certificates [default: 90d]
    #[arg(long, value_name = "LIFE", env = "SIGNET_PROFILES_DEVICE_MAX_LIFE")]
    profiles_device_max_life: Option<Life>,
    /// The server's own certificate [default: 24h]
    #[arg(long, value_name = "LIFE", env = "SIGNET_PROFILES_SERVER_LIFE")]
    profiles_server_life: Option<Life>,
    /// Longest life of the server's own certificate [default: 7d]
    #[arg(long, value_name = "LIFE", env = "SIGNET_PROFILES_SERVER_MAX_LIFE")]
    profiles_server_max_life: Option<Life>,
    /// Node agents' certificates [default: 24h]
    #[arg(long, value_name = "LIFE", env = "SIGNET_PROFILES_AGENT_LIFE")]
    profiles_agent_life: Option<Life>,
    /// Longest life of node agents' certificates [default: 7d]
    #[arg(long, value_name = "LIFE", env = "SIGNET_PROFILES_AGENT_MAX_LIFE")]
    profiles_agent_max_life: Option<Life>,
    /// Signing authorities that the server makes itself [default: 90d]
    #[arg(long, value_name = "LIFE", env = "SIGNET_PROFILES_INTERMEDIATE_LIFE")]
    profiles_intermediate_life: Option<Life>,
    /// Longest life of signing authorities [default: 5y]
    #[arg(long, value_name = "LIFE", env = "SIGNET_PROFILES_INTERMEDIATE_MAX_LIFE")]
    profiles_intermediate_max_life: Option<Life>,
    /// JWT-SVIDs [default: 5m]
    #[arg(long, value_name = "LIFE", env = "SIGNET_PROFILES_JWT_LIFE")]
    profiles_jwt_life: Option<Life>,
    /// Longest life of JWT-SVIDs [default: 1h]
    #[arg(long, value_name = "LIFE", env = "SIGNET_PROFILES_JWT_MAX_LIFE")]
    profiles_jwt_max_life: Option<Life>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits (0 is no limit)")]
struct LimitArgs {
    /// Requests in work at one moment [default: 512]
    #[arg(long, value_name = "COUNT", env = "SIGNET_LIMITS_IN_FLIGHT")]
    limits_in_flight: Option<u32>,
    /// Requests of one network address, such as 50/s; read, not enforced yet [default: 0]
    #[arg(long, value_name = "RATE", env = "SIGNET_LIMITS_PER_ADDRESS")]
    limits_per_address: Option<Rate>,
    /// Requests of one identity, such as 50/s; read, not enforced yet [default: 0]
    #[arg(long, value_name = "RATE", env = "SIGNET_LIMITS_PER_IDENTITY")]
    limits_per_identity: Option<Rate>,
}

impl ServerArgs {
    /// Puts what flags and variables say over what the file said.
    pub(super) fn overlay(&self, config: &mut Config) {
        put(&mut config.data_dir, &self.data);
        put(&mut config.trust_domain, &self.trust_domain);
        if !self.server_names.is_empty() {
            config.server_names.clone_from(&self.server_names);
        }
        put(&mut config.mesh.root_namespace, &self.mesh_root_namespace);
        put(&mut config.crl.base_url, &self.crl_base_url);
        put(&mut config.log.format, &self.log_format);
        put(&mut config.log.level, &self.log_level);
        put(&mut config.audit.file, &self.audit_file);
        self.listen.overlay(config);
        self.profiles.overlay(config);
        self.limits.overlay(config);
    }
}

impl ListenArgs {
    fn overlay(&self, config: &mut Config) {
        put(&mut config.listen.grpc, &self.listen_grpc);
        put(&mut config.listen.https, &self.listen_https);
        put(&mut config.listen.crl, &self.listen_crl);
        put(&mut config.listen.dashboard, &self.listen_dashboard);
        put(&mut config.listen.metrics, &self.listen_metrics);
    }
}

impl ProfileArgs {
    fn overlay(&self, config: &mut Config) {
        let set = |profile: &mut ProfileConfig, life: &Option<Life>, max_life: &Option<Life>| {
            put(&mut profile.life, life);
            put(&mut profile.max_life, max_life);
        };
        let profiles = &mut config.profiles;
        set(
            &mut profiles.workload,
            &self.profiles_workload_life,
            &self.profiles_workload_max_life,
        );
        set(
            &mut profiles.device,
            &self.profiles_device_life,
            &self.profiles_device_max_life,
        );
        set(
            &mut profiles.server,
            &self.profiles_server_life,
            &self.profiles_server_max_life,
        );
        set(
            &mut profiles.agent,
            &self.profiles_agent_life,
            &self.profiles_agent_max_life,
        );
        set(
            &mut profiles.intermediate,
            &self.profiles_intermediate_life,
            &self.profiles_intermediate_max_life,
        );
        set(
            &mut profiles.jwt,
            &self.profiles_jwt_life,
            &self.profiles_jwt_max_life,
        );
    }
}

impl LimitArgs {
    fn overlay(&self, config: &mut Config) {
        put(&mut config.limits.in_flight, &self.limits_in_flight);
        put(&mut config.limits.per_address, &self.limits_per_address);
        put(&mut config.limits.per_identity, &self.limits_per_identity);
    }
}

fn put<T: Clone>(field: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        field.clone_from(given);
    }
}
