//! Documents: created, changed and removed, all of a request or none.

use std::collections::HashSet;

use identity::Reason;
use proto::Refusal;

use super::{Change, Decision};
use crate::store::command::{NewResource, Outcome, ResourceName, Verb};
use crate::store::rows::{self, ResourceRow, RowKind};
use crate::store::view::View;

pub(super) fn apply(
    view: &View<'_>,
    resources: Vec<NewResource>,
    dry_run: bool,
    by: String,
    now: i64,
) -> Result<Decision, Refusal> {
    let mut change = Change::new(now, by, format!("apply {} resources", resources.len()));
    let (mut verbs, mut names) = (Vec::with_capacity(resources.len()), HashSet::new());
    let next = view.revision() + 1;
    for resource in resources {
        let NewResource {
            kind,
            namespace,
            name,
            document_json,
        } = resource;
        if !names.insert(rows::resource_key(&kind, &namespace, &name)) {
            let name = format!("{kind} {namespace}/{name}");
            let message = format!("{name} is given twice, expected each resource once; nothing was applied");
            return Err(Refusal::new(Reason::ResourceInvalid, message).with("name", name));
        }
        let known = view.resource(&kind, &namespace, &name);
        let verb = match known {
            None => Verb::Created,
            Some(row) if row.document_json == document_json => Verb::Unchanged,
            Some(_) => Verb::Configured,
        };
        verbs.push(verb);
        if verb != Verb::Unchanged {
            change.put(RowKind::Resource(ResourceRow {
                kind,
                namespace,
                name,
                document_json,
                revision: next,
                created_revision: known.map_or(next, |row| row.created_revision),
                created_at: known.map_or(now, |row| row.created_at),
            }));
        }
    }
    if dry_run || change.is_empty() {
        let revision = view.revision();
        return Ok(Decision::unchanged(Outcome::Applied { verbs, revision }));
    }
    let revision = change.revise(view);
    Ok(change.into_decision(Outcome::Applied { verbs, revision }))
}

pub(super) fn delete(
    view: &View<'_>,
    which: &[ResourceName],
    by: String,
    now: i64,
) -> Result<Decision, Refusal> {
    let mut change = Change::new(now, by, format!("delete {} resources", which.len()));
    for ResourceName {
        kind,
        namespace,
        name,
    } in which
    {
        if view.resource(kind, namespace, name).is_none() {
            let name = format!("{kind} {namespace}/{name}");
            let message = format!("{name} does not exist; nothing was deleted");
            return Err(Refusal::new(Reason::NotFound, message).with("name", name));
        }
        change.delete(rows::resource_key(kind, namespace, name));
    }
    if change.is_empty() {
        let revision = view.revision();
        return Ok(Decision::unchanged(Outcome::Deleted { revision }));
    }
    let revision = change.revise(view);
    Ok(change.into_decision(Outcome::Deleted { revision }))
}
