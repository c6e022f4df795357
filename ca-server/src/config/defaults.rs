//! What holds where nothing is configured and the machine decides: the data folder, and the names of the server.

use std::path::PathBuf;

use super::values::ServerName;

/// The data folder without `--data`: `/var/lib/signet` as root, `$XDG_STATE_HOME/signet` or `~/.local/state/signet` otherwise.
pub fn default_data_dir() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/signet"));
    }
    let named = |variable: &str| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    named("XDG_STATE_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("signet"))
}

/// The host name, if it is not a DNS name and so cannot be in a certificate: containers and WSL have
/// underscores in theirs.
pub fn unusable_host_name() -> Option<String> {
    Some(host_name()).filter(|host| host.parse::<ServerName>().is_err())
}

/// The names of a server that was given none: localhost, both loopback addresses, and the host name where it is a DNS name.
pub fn default_server_names() -> Vec<ServerName> {
    let host = host_name();
    let mut names: Vec<ServerName> = ["localhost", "127.0.0.1", "::1", &host]
        .into_iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    if names.last() == names.first() {
        names.pop();
    }
    names
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
