//! Faults and oddities of one certificate of a chain.

use std::rc::Rc;

use super::certificate::{
    ANY_USAGE, AUTHORITY_KEY_ID, AuthorityKey, BASIC_CONSTRAINTS, CERTIFICATE_POLICIES, CLIENT_AUTH,
    CODE_SIGNING, CRL_SIGN, Certificate, Constraints, DIGITAL_SIGNATURE, DIRECTORY, DNS, EMAIL, Extension,
    IP, KEY_CERT_SIGN, NAME_CONSTRAINTS, NameLimits, POLICY_CONSTRAINTS, REGISTERED_ID, SERVER_AUTH,
    SUBJECT_ALT_NAME, SUBJECT_KEY_ID, URI, bit_string, name, oid, sequence, tlv,
};
use super::keys::Key;
use super::random::Random;

/// Which certificate of a chain may have a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Any,
    Leaf,
    /// An intermediate or the root.
    Issuer,
}

/// A fault: its name, where it may be, and how it comes about.
pub struct Fault {
    pub name: &'static str,
    pub place: Place,
    pub apply: fn(&mut Certificate, &mut Choice<'_>),
}

/// The sources that a fault may use.
pub struct Choice<'a> {
    pub random: &'a mut Random,
    /// Keys that ring cannot make, by name.
    pub foreign: &'a [(&'static str, Rc<Key>)],
}

impl Choice<'_> {
    fn foreign(&self, name: &str) -> Rc<Key> {
        let (_, key) = self
            .foreign
            .iter()
            .find(|(kind, _)| *kind == name)
            .expect("a kind of key");
        Rc::clone(key)
    }
}

const fn fault(name: &'static str, place: Place, apply: fn(&mut Certificate, &mut Choice<'_>)) -> Fault {
    Fault { name, place, apply }
}

fn constrain(cert: &mut Certificate, critical: bool, ca: Option<bool>, path_length: Option<u8>) {
    cert.constraints = Some(Constraints {
        critical,
        ca,
        path_length,
    });
}

fn add(cert: &mut Certificate, kind: u8, critical: bool, value: Vec<u8>) {
    cert.others.push(Extension::standard(kind, critical, value));
}

fn add_unknown(cert: &mut Certificate, critical: bool) {
    let (oid, value) = (vec![0x2a, 3, 4, 5], vec![5, 0]);
    cert.others.push(Extension { oid, critical, value });
}

fn rename(cert: &mut Certificate, uri: &str) {
    cert.names.retain(|(tag, _)| *tag != URI);
    cert.names.push((URI, uri.as_bytes().to_vec()));
}

fn limit(cert: &mut Certificate, choice: &mut Choice<'_>, permitted: bool) {
    let bases: [(u8, &[u8]); 11] = [
        (DNS, b"example.org"),
        (DNS, b".example.org"),
        (DNS, b"other.example"),
        (URI, b"example.org"),
        (URI, b".example.org"),
        (URI, b"other.example"),
        (IP, &[10, 0, 0, 0, 255, 0, 0, 0]),
        (IP, &[192, 168, 0, 0, 255, 255, 0, 0]),
        (EMAIL, b"example.org"),
        (DIRECTORY, &[]),
        (REGISTERED_ID, &[0x2a, 3, 4]),
    ];
    let (tag, base) = *choice.random.pick(&bases);
    let base = if tag == DIRECTORY {
        name("stranger")
    } else {
        base.to_vec()
    };
    let critical = choice.random.chance(70);
    let limits = cert.limits.get_or_insert(NameLimits {
        critical,
        permitted: Vec::new(),
        excluded: Vec::new(),
    });
    match permitted {
        true => limits.permitted.push((tag, base)),
        false => limits.excluded.push((tag, base)),
    }
}

const fn policy_constraints(skip: u8) -> [u8; 5] {
    [0x30, 3, 0x80, 1, skip]
}

pub const FAULTS: &[Fault] = &[
    fault("expired", Place::Any, |c, choice| {
        c.validity.1 = -2 - i64::from(choice.random.chance(50)) * 86_400
    }),
    fault("expired a second ago", Place::Any, |c, _| c.validity.1 = -1),
    fault("in its last second", Place::Any, |c, _| c.validity.1 = 0),
    fault("in its first second", Place::Any, |c, _| c.validity.0 = 0),
    fault("valid in a second", Place::Any, |c, _| c.validity.0 = 1),
    fault("not yet valid", Place::Any, |c, _| c.validity.0 = 86_400),
    fault("valid for one second", Place::Any, |c, _| c.validity = (0, 0)),
    fault("ends before it begins", Place::Any, |c, _| c.validity = (60, -60)),
    fault("valid until 2060", Place::Any, |c, _| {
        c.validity.1 = 34 * 365 * 86_400
    }),
    fault("path length 0", Place::Issuer, |c, _| {
        constrain(c, true, Some(true), Some(0))
    }),
    fault("path length 1", Place::Issuer, |c, _| {
        constrain(c, true, Some(true), Some(1))
    }),
    fault("negative path length", Place::Issuer, |c, _| {
        constrain(c, true, Some(true), Some(0xff))
    }),
    fault("path length without cA", Place::Leaf, |c, _| {
        constrain(c, true, None, Some(0))
    }),
    fault("cA false, explicit", Place::Any, |c, _| {
        constrain(c, true, Some(false), None)
    }),
    fault("cA false by default", Place::Any, |c, _| {
        constrain(c, true, None, None)
    }),
    fault("no basic constraints", Place::Any, |c, _| c.constraints = None),
    fault("basic constraints not critical", Place::Any, |c, _| {
        c.constraints = c.constraints.map(|limits| Constraints {
            critical: false,
            ..limits
        });
    }),
    fault("leaf is a CA", Place::Leaf, |c, _| {
        constrain(c, true, Some(true), None)
    }),
    fault("leaf with keyCertSign", Place::Leaf, |c, _| {
        c.key_usage = Some((true, DIGITAL_SIGNATURE | KEY_CERT_SIGN))
    }),
    fault("leaf with cRLSign", Place::Leaf, |c, _| {
        c.key_usage = Some((true, DIGITAL_SIGNATURE | CRL_SIGN))
    }),
    fault("leaf without digitalSignature", Place::Leaf, |c, _| {
        c.key_usage = Some((true, 0x20))
    }),
    fault("no key usage", Place::Any, |c, _| c.key_usage = None),
    fault("key usage not critical", Place::Any, |c, _| {
        c.key_usage = c.key_usage.map(|(_, bits)| (false, bits))
    }),
    fault("issuer without keyCertSign", Place::Issuer, |c, _| {
        c.key_usage = Some((true, CRL_SIGN))
    }),
    fault("usage: server and client", Place::Any, |c, _| {
        c.extended = Some(vec![SERVER_AUTH, CLIENT_AUTH])
    }),
    fault("usage: server", Place::Any, |c, _| {
        c.extended = Some(vec![SERVER_AUTH])
    }),
    fault("usage: client", Place::Any, |c, _| {
        c.extended = Some(vec![CLIENT_AUTH])
    }),
    fault("usage: code signing", Place::Any, |c, _| {
        c.extended = Some(vec![CODE_SIGNING])
    }),
    fault("usage: any", Place::Any, |c, _| {
        c.extended = Some(vec![ANY_USAGE])
    }),
    fault("usage: any and both", Place::Any, |c, _| {
        c.extended = Some(vec![ANY_USAGE, SERVER_AUTH, CLIENT_AUTH])
    }),
    fault("no extended usage", Place::Any, |c, _| c.extended = None),
    fault("permitted names", Place::Issuer, |c, choice| {
        limit(c, choice, true)
    }),
    fault("permitted names, again", Place::Issuer, |c, choice| {
        limit(c, choice, true)
    }),
    fault("excluded names", Place::Issuer, |c, choice| {
        limit(c, choice, false)
    }),
    fault("name constraints on a leaf", Place::Leaf, |c, choice| {
        limit(c, choice, true)
    }),
    fault("empty name constraints", Place::Issuer, |c, choice| {
        let critical = choice.random.chance(50);
        add(c, NAME_CONSTRAINTS, critical, sequence(&[]));
    }),
    fault("malformed name constraints", Place::Issuer, |c, choice| {
        let bases: [(u8, &[u8]); 7] = [
            (DNS, b"exa mple.org"),
            (DNS, b"example..org"),
            (URI, b"10.0.0.1"),
            (EMAIL, b"@a..b"),
            (IP, &[10, 0, 0, 0]),
            (IP, &[10, 0, 0, 0, 255, 0, 255, 0]),
            (IP, &[10, 0, 0, 0, 254, 128, 0, 0]),
        ];
        let (tag, base) = *choice.random.pick(&bases);
        let excluded = vec![(tag, base.to_vec())];
        c.limits = Some(NameLimits {
            critical: choice.random.chance(50),
            permitted: Vec::new(),
            excluded,
        });
    }),
    fault("unknown critical extension", Place::Any, |c, _| {
        add_unknown(c, true)
    }),
    fault("unknown extension", Place::Any, |c, _| add_unknown(c, false)),
    fault("unknown extension twice", Place::Any, |c, _| {
        add_unknown(c, false);
        add_unknown(c, false);
    }),
    fault("subjectAltName twice", Place::Any, |c, _| {
        let names = sequence(&[&tlv(DNS, b"twice.example.org")]);
        add(c, SUBJECT_ALT_NAME, false, names.clone());
        add(c, SUBJECT_ALT_NAME, false, names);
    }),
    fault("signature corrupt", Place::Any, |c, _| c.corrupt = true),
    fault("signed by another key", Place::Any, |c, _| {
        c.signed_by = Some(Key::p256())
    }),
    fault("issuer of another name", Place::Any, |c, _| {
        c.issuer = Some(name("stranger"))
    }),
    fault("no authority key id", Place::Any, |c, _| {
        c.authority_key = AuthorityKey::Absent
    }),
    fault("wrong authority key id", Place::Any, |c, _| {
        c.authority_key = AuthorityKey::WrongKey
    }),
    fault("authority by serial", Place::Any, |c, _| {
        c.authority_key = AuthorityKey::Serial
    }),
    fault("authority by wrong serial", Place::Any, |c, _| {
        c.authority_key = AuthorityKey::WrongSerial
    }),
    fault("no subject key id", Place::Any, |c, _| c.has_key_id = false),
    fault("critical subject key id", Place::Any, |c, _| {
        c.has_key_id = false;
        let id = c.key.id();
        add(c, SUBJECT_KEY_ID, true, tlv(0x04, &id));
    }),
    fault("serial number zero", Place::Any, |c, _| c.serial = vec![0]),
    fault("serial number negative", Place::Any, |c, _| {
        c.serial = vec![0x81, 2]
    }),
    fault("serial number of 21 octets", Place::Any, |c, _| {
        c.serial = vec![0x33; 21]
    }),
    fault("serial number not minimal", Place::Any, |c, _| {
        c.serial = vec![0, 0x33]
    }),
    fault("issuer without subject", Place::Issuer, |c, _| {
        c.subject = sequence(&[])
    }),
    fault("version 1", Place::Any, |c, _| c.version = None),
    fault("version 2", Place::Any, |c, _| c.version = Some(1)),
    fault("version 4", Place::Any, |c, _| c.version = Some(3)),
    fault("two signature algorithms", Place::Any, |c, _| {
        c.two_algorithms = true
    }),
    fault("malformed CRL distribution point", Place::Any, |c, _| {
        add(c, 31, false, vec![0x30, 3, 1])
    }),
    fault("malformed authority key id", Place::Any, |c, _| {
        c.authority_key = AuthorityKey::Absent;
        add(c, AUTHORITY_KEY_ID, false, vec![4, 1, 7]);
    }),
    fault("bytes after basic constraints", Place::Any, |c, _| {
        let ca = c.constraints.take().is_some_and(|limits| limits.ca == Some(true));
        let flag: &[u8] = if ca { &[1, 1, 0xff] } else { &[] };
        add(c, BASIC_CONSTRAINTS, true, [sequence(&[flag]), vec![0]].concat());
    }),
    fault("key usage with set padding", Place::Any, |c, _| {
        if let Some((_, bits)) = c.key_usage.take() {
            add(c, 15, true, bit_string(7, &[bits | 1]));
        }
    }),
    fault("address of 5 octets", Place::Any, |c, _| {
        c.names.push((IP, vec![10, 0, 0, 1, 7]))
    }),
    fault("DNS name that is not ASCII", Place::Any, |c, _| {
        c.names.push((DNS, "bücher.example".into()))
    }),
    fault("DNS name with NUL", Place::Any, |c, _| {
        c.names.push((DNS, b"web.example.org\0.example".to_vec()))
    }),
    fault("DNS name", Place::Any, |c, _| {
        c.names.push((DNS, b"web.example.org".to_vec()))
    }),
    fault("DNS name with underscore", Place::Any, |c, _| {
        c.names.push((DNS, b"my_web.example.org".to_vec()))
    }),
    fault("wildcard", Place::Any, |c, _| {
        c.names.push((DNS, b"*.example.org".to_vec()))
    }),
    fault("address", Place::Any, |c, _| {
        c.names.push((IP, vec![10, 1, 2, 3]))
    }),
    fault("e-mail address", Place::Any, |c, _| {
        c.names.push((EMAIL, b"web@example.org".to_vec()))
    }),
    fault("directory name", Place::Any, |c, _| {
        c.names.push((DIRECTORY, name("web")))
    }),
    fault("no names", Place::Any, |c, _| c.names.clear()),
    fault("second SPIFFE ID", Place::Any, |c, _| {
        c.names.push((URI, b"spiffe://example.org/second".to_vec()))
    }),
    fault("second URI", Place::Any, |c, _| {
        c.names.push((URI, b"https://example.org/second".to_vec()))
    }),
    fault("URI of the web", Place::Any, |c, _| {
        rename(c, "https://example.org/web")
    }),
    fault("other trust domain with path", Place::Any, |c, _| {
        rename(c, "spiffe://other.example/web")
    }),
    fault("other trust domain", Place::Any, |c, _| {
        rename(c, "spiffe://other.example")
    }),
    fault("own trust domain without path", Place::Leaf, |c, _| {
        rename(c, "spiffe://example.org")
    }),
    fault("own trust domain with path", Place::Issuer, |c, _| {
        rename(c, "spiffe://example.org/ca")
    }),
    fault("upper-case scheme", Place::Any, |c, _| {
        rename(c, "SPIFFE://example.org/web")
    }),
    fault("URI that does not parse", Place::Any, |c, _| {
        rename(c, "spiffe://exa mple.org:x/%zz")
    }),
    fault("only a URI that does not parse", Place::Issuer, |c, choice| {
        let uris: [&[u8]; 4] = [
            b"https://exa mple.org",
            b"https://a.b:x/",
            b"https://a/%zz",
            b"https://a.b./",
        ];
        c.names = vec![(URI, choice.random.pick(&uris).to_vec())];
    }),
    fault("names critical", Place::Any, |c, _| c.names_critical = true),
    fault("names not critical", Place::Any, |c, _| c.names_critical = false),
    fault("common name", Place::Leaf, |c, _| {
        c.subject = name("web.example.org")
    }),
    fault("common name of another domain", Place::Leaf, |c, _| {
        c.subject = name("web.other.example")
    }),
    fault("P-384", Place::Any, |c, _| c.key = Key::p384()),
    fault("Ed25519", Place::Any, |c, _| c.key = Key::ed25519(1)),
    fault("no point of its curve", Place::Leaf, |c, _| {
        c.key = Key::off_the_curve()
    }),
    fault("P-521", Place::Any, |c, choice| c.key = choice.foreign("p-521")),
    fault("RSA 2048", Place::Any, |c, choice| {
        c.key = choice.foreign("rsa-2048")
    }),
    fault("RSA 1024", Place::Any, |c, choice| {
        c.key = choice.foreign("rsa-1024")
    }),
    fault("signs with SHA-1", Place::Issuer, |c, choice| {
        c.key = choice.foreign("p-256 with SHA-1")
    }),
    fault("any policy", Place::Any, |c, _| {
        add(
            c,
            CERTIFICATE_POLICIES,
            false,
            sequence(&[&sequence(&[&oid(&[0x55, 0x1d, 0x20, 0])])]),
        );
    }),
    fault("policy", Place::Any, |c, choice| {
        let critical = choice.random.chance(30);
        add(
            c,
            CERTIFICATE_POLICIES,
            critical,
            sequence(&[&sequence(&[&oid(&[0x2a, 3, 4, 6])])]),
        );
    }),
    fault("explicit policy required", Place::Any, |c, _| {
        add(c, POLICY_CONSTRAINTS, false, policy_constraints(0).to_vec());
    }),
    fault("explicit policy required, critical", Place::Any, |c, _| {
        add(c, POLICY_CONSTRAINTS, true, policy_constraints(0).to_vec());
    }),
];
