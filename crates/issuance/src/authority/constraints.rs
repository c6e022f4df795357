//! Name constraints of the certificates above a leaf (RFC 5280 section 4.2.1.10), read as the strictest of
//! the common verifiers does: rustls-webpki fails closed on URI and directory names, Go on every form other
//! than DNS, IP, email and URI.

use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints};

use super::path::CertificatePlace;

/// What one certificate of a path permits below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Constraints {
    /// The certificate that has them.
    place: CertificatePlace,
    permitted: Vec<Subtree>,
    excluded: Vec<Subtree>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subtree {
    /// In lower case.
    Dns(String),
    Ip {
        network: Vec<u8>,
        mask: Vec<u8>,
    },
    /// No certificate issued here has one.
    Email,
}

impl Constraints {
    /// Reads the extension. The error says which part no leaf of ours could satisfy with every common
    /// verifier.
    pub(super) fn read(place: CertificatePlace, extension: &NameConstraints<'_>) -> Result<Self, String> {
        let read = |subtrees: &Option<Vec<GeneralSubtree<'_>>>| -> Result<Vec<Subtree>, String> {
            subtrees
                .iter()
                .flatten()
                .map(|subtree| Subtree::read(&subtree.base))
                .collect()
        };
        Ok(Self {
            place,
            permitted: read(&extension.permitted_subtrees)?,
            excluded: read(&extension.excluded_subtrees)?,
        })
    }

    /// The certificate that has them.
    pub(crate) fn place(&self) -> &CertificatePlace {
        &self.place
    }

    /// The first of these names that is not permitted, as text.
    pub(crate) fn forbids(&self, dns_names: &[String], ip_addresses: &[IpAddr]) -> Option<String> {
        let dns = dns_names.iter().find(|name| {
            self.is_forbidden(
                |subtree| matches!(subtree, Subtree::Dns(_)),
                |subtree, strict| subtree.has_dns(name, strict),
            )
        });
        let ip = ip_addresses.iter().find(|address| {
            self.is_forbidden(
                |subtree| matches!(subtree, Subtree::Ip { .. }),
                |subtree, _| subtree.has_ip(**address),
            )
        });
        dns.cloned().or_else(|| ip.map(ToString::to_string))
    }

    fn is_forbidden(&self, is_form: impl Fn(&Subtree) -> bool, has: impl Fn(&Subtree, bool) -> bool) -> bool {
        let mut permitted = self
            .permitted
            .iter()
            .filter(|subtree| is_form(subtree))
            .peekable();
        let is_permitted = permitted.peek().is_none() || permitted.any(|subtree| has(subtree, true));
        !is_permitted || self.excluded.iter().any(|subtree| has(subtree, false))
    }
}

impl Subtree {
    fn read(base: &GeneralName<'_>) -> Result<Self, String> {
        match base {
            GeneralName::DNSName(name) => Ok(Self::Dns(name.to_ascii_lowercase())),
            GeneralName::IPAddress(octets) if matches!(octets.len(), 8 | 32) => {
                let (network, mask) = octets.split_at(octets.len() / 2);
                Ok(Self::Ip {
                    network: network.to_vec(),
                    mask: mask.to_vec(),
                })
            }
            GeneralName::RFC822Name(_) => Ok(Self::Email),
            GeneralName::URI(uri) => Err(format!(
                "constrains URIs ({}): common verifiers reject every SPIFFE ID under one",
                identity::printable(uri)
            )),
            GeneralName::DirectoryName(_) => Err(
                "constrains directory names: common verifiers reject every certificate under one".to_owned(),
            ),
            _ => Err("constrains names of a form that common verifiers do not process".to_owned()),
        }
    }

    /// A leading dot stands for at least one label more; verifiers that ignore it are considered where
    /// `strict` is false.
    fn has_dns(&self, name: &str, strict: bool) -> bool {
        let Self::Dns(base) = self else {
            return false;
        };
        let (suffix, below_only) = match base.strip_prefix('.') {
            Some(rest) => (rest, strict),
            None => (base.as_str(), false),
        };
        match name.strip_suffix(suffix) {
            _ if suffix.is_empty() => true,
            Some("") => !below_only,
            Some(labels) => labels.ends_with('.'),
            None => false,
        }
    }

    fn has_ip(&self, address: IpAddr) -> bool {
        let Self::Ip { network, mask } = self else {
            return false;
        };
        let octets = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        octets.len() == network.len()
            && octets
                .iter()
                .zip(network)
                .zip(mask)
                .all(|((octet, network), mask)| octet & mask == network & mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constraints(permitted: Vec<Subtree>, excluded: Vec<Subtree>) -> Constraints {
        Constraints {
            place: CertificatePlace::root("CN=Root"),
            permitted,
            excluded,
        }
    }

    fn dns(base: &str) -> Subtree {
        Subtree::Dns(base.to_owned())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_dns_name_is_within_a_subtree_if_labels_are_added_on_its_left() {
        let within = constraints(
            vec![dns("example.org"), dns(".cluster.local")],
            vec![dns("bad.example.org")],
        );
        for good in [
            "example.org",
            "a.example.org",
            "a.b.example.org",
            "a.cluster.local",
        ] {
            assert_eq!(within.forbids(&names(&[good]), &[]), None, "{good}");
        }
        for bad in [
            "notexample.org",
            "org",
            "cluster.local",
            "bad.example.org",
            "a.bad.example.org",
        ] {
            assert_eq!(
                within.forbids(&names(&["example.org", bad]), &[]),
                Some(bad.to_owned())
            );
        }
        // Forms without a permitted subtree are free.
        assert_eq!(within.forbids(&[], &["10.0.0.1".parse().unwrap()]), None);
        let nothing = constraints(Vec::new(), vec![dns("")]);
        assert!(nothing.forbids(&names(&["a.example"]), &[]).is_some());
        // A verifier that ignores the dot excludes the domain itself, too.
        let dotted = constraints(Vec::new(), vec![dns(".example.org")]);
        assert!(dotted.forbids(&names(&["example.org"]), &[]).is_some());
    }

    #[test]
    fn an_address_is_within_a_network_of_its_own_family() {
        let ten = Subtree::Ip {
            network: vec![10, 0, 0, 0],
            mask: vec![255, 0, 0, 0],
        };
        let within = constraints(vec![ten.clone()], Vec::new());
        let forbids = |constraints: &Constraints, address: &str| {
            constraints.forbids(&[], &[address.parse().unwrap()]).is_some()
        };
        assert!(!forbids(&within, "10.1.2.3"));
        assert!(forbids(&within, "11.1.2.3"));
        assert!(forbids(&within, "::1"));
        let without = constraints(Vec::new(), vec![ten]);
        assert!(forbids(&without, "10.1.2.3"));
        assert!(!forbids(&without, "::1"));
    }
}
