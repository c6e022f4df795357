//! Registrations for one identity: what the documents of a request would share with each other and with what
//! is stored.

use std::collections::{BTreeMap, BTreeSet};

use proto::v1;
use resources::{Document, Registration, Resource, Rival};

use crate::registration::RegistrationSet;

/// Most findings of one answer.
const MAX_RIVALS: usize = 100;

/// Which of the documents grant an identity that another registration grants to the same callers.
pub(super) fn rivals(set: &RegistrationSet, documents: &[Document]) -> Vec<v1::Finding> {
    let applied: Vec<&Registration> = documents
        .iter()
        .filter_map(|document| match &document.resource {
            Resource::Registration(registration) => Some(registration.as_ref()),
            _ => None,
        })
        .collect();
    let names: BTreeSet<String> = applied.iter().map(|one| one.full_name()).collect();
    let mut by_path: BTreeMap<&str, Vec<&Registration>> = BTreeMap::new();
    for one in &applied {
        by_path.entry(one.path().as_str()).or_default().push(one);
    }
    let rivals_of = |one: &&Registration| {
        let path = one.path().as_str();
        let stored = set.with_path(path).iter().map(|stored| &stored.registration);
        // Those that the request replaces are left out.
        let stored = stored.filter(|stored| !names.contains(&stored.full_name()));
        let others = by_path.get(path).into_iter().flatten().copied();
        let mut found = stored
            .chain(others)
            .filter_map(|other| Some((other, Rival::find(one, other)?)));
        // One is enough to make its author look.
        found.next().map(|(other, rival)| finding(one, other, rival))
    };
    applied.iter().filter_map(rivals_of).take(MAX_RIVALS).collect()
}

fn finding(one: &Registration, other: &Registration, rival: Rival) -> v1::Finding {
    let name = |registration: &Registration| format!("Registration {}", registration.full_name());
    v1::Finding {
        code: Rival::CODE.to_owned(),
        severity: "warning".to_owned(),
        resource: name(one),
        other: name(other),
        message: rival.message,
        fix: rival.fix.to_owned(),
    }
}
