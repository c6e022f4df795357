//! `get`, `describe`, `delete`: resources as kubectl shows them, in kubectl's words.

use clap::Args;
use policy::Policies;
use proto::v1;
use proto::v1::resources_client::ResourcesClient;
use resources::{Document, Kind, Registration, Resource, Warning};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tonic::transport::Channel;

use crate::cli::Global;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::message;
use crate::output::{self, Format, Table};

mod describe;

pub(crate) const GET_EXAMPLE: &str =
    "Examples:\n  signet get registrations -A\n  signet get pa -n istio-system -o yaml";
pub(crate) const DESCRIBE_EXAMPLE: &str = "Example:\n  signet describe registration web -n shop";
pub(crate) const DELETE_EXAMPLE: &str = "Example:\n  signet delete registration web -n shop";
const DEFAULT_NAMESPACE: &str = "default";
/// Marks a registration that cannot be read, and so grants nothing.
const UNREADABLE: &str = "<unreadable>";

#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Kind of resource: registrations (reg), peerauthentications (pa), destinationrules (dr), serviceentries (se),
    /// workloadentries (we)
    #[arg(value_parser = Kind::from_word)]
    kind: Kind,
    /// Name of one resource; without it all are meant
    name: Option<String>,
    /// Namespace
    #[arg(short, long, default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Deletion {
    /// Kind of resource: registrations (reg), peerauthentications (pa), destinationrules (dr), serviceentries (se),
    /// workloadentries (we)
    #[arg(value_parser = Kind::from_word)]
    kind: Kind,
    /// Names of resources
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Namespace
    #[arg(short, long, default_value = DEFAULT_NAMESPACE)]
    namespace: String,
}

pub(crate) async fn get(selection: &Selection, global: &Global) -> Result<(), Failure> {
    let found = select(selection, global).await?;
    if selection.kind == Kind::Registration {
        remark_on_registrations(&found);
    }
    if global.output.is_for_people() {
        if found.is_empty() {
            output::remark(&nothing(selection));
            return Ok(());
        }
        return output::say(&table(selection, &found, global.output == Format::Wide));
    }
    let mut documents: Vec<Value> = found.iter().map(document).collect();
    let value = if selection.name.is_some() {
        documents.swap_remove(0)
    } else {
        json!({ "apiVersion": "v1", "kind": "List", "items": documents })
    };
    output::show(global.output, &value, String::new)
}

pub(crate) async fn describe(selection: &Selection, global: &Global) -> Result<(), Failure> {
    let found = select(selection, global).await?;
    if found.is_empty() {
        output::remark(&nothing(selection));
        return Ok(());
    }
    if selection.kind == Kind::Registration {
        remark_on_registrations(&found);
    }
    let documents: Vec<Value> = found.iter().map(document).collect();
    let has_effect = matches!(selection.kind, Kind::PeerAuthentication | Kind::DestinationRule);
    let compiled = if has_effect && global.output.is_for_people() {
        Some(Policies::compile(
            &root_namespace(global)?,
            &policies(global).await?,
        ))
    } else {
        None
    };
    let text = || {
        let one = |(document, found): (&Value, &v1::Resource)| {
            let compiled = compiled.as_ref();
            let effect =
                compiled.and_then(|compiled| compiled.effect(selection.kind, &found.namespace, &found.name));
            describe::text(document, effect.as_ref())
        };
        documents
            .iter()
            .zip(&found)
            .map(one)
            .collect::<Vec<_>>()
            .join("\n\n\n")
    };
    output::show(global.output, &output::items(documents.clone()), text)
}

pub(crate) async fn delete(deletion: &Deletion, global: &Global) -> Result<(), Failure> {
    let name = |name: &String| v1::GetResourceRequest {
        kind: deletion.kind.word().to_owned(),
        namespace: deletion.namespace.clone(),
        name: name.clone(),
    };
    let request = v1::DeleteResourcesRequest {
        which: deletion.names.iter().map(name).collect(),
    };
    let answer = connect(global)
        .await?
        .delete_resources(request)
        .await?
        .into_inner();
    let value = message::json("DeleteResourcesResponse", &answer);
    output::show(global.output, &value, || {
        let kind = format!(
            "{}.{}",
            deletion.kind.word().to_lowercase(),
            deletion.kind.group()
        );
        let lines = deletion
            .names
            .iter()
            .map(|name| format!("{kind} \"{name}\" deleted"));
        lines.collect::<Vec<_>>().join("\n")
    })
}

/// The resources of one kind, on any number of pages.
pub(crate) async fn list(
    client: &mut ResourcesClient<Channel>,
    kind: Kind,
    namespace: Option<&str>,
) -> Result<Vec<v1::Resource>, Failure> {
    let mut request = v1::ListResourcesRequest {
        kind: kind.word().to_owned(),
        namespace: namespace.unwrap_or_default().to_owned(),
        all_namespaces: namespace.is_none(),
        ..v1::ListResourcesRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let page = client.list_resources(request.clone()).await?.into_inner();
        found.extend(page.resources);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(found);
        }
    }
}

/// Every policy that the server holds, with the age that the server gives it.
pub(crate) async fn policies(global: &Global) -> Result<Vec<Document>, Failure> {
    let mut client = connect(global).await?;
    let mut documents = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Registration) {
        for resource in list(&mut client, kind, None).await? {
            documents.push(stored(&resource)?);
        }
    }
    Ok(documents)
}

/// The namespace of the mesh's own policies, as the server has it.
pub(crate) fn root_namespace(global: &Global) -> Result<String, Failure> {
    Ok(Instance::locate(global)?.ready()?.root_namespace)
}

fn stored(resource: &v1::Resource) -> Result<Document, Failure> {
    let mut document =
        Document::from_json(&resource.document_json).map_err(|e| Failure::new(e.reason(), e))?;
    let created = resource.created_at.as_ref().map(|at| at.seconds);
    document.created = created.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    Ok(document)
}

/// The usable value of a registration that the server holds, and what of it is not in force; an error says
/// why it cannot be read.
pub(crate) fn registration(resource: &v1::Resource) -> Result<(Registration, Vec<Warning>), String> {
    let document = Document::from_stored_json(&resource.document_json).map_err(|e| e.to_string())?;
    match document.resource {
        Resource::Registration(registration) => Ok((*registration, document.warnings)),
        _ => Err(format!("found a {}, expected a Registration", document.kind)),
    }
}

/// Reports on standard error which registrations cannot be read, or are in force only in part.
fn remark_on_registrations(found: &[v1::Resource]) {
    for resource in found {
        let name = format!("registration {}/{}", resource.namespace, resource.name);
        match registration(resource) {
            Ok((_, warnings)) => {
                for warning in warnings {
                    output::remark(&format!("{name}: {warning}"));
                }
            }
            Err(why) => output::remark(&format!("{name} cannot be read and grants nothing: {why}")),
        }
    }
}

async fn connect(global: &Global) -> Result<ResourcesClient<Channel>, Failure> {
    Ok(ResourcesClient::new(Instance::locate(global)?.connect().await?))
}

async fn select(selection: &Selection, global: &Global) -> Result<Vec<v1::Resource>, Failure> {
    let mut client = connect(global).await?;
    let Some(name) = &selection.name else {
        let namespace = (!selection.all_namespaces).then_some(selection.namespace.as_str());
        return list(&mut client, selection.kind, namespace).await;
    };
    let request = v1::GetResourceRequest {
        kind: selection.kind.word().to_owned(),
        namespace: selection.namespace.clone(),
        name: name.clone(),
    };
    Ok(vec![client.get_resource(request).await?.into_inner()])
}

/// kubectl's words for an empty list.
fn nothing(selection: &Selection) -> String {
    if selection.all_namespaces {
        "No resources found".to_owned()
    } else {
        format!("No resources found in {} namespace.", selection.namespace)
    }
}

/// The document as it was applied, with the time of its creation. Of one that is not JSON the name is left,
/// with the reason as its status, so that the others are listed all the same.
fn document(resource: &v1::Resource) -> Value {
    let unreadable = |why: serde_json::Error| {
        json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": { "name": resource.name, "namespace": resource.namespace },
            "status": { "unreadable": why.to_string() },
        })
    };
    let mut document: Value = serde_json::from_slice(&resource.document_json).unwrap_or_else(unreadable);
    let created = message::moment(resource.created_at.as_ref());
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut)
        && !created.is_empty()
    {
        metadata.entry("creationTimestamp").or_insert(created.into());
    }
    document
}

fn table(selection: &Selection, found: &[v1::Resource], wide: bool) -> String {
    let namespace = ["NAMESPACE"].into_iter().filter(|_| selection.all_namespaces);
    let columns = columns(selection.kind, wide);
    let mut table = Table::new(namespace.chain(["NAME"]).chain(columns.iter().copied()));
    for resource in found {
        let namespace = [resource.namespace.clone()]
            .into_iter()
            .filter(|_| selection.all_namespaces);
        // A document of a newer server may have what this program does not know; its name is shown all the same.
        let document: Value = serde_json::from_slice(&resource.document_json).unwrap_or_default();
        let cells = columns.iter().map(|column| cell(column, resource, &document));
        table.row(namespace.chain([resource.name.clone()]).chain(cells));
    }
    table.text()
}

/// The columns behind the name: kubectl's for Istio's kinds.
fn columns(kind: Kind, wide: bool) -> &'static [&'static str] {
    match (kind, wide) {
        (Kind::Registration, false) => &["SPIFFE ID", "AGE"],
        (Kind::Registration, true) => &["SPIFFE ID", "AGE", "ROLE", "CALLERS"],
        (Kind::PeerAuthentication, _) => &["MODE", "AGE"],
        (Kind::DestinationRule, _) => &["HOST", "AGE"],
        (Kind::ServiceEntry, _) => &["HOSTS", "LOCATION", "RESOLUTION", "AGE"],
        (Kind::WorkloadEntry, _) => &["AGE", "ADDRESS"],
    }
}

fn cell(column: &str, resource: &v1::Resource, document: &Value) -> String {
    let spec = &document["spec"];
    let field = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let role = |(registration, _): (Registration, _)| registration.role().word().to_owned();
    let callers = |(registration, _): (Registration, _)| {
        let callers = registration.callers().iter();
        callers.map(ToString::to_string).collect::<Vec<_>>().join(",")
    };
    match column {
        "AGE" => message::age(resource.created_at.as_ref()),
        "SPIFFE ID" if registration(resource).is_err() => {
            format!("{UNREADABLE} {}", field(&spec["spiffeId"]))
                .trim_end()
                .to_owned()
        }
        "SPIFFE ID" => field(&spec["spiffeId"]),
        "MODE" => field(&spec["mtls"]["mode"]),
        "HOST" => field(&spec["host"]),
        "HOSTS" => field(&spec["hosts"]),
        "LOCATION" => field(&spec["location"]),
        "RESOLUTION" => field(&spec["resolution"]),
        "ADDRESS" => field(&spec["address"]),
        "ROLE" => registration(resource).map_or(String::new(), role),
        _ => registration(resource).map_or(String::new(), callers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(all_namespaces: bool) -> Selection {
        Selection {
            kind: Kind::Registration,
            name: None,
            namespace: "shop".into(),
            all_namespaces,
        }
    }

    fn web() -> v1::Resource {
        let json = json!({
            "apiVersion": "signet.dev/v1", "kind": "Registration", "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "spiffeId": "spiffe://td/web", "callers": ["token"] },
        });
        v1::Resource {
            namespace: "shop".into(),
            name: "web".into(),
            document_json: json.to_string().into_bytes(),
            created_at: Some(prost_types::Timestamp {
                seconds: 1_767_225_600,
                nanos: 0,
            }),
            ..v1::Resource::default()
        }
    }

    #[test]
    fn an_empty_list_is_told_in_the_words_of_kubectl() {
        assert_eq!(
            nothing(&selection(false)),
            "No resources found in shop namespace."
        );
        assert_eq!(nothing(&selection(true)), "No resources found");
    }

    #[test]
    fn columns_are_those_of_kubectl_with_the_namespace_only_for_all() {
        let found = [web()];
        assert!(
            table(&selection(false), &found, false)
                .starts_with("NAME   SPIFFE ID         AGE\nweb    spiffe://td/web")
        );
        let wide = table(&selection(true), &found, true);
        assert!(wide.starts_with("NAMESPACE   NAME"), "{wide}");
        assert!(wide.ends_with("workload   token"), "{wide}");
    }

    #[test]
    fn every_kind_has_the_columns_of_kubectl() {
        for (kind, spec, expected) in [
            (
                Kind::PeerAuthentication,
                json!({ "mtls": { "mode": "STRICT" } }),
                "NAME   MODE     AGE\nweb    STRICT   ",
            ),
            (
                Kind::DestinationRule,
                json!({ "host": "details" }),
                "NAME   HOST      AGE\nweb    details   ",
            ),
            (
                Kind::ServiceEntry,
                json!({ "hosts": ["a.b"], "location": "MESH_INTERNAL", "resolution": "STATIC" }),
                "NAME   HOSTS     LOCATION        RESOLUTION   AGE\nweb    [\"a.b\"]   MESH_INTERNAL   STATIC       ",
            ),
        ] {
            let mut resource = web();
            resource.document_json = json!({ "spec": spec }).to_string().into_bytes();
            let table = table(
                &Selection {
                    kind,
                    ..selection(false)
                },
                &[resource],
                false,
            );
            assert!(table.starts_with(expected), "{table}");
        }
    }

    #[test]
    fn a_document_is_shown_with_its_creation_time() {
        assert_eq!(
            document(&web())["metadata"]["creationTimestamp"],
            "2026-01-01T00:00:00Z"
        );
    }

    #[test]
    fn a_registration_that_cannot_be_read_is_marked_and_listed_with_the_others() {
        let (mut odd, mut broken) = (web(), web());
        odd.name = "odd".into();
        odd.document_json = String::from_utf8(web().document_json)
            .unwrap()
            .replace("callers", "of-a-newer-server")
            .into();
        broken.name = "broken".into();
        broken.document_json = b"{".to_vec();
        let found = [web(), odd, broken];
        let table = table(&selection(false), &found, false);
        let rows: Vec<&str> = table.lines().skip(1).collect();
        assert!(rows[0].starts_with("web      spiffe://td/web"), "{table}");
        assert!(
            rows[1].starts_with("odd      <unreadable> spiffe://td/web"),
            "{table}"
        );
        assert!(rows[2].starts_with("broken   <unreadable>"), "{table}");
        assert_eq!(document(&found[2])["metadata"]["name"], "broken");
        assert!(document(&found[2])["status"]["unreadable"].is_string());
        let (granted, warnings) = registration(&found[0]).unwrap();
        assert!(granted.name() == "web" && warnings.is_empty());
    }
}
