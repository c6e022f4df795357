//! One document of a request: what the crate `resources` says of it, and the rules that need to know the server.

use identity::Reason;
use proto::{Refusal, v1};
use resources::{Document, Registration, Resource};

use crate::grpc::admin::Admin;

/// One document of a request, valid and within the server's rules.
pub(super) fn read(admin: &Admin, index: usize, resource: v1::Resource) -> Result<Document, Refusal> {
    // The document alone says what it is; revision and time are the server's.
    let v1::Resource {
        api_version: _,
        kind: _,
        namespace,
        name,
        document_json,
        revision: _,
        created_at: _,
    } = resource;
    let at = |what: String, field: String| {
        let [namespace, name] = [&namespace, &name].map(|name| name.chars().take(253).collect::<String>());
        let place = if name.is_empty() {
            format!("resources[{index}]")
        } else {
            let namespace = if namespace.is_empty() {
                "default"
            } else {
                &namespace
            };
            format!("{namespace}/{name}")
        };
        Refusal::new(
            Reason::ResourceInvalid,
            format!("{place}: {what}; nothing was applied"),
        )
        .with("name", place)
        .with("field", field)
    };
    let document = Document::from_json(&document_json).map_err(|e| {
        let (found, expected) = (e.found.clone(), e.expected.clone());
        at(e.to_string(), e.field)
            .with("found", found)
            .with("expected", expected)
    })?;
    if let Resource::Registration(registration) = &document.resource {
        check(admin, registration).map_err(|(field, why)| at(format!("{field}: {why}"), field))?;
    }
    Ok(document)
}

fn check(admin: &Admin, registration: &Registration) -> Result<(), (String, String)> {
    let ours = &admin.trust_domain;
    if let Some(foreign) = registration.trust_domain().filter(|named| *named != ours) {
        return Err((
            "spec.spiffeId".to_owned(),
            format!("is of trust domain {foreign}, expected {ours}"),
        ));
    }
    let mut names = registration.dns_names().iter().enumerate();
    if let Some((index, name)) = names.find(|(_, name)| admin.registrations.is_server_name(name)) {
        return Err((
            format!("spec.dnsNames[{index}]"),
            format!("{name} is a name of this server, by which stock proxies know it; expected another"),
        ));
    }
    Ok(())
}
