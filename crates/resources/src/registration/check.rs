//! The one constructor of `Registration`: the fields of the configured form, and the rules between them.

use identity::spiffe_id::Role;
use identity::{DnsNameError, DnsNames, SpiffeId, TrustDomain};

use super::{Caller, Forks, Registration, Selector};
use crate::document::Names;
use crate::fields::{Field, Findings, Object};
use crate::pattern::Pattern;
use crate::template::{Template, Variable};

/// Longest hint, in bytes (SPIFFE Workload API section 6.2.1 gives none; this is ours).
pub const MAX_HINT_BYTES: usize = 1024;

const SPEC: &[&str] = &[
    "role",
    "spiffeId",
    "dnsNames",
    "life",
    "maxLife",
    "hint",
    "default",
    "jwtLife",
    "renewFor",
    "workload",
    "forks",
    "callers",
    "nodes",
    "match",
    "impersonators",
];

impl Registration {
    /// Checks a `spec`; nothing only if its identity cannot be read. Whatever is wrong is in `findings`.
    pub(crate) fn check(names: &Names, spec: &Field<'_>, findings: &mut Findings) -> Option<Self> {
        let object = spec.object(SPEC, findings)?;
        let (trust_domain, path, role) = identity(&object, findings)?;
        let workload = object
            .get("workload")
            .and_then(|field| field.object(&["labels", "addresses"], findings));
        let inside = |key| workload.as_ref().and_then(|workload| workload.get(key));
        let labels = inside("labels")
            .map(|field| field.text_map(findings))
            .unwrap_or_default();
        let mut life = |key| object.get(key).and_then(|field| field.life(findings));
        let (shortest, max_life) = (life("life"), life("maxLife"));
        let (jwt_life, renew_for) = (life("jwtLife"), life("renewFor"));
        let registration = Self {
            namespace: names.namespace.clone(),
            name: names.name.clone(),
            role,
            trust_domain,
            path,
            dns_names: dns_names(&object, findings),
            life: shortest,
            max_life,
            hint: object.get("hint").and_then(|field| hint(&field, findings)),
            default: object
                .get("default")
                .and_then(|field| field.boolean(findings))
                .unwrap_or(false),
            jwt_life,
            renew_for,
            labels,
            addresses: inside("addresses")
                .map(|field| {
                    field.each("an IP address or a range such as 10.0.0.0/8", findings, |text| {
                        text.parse().ok()
                    })
                })
                .unwrap_or_default(),
            forks: object
                .get("forks")
                .and_then(|field| field.made("allow or refuse", findings, forks))
                .unwrap_or_default(),
            callers: made(&object, "callers", Caller::EXPECTED, findings, Caller::new),
            nodes: made(&object, "nodes", "a pattern of node names", findings, pattern),
            selectors: made(&object, "match", Selector::EXPECTED, findings, Selector::new),
            impersonators: made(&object, "impersonators", "a SPIFFE ID", findings, |text| {
                SpiffeId::new(text).ok()
            }),
        };
        registration.check_lives(&object, findings);
        registration.check_who(&object, findings);
        registration.check_variables(&object, findings);
        Some(registration)
    }

    fn check_lives(&self, object: &Object<'_>, findings: &mut Findings) {
        if let (Some(life), Some(longest), Some(field)) = (self.life, self.max_life, object.get("maxLife"))
            && longest < life
        {
            let least = identity::duration::print(life);
            findings.unexpected(&field, format!("at least the life, {least}"));
        }
    }

    /// Someone must be able to have it, and a factory certificate speaks for devices only: elsewhere its line admits nobody.
    fn check_who(&self, object: &Object<'_>, findings: &mut Findings) {
        let has = |key| {
            object.get(key).filter(
                |field| !matches!(&field.node.value, crate::tree::Value::List(items) if items.is_empty()),
            )
        };
        match (has("nodes"), has("match")) {
            (Some(nodes), None) => {
                findings.wrong(
                    &nodes,
                    "nodes without match, expected match: what the agent must see",
                );
            }
            (None, Some(selectors)) => {
                findings.wrong(
                    &selectors,
                    "match without nodes, expected nodes: which node agents may ask",
                );
            }
            (None, None) if has("callers").is_none() && has("impersonators").is_none() => {
                object.lacks(
                    "callers",
                    "at least one of callers, nodes with match, impersonators",
                    findings,
                );
            }
            _ => {}
        }
        if self.nodes.iter().any(Pattern::is_everything)
            && let Some(nodes) = object.get("nodes")
        {
            findings.warn(&nodes, "every node agent may ask for this identity");
        }
        let lines = object
            .get("callers")
            .map(|field| field.list(&mut Findings::new("")));
        for line in lines.unwrap_or_default() {
            let text = line.text("", &mut Findings::new("")).unwrap_or_default();
            if matches!(Caller::new(text), Some(Caller::Certificate { .. })) && self.role != Role::Device {
                findings.warn(
                    &line,
                    "admits nobody: a certificate of a foreign authority proves a device only, which needs role device",
                );
            }
        }
    }

    /// A variable that no caller can fill would make a registration that never grants.
    fn check_variables(&self, object: &Object<'_>, findings: &mut Findings) {
        let Some(field) = object.get("spiffeId") else {
            return;
        };
        for variable in self.path.variables() {
            let (possible, source) = match variable {
                Variable::JwtNamespace | Variable::JwtServiceAccount => (
                    self.callers.iter().any(Caller::is_foreign_jwt),
                    "a caller jwt:<name>:<pattern>",
                ),
                Variable::JwtClaim(_) => (
                    self.callers
                        .iter()
                        .any(|caller| matches!(caller, Caller::Jwt { .. })),
                    "a caller jwt:<name>:<pattern>",
                ),
                Variable::UnixUser => (!self.nodes.is_empty(), "nodes and match"),
                Variable::CertificateId => (
                    self.callers
                        .iter()
                        .any(|caller| matches!(caller, Caller::Certificate { .. })),
                    "a caller certificate:<name>:<pattern>",
                ),
            };
            if !possible {
                findings.wrong(
                    &field,
                    format!("{variable} cannot come from any of its callers, expected {source}"),
                );
            }
        }
    }
}

/// Trust domain, path and role; nothing if one of them is wrong.
fn identity(object: &Object<'_>, findings: &mut Findings) -> Option<(Option<TrustDomain>, Template, Role)> {
    const EXPECTED: &str = "spiffe://<trust domain>/<path>, or a path that begins with /";
    let role_field = object.get("role");
    let configured = match &role_field {
        None => Some(Role::Workload),
        Some(field) => field.made("workload, agent, admin or device", findings, role),
    };
    let field = object.need("spiffeId", EXPECTED, findings)?;
    let text = field.text(EXPECTED, findings)?;
    let (trust_domain, path) = match split(text) {
        Ok(parts) => parts,
        Err(why) => {
            findings.wrong(&field, why);
            return None;
        }
    };
    let first = path.as_str().split('/').nth(1).unwrap_or_default();
    if first.contains("{{") {
        findings.wrong(
            &field,
            "first segment of the path is a variable, expected a fixed one: it decides the role",
        );
        return None;
    }
    // Only the shape is judged here: each value is checked when it is filled in.
    let shape = format!("spiffe://example.org{}", path.shape("x"));
    let found = match SpiffeId::new(&shape) {
        Ok(id) => id.role(),
        Err(why) => {
            findings.wrong(&field, why);
            return None;
        }
    };
    let configured = configured?;
    if found == Role::Server {
        findings.wrong(
            &field,
            "path /server/ is reserved for the authority and never granted",
        );
    } else if found != configured && found == Role::Workload {
        let path = configured.word();
        findings.unexpected(&field, format!("a path /{path}/..., as role {path} says"));
    } else if found != configured {
        findings.wrong(
            &field,
            format!(
                "path /{0}/ is reserved, found role {1}, expected role {0}",
                found.word(),
                configured.word()
            ),
        );
    }
    Some((trust_domain, path, configured))
}

fn split(text: &str) -> Result<(Option<TrustDomain>, Template), String> {
    let (trust_domain, path) = match text.strip_prefix("spiffe://") {
        None => (None, text),
        Some(rest) => {
            let (name, _) = rest.split_once('/').unwrap_or((rest, ""));
            let trust_domain = TrustDomain::new(name).map_err(|e| e.to_string())?;
            (Some(trust_domain), &rest[name.len()..])
        }
    };
    if !path.starts_with('/') {
        return Err(format!(
            "found {:?}, expected spiffe://<trust domain>/<path>, or a path that begins with /",
            crate::error::shorten(text)
        ));
    }
    let template = Template::new(path).map_err(|e| e.to_string())?;
    Ok((trust_domain, template))
}

fn made<T>(
    object: &Object<'_>,
    key: &str,
    expected: &str,
    findings: &mut Findings,
    make: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    object
        .get(key)
        .map(|field| field.each(expected, findings, make))
        .unwrap_or_default()
}

fn role(word: &str) -> Option<Role> {
    [Role::Workload, Role::Agent, Role::Admin, Role::Device]
        .into_iter()
        .find(|role| role.word() == word)
}

fn forks(word: &str) -> Option<Forks> {
    match word {
        "allow" => Some(Forks::Allow),
        "refuse" => Some(Forks::Refuse),
        _ => None,
    }
}

/// The names in their canonical form. One error is enough for a list that is too long.
fn dns_names(object: &Object<'_>, findings: &mut Findings) -> Vec<String> {
    let mut names = DnsNames::default();
    let items = object
        .get("dnsNames")
        .map(|field| field.list(findings))
        .unwrap_or_default();
    for item in items {
        let Some(text) = item.text("a DNS name", findings) else {
            continue;
        };
        match names.add(text) {
            Ok(()) => {}
            Err(why @ DnsNameError::TooMany) => {
                findings.withhold(&item, why);
                break;
            }
            Err(why) => findings.withhold(&item, why),
        }
    }
    names.into()
}

fn pattern(text: &str) -> Option<Pattern> {
    (!text.is_empty()).then(|| Pattern::new(text))
}

fn hint(field: &Field<'_>, findings: &mut Findings) -> Option<String> {
    let text = field.text("a text", findings)?;
    if text.len() > MAX_HINT_BYTES {
        findings.unexpected(field, format!("at most {MAX_HINT_BYTES} bytes"));
        return None;
    }
    Some(text.to_owned())
}
