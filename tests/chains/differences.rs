//! The differences between the peer verifier and the others that are wanted, each with its reason. Any other
//! difference is a fault.

use super::generator::Case;

/// A difference that is wanted.
pub struct Difference {
    pub name: &'static str,
    pub reason: &'static str,
    /// Whether it is this one, by the case and the message of the validator that refuses.
    pub explains: fn(&Case, &str) -> bool,
}

fn has(case: &Case, fault: &str) -> bool {
    case.faults.iter().any(|found| found.contains(fault))
}

/// Whether a root has this fault.
fn root_has(case: &Case, fault: &str) -> bool {
    let is_it = |found: &String| found.starts_with(fault) && found.contains(" at 0 of ");
    case.faults.iter().any(is_it)
}

/// Where the peer verifier accepts what another refuses. An objection of OpenSSL may consist of several
/// messages, each of which is to be explained.
pub const ACCEPTED: &[Difference] = &[
    Difference {
        name: "the last second",
        reason: "RFC 5280 section 4.1.2.5: notAfter is part of the validity; for OpenSSL it is over then",
        explains: |case, why| {
            why == "certificate has expired"
                && (has(case, "in its last second") || has(case, "for one second"))
        },
    },
    Difference {
        name: "a root that another authority signed",
        reason: "the bundle defines the roots (RFC 5280 section 6.1.1): a company may pin an intermediate; OpenSSL asks for \
                 -partial_chain",
        explains: |case, why| {
            why == "unable to get issuer certificate"
                && (has(case, "uppermost certificate of the chain in the bundle")
                    || root_has(case, "issuer of another name")
                    || root_has(case, "signed by another key")
                    || root_has(case, "wrong authority key id")
                    || root_has(case, "authority by wrong serial"))
        },
    },
    Difference {
        name: "a common name under name constraints",
        reason: "X509-SVID: a peer is its SPIFFE ID; no program of ours reads a common name as a DNS name, as OpenSSL does",
        explains: |case, why| {
            ["permitted subtree violation", "excluded subtree violation"].contains(&why)
                && has(case, "common name")
        },
    },
    Difference {
        name: "another path",
        reason: "RFC 4158: of several certificates with one name each is tried; OpenSSL takes the first and stays with it",
        explains: |case, why| {
            let stays = [
                "self-signed certificate in certificate chain",
                "certificate signature failure",
                "Missing Subject Key Identifier",
            ];
            let choices = [
                "decoy of another key",
                "same certificate at two levels",
                "another root of the same name",
                "self-issued intermediate",
            ];
            stays.contains(&why) && choices.iter().any(|choice| has(case, choice))
        },
    },
    Difference {
        name: "a key that is no key",
        reason: "whether a leaf's key is a point of its curve costs as much as a signature to find out, and the handshake's signature \
                 shows it",
        explains: |case, why| {
            let says =
                why.ends_with(" point not on curve") || why == "unspecified certificate verification error";
            says && has(case, "no point of its curve")
        },
    },
    Difference {
        name: "no key identifiers",
        reason: "they help to find a path and protect nothing (RFC 5280 section 4.2.1.1); other issuers of SVIDs leave them out; OpenSSL \
                 asks for them with -x509_strict only",
        explains: |case, why| {
            let absent = has(case, "no authority key id")
                || has(case, "no subject key id")
                || has(case, "authority by serial");
            why.starts_with("Missing ") && why.ends_with(" Key Identifier") && absent
        },
    },
    Difference {
        name: "the profile of a root",
        reason: "RFC 5280 section 4.2 binds CA certificates, not trust anchors (section 6.1); roots made with \
                 `openssl req -x509` have no key usage; OpenSSL asks for it with -x509_strict only",
        explains: |case, why| match why {
            "CA cert does not include key usage extension" => root_has(case, "no key usage"),
            "Basic Constraints of CA cert not marked critical" => {
                root_has(case, "basic constraints not critical")
            }
            _ => false,
        },
    },
];

/// Where the peer verifier refuses what all others accept; the message is its own.
pub const REFUSED: &[Difference] = &[
    Difference {
        name: "a leaf has one URI",
        reason: "X509-SVID section 2",
        explains: |_, why| {
            why.starts_with("certificate has ") && why.contains(" URI SANs, expected exactly one")
        },
    },
    Difference {
        name: "a leaf has a SPIFFE ID in canonical form",
        reason: "X509-SVID section 2, SPIFFE-ID section 2",
        explains: |_, why| {
            why.starts_with('"')
                && (why.contains("is not a SPIFFE ID") || why.contains("is not in canonical form"))
        },
    },
    Difference {
        name: "a leaf names a workload",
        reason: "X509-SVID section 5.2: a leaf has a SPIFFE ID with a path",
        explains: |_, why| why.contains("a trust domain and not a workload"),
    },
    Difference {
        name: "a leaf is of the bundle's trust domain",
        reason: "SPIFFE Trust Domain and Bundle section 5: a bundle says nothing about other trust domains",
        explains: |_, why| why.contains(" is of another trust domain, expected "),
    },
    Difference {
        name: "a leaf's key usage",
        reason: "X509-SVID section 4.3: critical, digitalSignature, neither keyCertSign nor cRLSign",
        explains: |_, why| why.starts_with("key usage "),
    },
    Difference {
        name: "a leaf's extended key usage",
        reason: "X509-SVID section 4.4: if present, both serverAuth and clientAuth",
        explains: |_, why| why.starts_with("extended key usage lacks "),
    },
    Difference {
        name: "a leaf has no name constraints",
        reason: "RFC 5280 section 4.2.1.10: in CA certificates only; a critical extension without a meaning is not processed",
        explains: |_, why| why.ends_with("the leaf has critical name constraints"),
    },
    Difference {
        name: "serial numbers",
        reason: "RFC 5280 section 4.1.2.2: positive, at most 20 octets; a leaf is revoked by it",
        explains: |_, why| why.contains("is not a serial number"),
    },
    Difference {
        name: "names of visible characters",
        reason: "RFC 5280 section 4.2.1.6, RFC 1034: a NUL ends the name for some readers",
        explains: |case, why| why.contains("a name in it is malformed") && has(case, "DNS name with NUL"),
    },
    Difference {
        name: "an authority's SPIFFE ID is its only URI",
        reason: "X509-SVID section 2",
        explains: |_, why| why.contains("may not sign: certificate has "),
    },
    Difference {
        name: "an authority's SPIFFE ID is in canonical form",
        reason: "X509-SVID section 2, SPIFFE-ID section 2: it is not passed over as if it were none",
        explains: |_, why| why.contains("may not sign: \""),
    },
    Difference {
        name: "an authority does not name a workload",
        reason: "X509-SVID section 3.2: its SPIFFE ID has no path",
        explains: |_, why| why.contains("may not sign: signing certificate names "),
    },
    Difference {
        name: "an authority is of the bundle's trust domain",
        reason: "under a shared root the authority of one trust domain must not speak for another",
        explains: |_, why| why.contains(" names the trust domain "),
    },
    Difference {
        name: "an authority's key usage is critical",
        reason: "X509-SVID section 4.3",
        explains: |_, why| why.ends_with("has a key usage that is not critical"),
    },
    Difference {
        name: "chains of nine",
        reason: "bounded work: no path that is in use is longer than eight certificates",
        explains: |_, why| why.starts_with("chain of "),
    },
    Difference {
        name: "four certificates of one name",
        reason: "bounded work: each is another path to try",
        explains: |_, why| why.contains("certificates of the chain have the same subject"),
    },
];
