//! A request for a join token, taken apart and held against the rules that need no record.

use std::ops::RangeInclusive;
use std::time::Duration;

use identity::spiffe_id::Role;
use identity::{DnsNames, Reason, SpiffeId, duration};
use issuance::{MIN_LIFE, ProfileName};
use proto::{Refusal, v1};

use crate::grpc::admin::{Admin, invalid};
use crate::registration::server_name_refused;

/// How long a token may be redeemed where the request does not say.
pub(super) const DEFAULT_TTL: Duration = Duration::from_secs(600);
/// The shortest: an answer to whoever waits for it.
const MIN_TTL: Duration = Duration::from_secs(1);
/// The longest: a secret that lies about for longer is forgotten where it lies.
pub(super) const MAX_TTL: Duration = Duration::from_secs(365 * 86_400);

/// A wish for a token that keeps every rule.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) spiffe_id: SpiffeId,
    pub(super) dns_names: Vec<String>,
    pub(super) ttl: Duration,
    pub(super) life: Option<Duration>,
    pub(super) server: String,
}

impl Wish {
    /// Takes a request apart and holds it against the rules.
    pub(super) fn read(admin: &Admin, request: v1::CreateTokenRequest) -> Result<Self, Refusal> {
        let v1::CreateTokenRequest {
            spiffe_id,
            dns_names,
            ttl,
            life,
            role,
            server,
        } = request;
        let spiffe_id = read_id(admin, &spiffe_id, &role)?;
        let ttl = read_duration("ttl", ttl, MIN_TTL..=MAX_TTL)?.unwrap_or(DEFAULT_TTL);
        let longest = ProfileName::for_role(spiffe_id.role())
            .map_or(MIN_LIFE, |name| admin.profiles.named(name).max_life());
        let life = read_duration("life", life, MIN_LIFE..=longest)?;
        let dns_names = read_names(admin, &dns_names)?;
        let server = if server.is_empty() {
            default_address(admin)?
        } else {
            server
        };
        Ok(Self {
            spiffe_id,
            dns_names,
            ttl,
            life,
            server,
        })
    }
}

fn read_id(admin: &Admin, text: &str, role: &str) -> Result<SpiffeId, Refusal> {
    let refuse = |why: String| {
        Refusal::new(Reason::IdentityNotGranted, format!("field spiffe_id: {why}"))
            .with("field", "spiffe_id")
            .with("name", text.chars().take(200).collect::<String>())
    };
    let id = SpiffeId::new(text).map_err(|e| refuse(e.to_string()))?;
    let ours = &admin.trust_domain;
    if !id.is_member_of(ours) {
        return Err(refuse(format!(
            "{id} is of another trust domain, expected one of {ours}"
        )));
    }
    let needed = match id.role() {
        Role::Authority => return Err(refuse(format!("{id} has no path, expected that of a workload"))),
        Role::Server => return Err(refuse(format!("{id} is a server's, which is never granted"))),
        Role::Workload => "",
        reserved => reserved.word(),
    };
    if role != needed && !(role == Role::Workload.word() && needed.is_empty()) {
        let expected = if needed.is_empty() { "none" } else { needed };
        let found = if role.is_empty() { "no role" } else { role };
        return Err(
            invalid("role", format!("{found} does not fit {id}, expected {expected}"))
                .with("found", role.chars().take(100).collect::<String>())
                .with("expected", expected),
        );
    }
    Ok(id)
}

/// The names in their canonical form, each once.
fn read_names(admin: &Admin, names: &[String]) -> Result<Vec<String>, Refusal> {
    let names: Vec<String> = DnsNames::new(names)
        .map_err(|(_, why)| invalid("dns_names", why))?
        .into();
    match names.iter().find(|name| admin.registrations.is_server_name(name)) {
        Some(name) => Err(server_name_refused(name).with("field", "dns_names")),
        None => Ok(names),
    }
}

fn default_address(admin: &Admin) -> Result<String, Refusal> {
    let name = admin
        .server_names
        .first()
        .ok_or_else(|| invalid("server", "the server has no name, expected HOST:PORT"))?;
    let port = admin.grpc_port;
    Ok(match name.ip() {
        Some(std::net::IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{name}:{port}"),
    })
}

/// A duration of the request in whole seconds, within these limits.
fn read_duration(
    field: &'static str,
    asked: Option<prost_types::Duration>,
    limits: RangeInclusive<Duration>,
) -> Result<Option<Duration>, Refusal> {
    let (least, longest) = (*limits.start(), *limits.end());
    let Some(asked) = asked else { return Ok(None) };
    let span = proto::duration_from_message(&asked).map(|span| Duration::from_secs(span.as_secs()));
    match span.filter(|span| *span >= least) {
        None => {
            let least = duration::print(least);
            Err(Refusal::new(
                Reason::LifeTooShort,
                format!("field {field}: {} s, expected at least {least}", asked.seconds),
            )
            .with("field", field)
            .with("limit", least))
        }
        Some(span) if span > longest => Err(too_long(field, span, longest)),
        Some(span) => Ok(Some(span)),
    }
}

/// The refusal of a duration above its limit.
pub(super) fn too_long(field: &'static str, found: Duration, longest: Duration) -> Refusal {
    let [found, longest] = [found, longest].map(duration::print);
    Refusal::new(
        Reason::LifeTooLong,
        format!("field {field}: {found}, expected at most {longest}"),
    )
    .with("field", field)
    .with("found", found)
    .with("limit", longest)
}
