//! Documents of every kind: applied and deleted all or nothing, listed, and followed. What is valid is decided by the crate `resources`;
//! here stand the rules that need to know the server.

mod judge;
mod mesh;
mod request;
mod rivals;
mod watch;

use std::sync::Arc;

use identity::Reason;
use proto::v1::outcome::Verb as MessageVerb;
use proto::{Refusal, v1};
use resources::{Document, Kind};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::admin::{Admin, page_size};
use crate::store::{Command, NewResource, Outcome, ResourceName, ResourceRow, Verb};
use mesh::Mesh;
use request::{after, key, kind, resource_name, take_apart};
use watch::Watcher;

/// A page ends when its documents have this many bytes, so that any client's limit of messages takes it.
const PAGE_BYTES: usize = 1 << 20;
/// Events that wait for a slow follower.
const WATCH_QUEUE: usize = 64;

/// `signet.v1.Resources`.
#[derive(Clone)]
pub struct ResourcesService {
    admin: Admin,
    mesh: Arc<Mesh>,
}

impl ResourcesService {
    /// For the administrators of this server.
    pub fn new(admin: Admin) -> Self {
        let mesh = Arc::new(Mesh::new(&admin.root_namespace));
        Self { admin, mesh }
    }

    async fn apply(
        &self,
        by: &str,
        request: v1::ApplyResourcesRequest,
    ) -> Result<v1::ApplyResourcesResponse, Refusal> {
        // Nothing is refused yet that `force` would let pass.
        let v1::ApplyResourcesRequest {
            resources,
            dry_run,
            force: _,
        } = request;
        let count = resources.len();
        let documents = resources
            .into_iter()
            .enumerate()
            .map(|(index, resource)| judge::read(&self.admin, index, resource))
            .collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> = documents
            .iter()
            .map(|document| short_name(document.kind, &document.name))
            .collect();
        let (documents, findings) = self.foresee(documents).await?;
        let resources = documents.into_iter().map(new_resource).collect();
        let command = Command::Apply {
            resources,
            dry_run,
            by: by.to_owned(),
        };
        let Outcome::Applied { verbs, revision } = self.admin.submit(command).await? else {
            return Err(unexpected("an application"));
        };
        if !dry_run && verbs.iter().any(|verb| *verb != Verb::Unchanged) {
            self.admin.changed(
                by,
                format!("applied {count} resources: {}", names.join(", ")),
                |_| (),
            );
        }
        let outcomes = names.into_iter().zip(verbs).map(|(resource, verb)| v1::Outcome {
            resource,
            verb: match verb {
                Verb::Created => MessageVerb::Created,
                Verb::Configured => MessageVerb::Configured,
                Verb::Unchanged => MessageVerb::Unchanged,
            }
            .into(),
        });
        Ok(v1::ApplyResourcesResponse {
            outcomes: outcomes.collect(),
            findings,
            revision,
        })
    }

    /// What the documents warn of, by themselves and among the others. Looking through a large set takes a while, and no other
    /// call waits for it.
    async fn foresee(
        &self,
        mut documents: Vec<Document>,
    ) -> Result<(Vec<Document>, Vec<v1::Finding>), Refusal> {
        let (mesh, store) = (Arc::clone(&self.mesh), Arc::clone(&self.admin.store));
        let registrations = Arc::clone(&self.admin.registrations);
        let work = move || {
            let mut findings: Vec<v1::Finding> = documents.iter().flat_map(unusual).collect();
            findings.extend(rivals::rivals(&registrations.current(), &documents));
            findings.extend(mesh.clashes(store.as_ref(), &mut documents));
            (documents, findings)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Refusal::new(Reason::Internal, format!("the analysis stopped: {e}")))
    }

    fn get(&self, request: v1::GetResourceRequest) -> Result<v1::Resource, Refusal> {
        let ResourceName {
            kind,
            namespace,
            name,
        } = resource_name(request)?;
        let state = self.admin.store.read();
        let row = state.resource(&kind, &namespace, &name).ok_or_else(|| {
            let full = format!("{kind} {namespace}/{name}");
            Refusal::new(Reason::NotFound, format!("{full} does not exist")).with("name", full)
        })?;
        Ok(to_message(row))
    }

    fn list(&self, request: v1::ListResourcesRequest) -> Result<v1::ListResourcesResponse, Refusal> {
        let size = page_size(request.page_size)?;
        let (filter, since_revision, page_token) = take_apart(request)?;
        let after = after(&page_token)?;
        let state = self.admin.store.read();
        let mut rows = filter
            .rows(&state)
            .filter(|row| row.revision > since_revision && after.is_none_or(|after| key(row) > after))
            .peekable();
        let (mut resources, mut bytes) = (Vec::new(), 0);
        while resources.len() < size && bytes < PAGE_BYTES {
            let Some(row) = rows.next() else { break };
            bytes += row.document_json.len();
            resources.push(to_message(row));
        }
        let next_page_token = match (rows.peek(), resources.last()) {
            (Some(_), Some(last)) => format!("{}/{}/{}", last.kind, last.namespace, last.name),
            _ => String::new(),
        };
        Ok(v1::ListResourcesResponse {
            resources,
            revision: state.revision(),
            next_page_token,
        })
    }

    async fn delete(
        &self,
        by: &str,
        request: v1::DeleteResourcesRequest,
    ) -> Result<v1::DeleteResourcesResponse, Refusal> {
        let v1::DeleteResourcesRequest { which } = request;
        let which = which
            .into_iter()
            .map(resource_name)
            .collect::<Result<Vec<_>, _>>()?;
        let deleted = which
            .iter()
            .map(|name| Ok(short_name(kind(&name.kind)?, &name.name)))
            .collect::<Result<Vec<_>, Refusal>>()?;
        let command = Command::Delete {
            which,
            by: by.to_owned(),
        };
        let Outcome::Deleted { revision } = self.admin.submit(command).await? else {
            return Err(unexpected("a deletion"));
        };
        self.admin
            .changed(by, format!("deleted {}", deleted.join(", ")), |_| ());
        Ok(v1::DeleteResourcesResponse { deleted, revision })
    }
}

fn short_name(kind: Kind, name: &str) -> String {
    format!("{}.{}/{name}", kind.word().to_ascii_lowercase(), kind.group())
}

fn new_resource(document: Document) -> NewResource {
    NewResource {
        kind: document.kind.word().to_owned(),
        namespace: document.namespace,
        name: document.name,
        document_json: document.json.into_bytes(),
    }
}

fn unusual(document: &Document) -> Vec<v1::Finding> {
    let finding = |warning: &resources::Warning| v1::Finding {
        code: "UNUSUAL".to_owned(),
        severity: "warning".to_owned(),
        resource: format!("{} {}/{}", document.kind, document.namespace, document.name),
        other: String::new(),
        message: warning.to_string(),
        fix: String::new(),
    };
    document.warnings.iter().map(finding).collect()
}

fn to_message(row: &ResourceRow) -> v1::Resource {
    v1::Resource {
        api_version: Kind::from_word(&row.kind)
            .map_or("", Kind::api_version)
            .to_owned(),
        kind: row.kind.clone(),
        namespace: row.namespace.clone(),
        name: row.name.clone(),
        document_json: row.document_json.clone(),
        revision: row.revision,
        created_at: Some(prost_types::Timestamp {
            seconds: row.created_at,
            nanos: 0,
        }),
    }
}

fn unexpected(what: &str) -> Refusal {
    Refusal::new(
        Reason::Internal,
        format!("the store answered {what} with something else"),
    )
}

#[tonic::async_trait]
impl v1::resources_server::Resources for ResourcesService {
    async fn apply_resources(
        &self,
        request: Request<v1::ApplyResourcesRequest>,
    ) -> Result<Response<v1::ApplyResourcesResponse>, Status> {
        let by = self.admin.writer(&request)?;
        let applied = self.apply(&by, request.into_inner()).await;
        Ok(Response::new(self.admin.told(&by, applied)?))
    }

    async fn get_resource(
        &self,
        request: Request<v1::GetResourceRequest>,
    ) -> Result<Response<v1::Resource>, Status> {
        self.admin.reader(&request)?;
        Ok(Response::new(self.get(request.into_inner())?))
    }

    async fn list_resources(
        &self,
        request: Request<v1::ListResourcesRequest>,
    ) -> Result<Response<v1::ListResourcesResponse>, Status> {
        self.admin.reader(&request)?;
        Ok(Response::new(self.list(request.into_inner())?))
    }

    async fn delete_resources(
        &self,
        request: Request<v1::DeleteResourcesRequest>,
    ) -> Result<Response<v1::DeleteResourcesResponse>, Status> {
        let by = self.admin.writer(&request)?;
        let deleted = self.delete(&by, request.into_inner()).await;
        Ok(Response::new(self.admin.told(&by, deleted)?))
    }

    type WatchResourcesStream = ReceiverStream<Result<v1::ResourceEvent, Status>>;

    async fn watch_resources(
        &self,
        request: Request<v1::ListResourcesRequest>,
    ) -> Result<Response<Self::WatchResourcesStream>, Status> {
        self.admin.reader(&request)?;
        let (filter, since_revision, _) = take_apart(request.into_inner())?;
        let (events, stream) = mpsc::channel(WATCH_QUEUE);
        let watcher = Watcher::new(filter, since_revision, events);
        let (store, drain) = (self.admin.store.clone(), self.admin.drain.clone());
        tokio::spawn(async move { watcher.follow(store, drain).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[cfg(test)]
mod tests;
