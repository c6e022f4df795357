//! Connections over the whole set: to every service, on its two ports, from its own namespace and from another.

use policy::{Outbound, Permit, Policies, Sends, Target, Workload, admit};
use resources::{Labels, Location, Protocol};

use crate::fleet::{EACH, NAMESPACES, app, full, namespace};

pub(crate) struct Connection {
    client_namespace: String,
    host: String,
    port: u16,
    subset: Option<&'static str>,
    server_namespace: String,
    server_labels: Labels,
}

impl Connection {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for number in 0..NAMESPACES {
            for service in 0..EACH {
                for (client, port) in [(number, 80), (number, 81), ((number + 7) % NAMESPACES, 80)] {
                    let (app, server) = (app(service), namespace(number));
                    all.push(Self {
                        client_namespace: namespace(client),
                        host: full(&app, &server),
                        port,
                        subset: (service == 3).then_some("v1"),
                        server_namespace: server,
                        server_labels: [("app", app.as_str()), ("version", "v1")]
                            .map(|(key, value)| (key.to_owned(), value.to_owned()))
                            .into(),
                    });
                }
            }
        }
        all
    }

    /// From the service's name to the end, if it is mutual TLS on the port that the service means: so the set is written.
    pub(crate) fn decide<'p>(&self, policies: &'p Policies) -> Option<(Outbound<'p>, Permit<'p>)> {
        let service = policies.service(&self.host, &self.client_namespace)?;
        let server = Workload {
            namespace: &self.server_namespace,
            labels: &self.server_labels,
            is_enrolled: true,
        };
        let port = policies.workload_port(service, service.port(self.port)?, &server);
        let inbound = policies.inbound(&server, Some(port));
        let target = Target {
            host: &self.host,
            namespace: &service.origin().namespace,
            port: self.port,
            subset: self.subset,
            is_external: service.entry().location() == Some(Location::External),
        };
        let sent = policies.outbound(&self.client_namespace, Some(&target), &server, &inbound);
        let protocol = policies.declared(&server, port).unwrap_or(Protocol::Tcp);
        let permit = admit(&server, inbound, protocol, sent.sends).ok()?;
        (sent.sends == Sends::MutualTls && port == self.port + 9_000).then_some((sent, permit))
    }
}
