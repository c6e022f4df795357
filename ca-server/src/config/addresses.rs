//! Where the server listens: the defaults of each command, and that no two listeners share an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::ConfigError;
use super::file::ListenConfig;
use super::settings::{Mode, field};
use super::values::Address;

/// Where the server listens; port 0 takes a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// gRPC over TLS 1.3.
    pub grpc: SocketAddr,
    /// HTTPS.
    pub https: SocketAddr,
    /// Plain HTTP for CRLs and authority certificates.
    pub crl: SocketAddr,
    /// The dashboard.
    pub dashboard: SocketAddr,
    /// Metrics and probes.
    pub metrics: SocketAddr,
}

impl Addresses {
    pub(super) fn fill(listen: &mut ListenConfig, mode: Mode) -> Result<Self, ConfigError> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let public = match mode {
            Mode::Up => loopback,
            Mode::Server => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let or =
            |field: &mut Option<Address>, ip, port| field.get_or_insert(Address(SocketAddr::new(ip, port))).0;
        let addresses = Self {
            grpc: or(&mut listen.grpc, public, 15012),
            https: or(&mut listen.https, public, 8443),
            crl: or(&mut listen.crl, public, 8080),
            dashboard: or(&mut listen.dashboard, loopback, 20001),
            metrics: or(&mut listen.metrics, loopback, 15014),
        };
        addresses.are_apart()?;
        Ok(addresses)
    }

    /// Checks that no two listeners that are in use have the same address.
    fn are_apart(&self) -> Result<(), ConfigError> {
        let used = [
            ("listen.grpc", self.grpc),
            ("listen.crl", self.crl),
            ("listen.metrics", self.metrics),
        ];
        for (i, (name, address)) in used.iter().enumerate() {
            let same = used[..i]
                .iter()
                .find(|(_, other)| other == address && address.port() != 0);
            if let Some((other, _)) = same {
                return Err(field(
                    *name,
                    format!("{address} is the address of {other}, expected another port"),
                ));
            }
        }
        Ok(())
    }
}
