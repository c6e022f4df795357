//! What requests name: kinds by any of their words, namespaces or the default one, filters, and pages by the last key of the one before.

use proto::{Refusal, v1};
use resources::Kind;

use crate::grpc::admin::invalid;
use crate::store::{ResourceName, ResourceRow, State};

const DEFAULT_NAMESPACE: &str = "default";

/// Which resources are asked for.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    kind: Option<Kind>,
    namespace: Option<String>,
}

/// Kind, namespace and name: the order of lists.
pub(super) type Key<'a> = (&'a str, &'a str, &'a str);

impl Filter {
    pub(super) fn rows<'a>(&'a self, state: &'a State) -> Box<dyn Iterator<Item = &'a ResourceRow> + 'a> {
        let in_namespace = |row: &&ResourceRow| {
            self.namespace
                .as_ref()
                .is_none_or(|namespace| row.namespace == *namespace)
        };
        match self.kind {
            Some(kind) => Box::new(state.resources_of(kind.word()).filter(in_namespace)),
            None => Box::new(state.resources().filter(in_namespace)),
        }
    }
}

/// Filter, revision and page token of a request to list or to follow.
pub(super) fn take_apart(request: v1::ListResourcesRequest) -> Result<(Filter, u64, String), Refusal> {
    let v1::ListResourcesRequest {
        kind: word,
        namespace,
        all_namespaces,
        since_revision,
        page_size: _,
        page_token,
    } = request;
    let kind = (!word.is_empty()).then(|| kind(&word)).transpose()?;
    let namespace = (!all_namespaces).then(|| or_default(namespace));
    Ok((Filter { kind, namespace }, since_revision, page_token))
}

pub(super) fn resource_name(request: v1::GetResourceRequest) -> Result<ResourceName, Refusal> {
    let v1::GetResourceRequest {
        kind: word,
        namespace,
        name,
    } = request;
    if name.is_empty() {
        return Err(invalid("name", "absent, expected the name of a resource"));
    }
    Ok(ResourceName {
        kind: kind(&word)?.word().to_owned(),
        namespace: or_default(namespace),
        name,
    })
}

pub(super) fn kind(word: &str) -> Result<Kind, Refusal> {
    Kind::from_word(word).map_err(|e| invalid("kind", e))
}

pub(super) fn or_default(namespace: String) -> String {
    if namespace.is_empty() {
        DEFAULT_NAMESPACE.to_owned()
    } else {
        namespace
    }
}

pub(super) fn key(row: &ResourceRow) -> Key<'_> {
    (&row.kind, &row.namespace, &row.name)
}

/// A page's token is the key of its last resource.
pub(super) fn after(page_token: &str) -> Result<Option<Key<'_>>, Refusal> {
    if page_token.is_empty() {
        return Ok(None);
    }
    let mut parts = page_token.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(kind), Some(namespace), Some(name)) => Ok(Some((kind, namespace, name))),
        _ => Err(invalid("page_token", "not one that this server gave")),
    }
}
