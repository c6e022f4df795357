//! An explained connection as JSON, and as three or four sentences.

use policy::{Carries, Origin, Sends, Why};
use resources::Kind;
use serde_json::{Map, Value, json};

use super::{Answer, Client};

pub(super) fn json(answer: &Answer<'_>) -> Value {
    let inbound = &answer.inbound;
    let shadowed = answer.shadowed.iter().map(|lost| {
        let Origin {
            kind,
            namespace,
            name,
            ..
        } = lost.policy;
        json!({ "kind": kind.word(), "namespace": namespace, "name": name, "why": lost.why })
    });
    let mut server = json!({
        "mode": inbound.mode.word(),
        "decidedBy": decided(inbound.policy, inbound.level.word()),
        "shadowed": shadowed.collect::<Vec<_>>(),
    });
    if let Some(port) = answer.port {
        server["port"] = port.into();
    }
    let mut told = json!({ "inbound": server });
    if let Some(client) = &answer.client {
        let sent = &client.sent;
        told["client"] = json!({
            "sends": sent.sends.word(),
            "decidedBy": decided(sent.rule, sent.level.word()),
        });
        told["outcome"] = outcome(client).into();
    }
    told["why"] = why(answer).into();
    told
}

fn decided(by: Option<&Origin>, level: &str) -> Value {
    let kind = by.map_or("default", |by| by.kind.word());
    let mut decided = Map::from_iter([
        ("kind".to_owned(), kind.into()),
        ("level".to_owned(), level.into()),
    ]);
    if let Some(Origin { namespace, name, .. }) = by {
        decided.insert("namespace".to_owned(), namespace.as_str().into());
        decided.insert("name".to_owned(), name.as_str().into());
    }
    decided.into()
}

fn outcome(client: &Client<'_>) -> &'static str {
    client
        .end
        .as_ref()
        .map_or("refused", |permit| permit.carries().word())
}

pub(super) fn text(answer: &Answer<'_>) -> String {
    let mut sentences = Vec::new();
    if let Some(client) = &answer.client {
        sentences.push(match &client.end {
            Ok(permit) => format!("The connection is made, {}.", carried(permit.carries())),
            Err(refused) => format!("The connection is refused: {}.", refused.why.sentence()),
        });
        sentences.push(format!(
            "The client sends {}: {}.",
            sent(client.sent.sends),
            sender(client)
        ));
    }
    sentences.push(taken(answer));
    let lost = answer.shadowed.iter();
    let lost: Vec<String> = lost
        .map(|lost| format!("{} ({})", lost.policy.full_name(), lost.why))
        .collect();
    if !lost.is_empty() {
        sentences.push(format!("Without effect: {}.", lost.join("; ")));
    }
    if let Some(remark) = answer.remark {
        sentences.push(format!("Beside that, {remark}."));
    }
    if let Some(client) = &answer.client {
        sentences.push(format!("If that was not meant: {}.", change(answer, client)));
    }
    sentences.join("\n")
}

fn why(answer: &Answer<'_>) -> String {
    let mut why = match &answer.client {
        None => taken(answer),
        Some(client) => match &client.end {
            Err(refused) => format!("{}; {}", refused.why.sentence(), by(answer)),
            Ok(permit) => format!(
                "the client sends {} ({}), and the server takes it: {}, {}",
                sent(client.sent.sends),
                sender(client),
                carried(permit.carries()),
                by(answer)
            ),
        },
    };
    if let Some(remark) = answer.remark {
        why.push_str("; ");
        why.push_str(remark);
    }
    why
}

fn taken(answer: &Answer<'_>) -> String {
    let port = answer
        .port
        .map_or("ports that no policy names".to_owned(), |port| {
            format!("port {port}")
        });
    format!(
        "The server is {} on {port}, {}.",
        answer.inbound.mode.word(),
        by(answer)
    )
}

/// Which policy decided for the server.
fn by(answer: &Answer<'_>) -> String {
    let inbound = &answer.inbound;
    match inbound.policy {
        Some(policy) => format!(
            "by {} {} ({} level)",
            Kind::PeerAuthentication,
            policy.full_name(),
            inbound.level.word()
        ),
        None => format!("{} as no policy says otherwise", inbound.mode.word()),
    }
}

fn sent(sends: Sends) -> &'static str {
    match sends {
        Sends::Plaintext => "plaintext",
        Sends::Tls => "TLS without an identity",
        Sends::OwnMutualTls => "mutual TLS with files of its own",
        Sends::MutualTls => "mutual TLS",
    }
}

fn sender(client: &Client<'_>) -> String {
    match client.sent.rule {
        Some(rule) => format!(
            "DestinationRule {} says so ({} level)",
            rule.full_name(),
            client.sent.level.word()
        ),
        None if client.is_given => "as you said".to_owned(),
        None if !client.is_meshed => "it has no proxy of the mesh".to_owned(),
        None => "no DestinationRule says otherwise, and that is what the server takes".to_owned(),
    }
}

fn carried(carries: Carries) -> &'static str {
    match carries {
        Carries::MutualTls => "in mutual TLS",
        Carries::Tls => "in TLS that the mesh passes through unread",
        Carries::Plaintext => "in plaintext",
    }
}

/// The way to another end.
fn change(answer: &Answer<'_>, client: &Client<'_>) -> String {
    let rule = client.sent.rule.map(Origin::full_name);
    let policy = answer.inbound.policy.map(Origin::full_name);
    let permissive = match &policy {
        Some(policy) => format!("make {policy} PERMISSIVE"),
        None => "apply a PeerAuthentication that is PERMISSIVE".to_owned(),
    };
    match (&client.end, rule) {
        (Err(refused), Some(rule)) => match refused.why {
            Why::MutualTlsToUnenrolled => format!("enrol the server, or remove tls from {rule}"),
            _ => format!("make {rule} ISTIO_MUTUAL or remove its tls, or {permissive}"),
        },
        (Err(refused), None) => match refused.why {
            Why::MutualTlsToUnenrolled => "enrol the server, or let the client send plaintext".to_owned(),
            _ => format!("give the client a proxy of the mesh, or {permissive}"),
        },
        (Ok(permit), _) if permit.carries() == Carries::MutualTls => {
            "a PeerAuthentication DISABLE for the workload lets clients send plaintext".to_owned()
        }
        (Ok(_), Some(rule)) => format!("make {rule} ISTIO_MUTUAL"),
        (Ok(_), None) => match policy {
            Some(policy) => format!("make {policy} STRICT to refuse it"),
            None => "apply a PeerAuthentication that is STRICT to refuse it".to_owned(),
        },
    }
}
