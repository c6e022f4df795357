//! The set that is measured: 10 000 policies in 1 000 namespaces and one of the mesh, 10 000 services and as many workloads. Half of
//! the policies are PeerAuthentications, of namespaces, of workloads and their ports; half DestinationRules, for hosts and wildcards,
//! with ports and subsets, of the services' namespaces and of their clients'. Nothing in it clashes.

use std::fmt::Write;

pub(crate) const NAMESPACES: usize = 1_000;
/// Policies, services and workloads of one namespace.
pub(crate) const EACH: usize = 10;
pub(crate) const ROOT: &str = "istio-system";

const NETWORKING: &str = "networking.istio.io/v1";

/// The texts of three files.
pub(crate) struct Fleet {
    pub(crate) policies: String,
    pub(crate) services: String,
    pub(crate) workloads: String,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let mut fleet = Self {
            policies: String::new(),
            services: String::new(),
            workloads: String::new(),
        };
        peer(
            &mut fleet.policies,
            ROOT,
            "default",
            "  mtls:\n    mode: STRICT\n",
        );
        for number in 0..NAMESPACES {
            fleet.peers(number);
            fleet.rules(number);
            fleet.services(number);
        }
        fleet
    }

    /// Of the namespace, and of four of its services.
    fn peers(&mut self, number: usize) {
        let (name, mode) = (namespace(number), ["STRICT", "PERMISSIVE"][number % 2]);
        let spec = format!("  mtls:\n    mode: {mode}\n");
        peer(&mut self.policies, &name, "default", &spec);
        for service in 1..EACH / 2 {
            let ports = match service % 2 {
                0 => "  portLevelMtls:\n    9081:\n      mode: PERMISSIVE\n",
                _ => "",
            };
            let app = app(service);
            let spec = format!(
                "  selector:\n    matchLabels:\n      app: {app}\n  mtls:\n    mode: STRICT\n{ports}"
            );
            peer(&mut self.policies, &name, &app, &spec);
        }
    }

    /// For three services, for one of the next namespace, and for what is left, of which it says nothing.
    fn rules(&mut self, number: usize) {
        let (name, next) = (namespace(number), namespace((number + 1) % NAMESPACES));
        let tls = "  trafficPolicy:\n    tls:\n      mode: ISTIO_MUTUAL\n";
        let ports = "    portLevelSettings:\n    - port:\n        number: 81\n      tls:\n        mode: ISTIO_MUTUAL\n";
        let subsets = "  subsets:\n  - name: v1\n    labels:\n      version: v1\n    trafficPolicy:\n      tls:\n        mode: ISTIO_MUTUAL\n";
        let wildcard = format!("'*.{name}.svc.cluster.local'");
        for (rule, host, settings) in [
            ("first", app(1), [tls, ""]),
            ("ports", app(2), [tls, ports]),
            ("subsets", app(3), [tls, subsets]),
            ("theirs", full(&app(5), &next), [tls, ""]),
            ("others", wildcard, ["", ""]),
        ] {
            let spec = format!("  host: {host}\n{}", settings.concat());
            document(
                &mut self.policies,
                NETWORKING,
                "DestinationRule",
                &name,
                rule,
                &spec,
            );
        }
    }

    fn services(&mut self, number: usize) {
        let name = namespace(number);
        for service in 0..EACH {
            let app = app(service);
            let spec = format!(
                "  hosts:\n  - {}\n  location: MESH_INTERNAL\n  resolution: STATIC\n  ports:\n  - number: 80\n    name: http\n    protocol: HTTP\n    \
                 targetPort: 9080\n  - number: 81\n    name: tcp\n    protocol: TCP\n    targetPort: 9081\n  workloadSelector:\n    labels:\n      app: {app}\n",
                full(&app, &name)
            );
            document(&mut self.services, NETWORKING, "ServiceEntry", &name, &app, &spec);
            let spec = format!(
                "  address: 10.{}.{}.{service}\n  labels:\n    app: {app}\n    version: v1\n  serviceAccount: {app}\n",
                number / 256,
                number % 256
            );
            document(
                &mut self.workloads,
                NETWORKING,
                "WorkloadEntry",
                &name,
                &app,
                &spec,
            );
        }
    }
}

pub(crate) fn namespace(number: usize) -> String {
    format!("team-{number}")
}

pub(crate) fn app(service: usize) -> String {
    format!("service-{service}")
}

pub(crate) fn full(app: &str, namespace: &str) -> String {
    format!("{app}.{namespace}.svc.cluster.local")
}

fn peer(text: &mut String, namespace: &str, name: &str, spec: &str) {
    document(
        text,
        "security.istio.io/v1",
        "PeerAuthentication",
        namespace,
        name,
        spec,
    );
}

fn document(text: &mut String, version: &str, kind: &str, namespace: &str, name: &str, spec: &str) {
    write!(
        text,
        "---\napiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n{spec}"
    )
    .expect("texts grow");
}
