//! The syntax of names in a certificate (RFC 5280 sections 4.2.1.6 and 4.2.1.10). x509-parser returns them as
//! they are, rustls-webpki looks only at those that it compares, and Go refuses a certificate with a
//! malformed name wherever it is.

use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints};

/// At least one name; strings of visible characters (a NUL ends a name for some readers); addresses of 4 or
/// 16 octets.
pub(super) fn check_names(names: &[GeneralName<'_>]) -> Result<(), String> {
    if names.is_empty() {
        return Err("no name in it".to_owned());
    }
    let fits = |name: &GeneralName<'_>| match name {
        GeneralName::URI(text) => is_uri(text),
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) => {
            text.bytes().all(|octet| octet.is_ascii_graphic())
        }
        GeneralName::IPAddress(octets) => matches!(octets.len(), 4 | 16),
        GeneralName::Invalid(..) => false,
        _ => true,
    };
    all(names, fits)
}

/// At least one subtree, and bases that can be compared with names.
pub(super) fn check_constraints(constraints: &NameConstraints<'_>) -> Result<(), String> {
    let lists = [&constraints.permitted_subtrees, &constraints.excluded_subtrees];
    let bases: Vec<&GeneralName<'_>> = lists
        .into_iter()
        .flatten()
        .flatten()
        .map(|GeneralSubtree { base }| base)
        .collect();
    if bases.is_empty() {
        return Err("no subtree in it".to_owned());
    }
    let fits = |base: &&GeneralName<'_>| match base {
        GeneralName::DNSName(text) => is_domain(text),
        GeneralName::URI(text) => is_domain(text) && text.parse::<IpAddr>().is_err(),
        GeneralName::RFC822Name(text) => is_domain(text.split_once('@').map_or(*text, |(_, domain)| domain)),
        GeneralName::IPAddress(octets) => is_network(octets),
        GeneralName::Invalid(..) => false,
        _ => true,
    };
    all(&bases, fits)
}

/// Whether every base is of a kind that is compared with names; other kinds exclude nothing.
pub(crate) fn are_compared(constraints: &NameConstraints<'_>) -> bool {
    let lists = [&constraints.permitted_subtrees, &constraints.excluded_subtrees];
    lists.into_iter().flatten().flatten().all(|subtree| {
        matches!(
            subtree.base,
            GeneralName::DNSName(_)
                | GeneralName::URI(_)
                | GeneralName::RFC822Name(_)
                | GeneralName::IPAddress(_)
        )
    })
}

fn all<T>(names: &[T], fits: impl Fn(&T) -> bool) -> Result<(), String> {
    if names.iter().all(fits) {
        Ok(())
    } else {
        Err("a name in it is malformed".to_owned())
    }
}

/// A scheme, and after it characters of RFC 3986; a host is a domain or an address, a port has digits.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let mut letters = scheme.chars();
    let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let is_written = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
    let is_escape = |part: &str| {
        part.as_bytes()
            .get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    is_scheme
        && rest.chars().all(is_written)
        && rest.split('%').skip(1).all(is_escape)
        && rest.strip_prefix("//").is_none_or(has_authority)
}

fn has_authority(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    match server.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, port)) => {
            address.parse::<std::net::Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        }
        None => match server.split_once(':') {
            Some((host, port)) => is_host(host) && is_port(port),
            None => is_host(server),
        },
    }
}

fn is_host(host: &str) -> bool {
    !host.starts_with('.') && !host.contains(['[', ']', '%']) && is_domain(host)
}

/// Labels with dots between them, before them if need be; nothing covers every name.
fn is_domain(text: &str) -> bool {
    let labels = text.strip_prefix('.').unwrap_or(text);
    text.is_empty()
        || labels
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(|octet| octet.is_ascii_graphic()))
}

/// An address and a mask whose set bits come first.
fn is_network(octets: &[u8]) -> bool {
    let mask = match octets.len() {
        8 | 32 => &octets[octets.len() / 2..],
        _ => return false,
    };
    let rest: Vec<u8> = mask.iter().copied().skip_while(|octet| *octet == 0xff).collect();
    match rest.split_first() {
        Some((first, zeroes)) => {
            first.leading_ones() + first.trailing_zeros() == u8::BITS
                && zeroes.iter().all(|octet| *octet == 0)
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_those_of_rfc_3986() {
        for good in [
            "spiffe://example.org/a",
            "spiffe://a_b",
            "https://user@example.org:8443/a%20b?c=d#e",
            "https://[::1]:443/",
            "https://[::1]",
            "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "ldap:///CN=a,DC=b?c",
        ] {
            assert!(is_uri(good), "{good}");
        }
        for bad in [
            "",
            "example.org",
            "1http://a",
            "https://exa mple.org",
            "https://example.org:x/",
            "https://example.org./",
            "https://a..b/",
            "https://a/%zz",
            "https://a/%2",
            "https://[::1/",
            "https://[::x]/",
            "https://ä/",
        ] {
            assert!(!is_uri(bad), "{bad}");
        }
    }

    #[test]
    fn networks_have_an_address_and_a_mask() {
        assert!(is_network(&[10, 0, 0, 0, 255, 0, 0, 0]));
        assert!(is_network(&[10, 0, 0, 0, 255, 240, 0, 0]));
        assert!(is_network(&[0; 8]));
        assert!(is_network(&[255; 32]));
        assert!(!is_network(&[10, 0, 0, 0, 255, 0, 255, 0]));
        assert!(!is_network(&[10, 0, 0, 0, 254, 128, 0, 0]));
        assert!(!is_network(&[10, 0, 0, 0, 0xef, 0, 0, 0]));
        assert!(!is_network(&[10, 0, 0, 0]));
    }

    #[test]
    fn domains_have_labels() {
        assert!(["", "a", "a.b", ".a.b", "a_b"].into_iter().all(is_domain));
        assert!(!["a.", "a..b", "..a", "a b", "ä", "."].into_iter().any(is_domain));
    }
}
