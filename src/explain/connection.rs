//! `explain connection`: the facts of the command line put to the crate `policy`, and its decision told to programs and to people.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use identity::Reason;
use policy::{
    DEFAULT_ROOT_NAMESPACE, Inbound, Outbound, Permit, Policies, Refused, RuleLevel, Sends, Service, Target,
    Workload, admit,
};
use resources::{Document, Labels, Location, Protocol};

use crate::cli::Global;
use crate::documents;
use crate::failure::Failure;
use crate::output;
use crate::resource;

mod told;

pub(super) const EXAMPLE: &str = "Examples:\n  signet explain connection -f policies/ --to default:app=details --port 9080 --from-unmeshed\n  \
    signet explain connection -f policies/ --to default:app=details --service details.default.svc.cluster.local:9080 --from default:app=sleep\n\n\
    Without -f the running server's resources are judged.";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// YAML or JSON file, folder of such files, or - for standard input; repeatable
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    filenames: Vec<PathBuf>,
    /// The server's namespace and labels
    #[arg(long, value_name = "NS[:k=v,k=v]", value_parser = place)]
    to: Place,
    /// No proxy of the mesh stands before the server
    #[arg(long)]
    to_unmeshed: bool,
    /// The server's own port
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The service that the client calls, and its port
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    service: Option<(String, u16)>,
    /// The subset of the service
    #[arg(long, value_name = "NAME", requires = "service")]
    subset: Option<String>,
    /// The client's namespace and labels
    #[arg(long, value_name = "NS[:k=v,k=v]", value_parser = place, conflicts_with = "from_unmeshed")]
    from: Option<Place>,
    /// The client has no proxy of the mesh
    #[arg(long)]
    from_unmeshed: bool,
    /// What the client sends, whatever policies say
    #[arg(long, value_enum, value_name = "plaintext|tls|mtls")]
    sends: Option<Sent>,
    /// What the client speaks within
    #[arg(long, value_enum, value_name = "http|tcp")]
    speaks: Option<Speaks>,
    /// What the port is declared to speak; else what a ServiceEntry says
    #[arg(long, value_enum, value_name = "http|tcp|auto")]
    declared: Option<Declared>,
    /// Namespace of the mesh's own policies [default: the server's, with -f istio-system]
    #[arg(long, value_name = "NS")]
    root_namespace: Option<String>,
}

/// A namespace, and labels in it.
#[derive(Clone, Debug)]
struct Place {
    namespace: String,
    labels: Labels,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sent {
    Plaintext,
    Tls,
    Mtls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Speaks {
    Http,
    Tcp,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Declared {
    Http,
    Tcp,
    Auto,
}

/// What was found out.
struct Answer<'p> {
    inbound: Inbound<'p>,
    port: Option<u16>,
    shadowed: Vec<policy::Shadowed<'p>>,
    client: Option<Client<'p>>,
    /// A sentence beside the decision.
    remark: Option<&'static str>,
}

struct Client<'p> {
    sent: Outbound<'p>,
    is_meshed: bool,
    /// The command line said what is sent.
    is_given: bool,
    end: Result<Permit<'p>, Refused<'p>>,
}

pub(super) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let (root_namespace, documents): (String, Vec<Document>) = if arguments.filenames.is_empty() {
        (
            resource::root_namespace(global)?,
            resource::policies(global).await?,
        )
    } else {
        let written = documents::read_all(&arguments.filenames)?;
        let documents = written.into_iter().map(|written| written.document);
        (DEFAULT_ROOT_NAMESPACE.to_owned(), documents.collect())
    };
    let root_namespace = arguments.root_namespace.as_ref().unwrap_or(&root_namespace);
    let policies = Policies::compile(root_namespace, &documents);
    let answer = answer(arguments, &policies)?;
    output::show(global.output, &told::json(&answer), || told::text(&answer))
}

fn answer<'p>(arguments: &Arguments, policies: &'p Policies) -> Result<Answer<'p>, Failure> {
    let server = Workload {
        namespace: &arguments.to.namespace,
        labels: &arguments.to.labels,
        is_enrolled: !arguments.to_unmeshed,
    };
    let client = arguments.from.as_ref().map(|from| from.namespace.as_str());
    let client_namespace = client.unwrap_or(server.namespace);
    let called = Called::find(arguments, policies, &server, client_namespace);
    let port = arguments
        .port
        .or(called.as_ref().and_then(|called| called.workload_port));
    let inbound = policies.inbound(&server, port);
    let protocol = match arguments.declared {
        Some(Declared::Http) => Protocol::Http,
        Some(Declared::Tcp | Declared::Auto) => Protocol::Tcp,
        None => port
            .and_then(|port| policies.declared(&server, port))
            .or(called.as_ref().and_then(|called| called.protocol))
            .unwrap_or(Protocol::Tcp),
    };
    let target = called
        .as_ref()
        .map(|called| called.target(arguments.subset.as_deref()));
    let asks = client.is_some() || arguments.from_unmeshed || arguments.sends.is_some();
    let sent = match (arguments.sends, client) {
        (Some(sends), _) => sent_anyway(sends.into()),
        (None, None) => sent_anyway(Sends::Plaintext),
        (None, Some(client)) => {
            known_subset(policies, client, target.as_ref())?;
            policies.outbound(client, target.as_ref(), &server, &inbound)
        }
    };
    let client = asks.then(|| Client {
        sent,
        is_meshed: client.is_some(),
        is_given: arguments.sends.is_some(),
        end: admit(&server, inbound, protocol, sent.sends),
    });
    let alien = protocol == Protocol::Http && arguments.speaks == Some(Speaks::Tcp);
    Ok(Answer {
        inbound,
        port,
        shadowed: policies.shadowed(&server, &inbound),
        client,
        remark: alien.then_some("the port is declared HTTP, which the client does not speak"),
    })
}

fn sent_anyway<'p>(sends: Sends) -> Outbound<'p> {
    Outbound {
        sends,
        level: RuleLevel::Automatic,
        rule: None,
        tls: None,
    }
}

fn known_subset(policies: &Policies, client: &str, target: Option<&Target<'_>>) -> Result<(), Failure> {
    match target {
        Some(target) if !policies.knows_subset(client, target) => Err(Failure::new(
            Reason::NotFound,
            format!(
                "no DestinationRule that counts for clients of {client} gives {} the subset {}",
                target.host,
                target.subset.unwrap_or_default()
            ),
        )),
        _ => Ok(()),
    }
}

/// The service between client and server.
struct Called {
    host: String,
    namespace: String,
    port: u16,
    workload_port: Option<u16>,
    protocol: Option<Protocol>,
    is_external: bool,
}

impl Called {
    /// The service that was named, or else the only one that has this workload and port behind it.
    fn find(arguments: &Arguments, policies: &Policies, server: &Workload<'_>, client: &str) -> Option<Self> {
        let Some((host, port)) = &arguments.service else {
            return Self::only(policies, server, arguments.port?);
        };
        let host = if host.contains('.') {
            host.clone()
        } else {
            format!("{host}.{client}.svc.cluster.local")
        };
        if let Some(service) = policies.service(&host, client) {
            return Some(Self::of(policies, service, host, *port, server));
        }
        let mut labels = host.split('.').skip(1);
        let namespace = labels.next().filter(|_| labels.next() == Some("svc"));
        Some(Self {
            namespace: namespace.unwrap_or(server.namespace).to_owned(),
            host,
            port: *port,
            workload_port: None,
            protocol: None,
            is_external: false,
        })
    }

    fn of(policies: &Policies, service: &Service, host: String, port: u16, server: &Workload<'_>) -> Self {
        let declared = service.port(port);
        Self {
            host,
            namespace: service.origin().namespace.clone(),
            port,
            workload_port: declared.map(|declared| policies.workload_port(service, declared, server)),
            protocol: declared.and_then(|declared| declared.protocol),
            is_external: service.entry().location() == Some(Location::External),
        }
    }

    fn only(policies: &Policies, server: &Workload<'_>, workload_port: u16) -> Option<Self> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for service in policies.services_of(server) {
            for port in service.entry().ports() {
                for host in service.entry().hosts() {
                    let is_it = policies.workload_port(service, port, server) == workload_port;
                    if is_it && seen.insert((host.as_str(), port.number)) {
                        found.push(Self::of(policies, service, host.clone(), port.number, server));
                    }
                }
            }
        }
        let only = found.pop()?;
        found.is_empty().then_some(only)
    }

    fn target<'a>(&'a self, subset: Option<&'a str>) -> Target<'a> {
        Target {
            host: &self.host,
            namespace: &self.namespace,
            port: self.port,
            subset,
            is_external: self.is_external,
        }
    }
}

impl From<Sent> for Sends {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Plaintext => Sends::Plaintext,
            Sent::Tls => Sends::Tls,
            Sent::Mtls => Sends::MutualTls,
        }
    }
}

fn place(text: &str) -> Result<Place, String> {
    let (namespace, labels) = text.split_once(':').unwrap_or((text, ""));
    if namespace.is_empty() {
        return Err("no namespace, expected NS or NS:k=v,k=v".to_owned());
    }
    let pair = |pair: &str| match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("label {pair:?}, expected k=v")),
    };
    let labels = labels.split(',').filter(|text| !text.is_empty());
    Ok(Place {
        namespace: namespace.to_owned(),
        labels: labels.map(pair).collect::<Result<_, _>>()?,
    })
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let parsed = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok().filter(|port| *port > 0)?)));
    match parsed {
        Some((host, port)) if !host.is_empty() => Ok((host.to_owned(), port)),
        _ => Err("expected HOST:PORT".to_owned()),
    }
}

#[cfg(test)]
mod tests;
