//! The self-signature of a CSR: proof that the sender holds the private key (RFC 2986 section 3).

use ring::signature::{self as algorithms, UnparsedPublicKey, VerificationAlgorithm};

use super::CsrError;
use super::key::{KeyRef, KeyType};
use crate::der::{Element, Reader, tag};
use crate::oid;

/// Verifies `signature` over `signed` with the request's own key.
pub(super) fn verify(
    key: &KeyRef<'_>,
    algorithm: &Element<'_>,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), CsrError> {
    let scheme = scheme(key.key_type, algorithm)?;
    UnparsedPublicKey::new(scheme, key.bits)
        .verify(signed, signature)
        .map_err(|_| CsrError::Signature {
            why: "it does not verify with the key of the request".to_owned(),
        })
}

fn scheme(key: KeyType, algorithm: &Element<'_>) -> Result<&'static dyn VerificationAlgorithm, CsrError> {
    let mut parts = algorithm.contents();
    let kind = parts.take(tag::OID, "signature algorithm without type")?.value;
    let parameters = if parts.is_empty() {
        None
    } else {
        Some(parts.any()?)
    };
    parts.finish("signature algorithm has extra elements")?;

    let absent = parameters.is_none();
    // RFC 4055 section 5 has NULL here and asks readers to take its absence as well.
    let null = parameters.is_none_or(|p| p.tag == tag::NULL);
    let is_rsa = matches!(key, KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096);
    match (kind, key) {
        (oid::ECDSA_SHA256, KeyType::P256) if absent => Ok(&algorithms::ECDSA_P256_SHA256_ASN1),
        (oid::ECDSA_SHA384, KeyType::P256) if absent => Ok(&algorithms::ECDSA_P256_SHA384_ASN1),
        (oid::ECDSA_SHA256, KeyType::P384) if absent => Ok(&algorithms::ECDSA_P384_SHA256_ASN1),
        (oid::ECDSA_SHA384, KeyType::P384) if absent => Ok(&algorithms::ECDSA_P384_SHA384_ASN1),
        (oid::ED25519, KeyType::Ed25519) if absent => Ok(&algorithms::ED25519),
        (oid::RSA_SHA256, _) if is_rsa && null => Ok(&algorithms::RSA_PKCS1_2048_8192_SHA256),
        (oid::RSA_SHA384, _) if is_rsa && null => Ok(&algorithms::RSA_PKCS1_2048_8192_SHA384),
        (oid::RSA_SHA512, _) if is_rsa && null => Ok(&algorithms::RSA_PKCS1_2048_8192_SHA512),
        (oid::RSA_PSS, _) if is_rsa => pss(parameters.as_ref()),
        _ => Err(CsrError::Signature {
            why: format!(
                "algorithm {} does not fit a key of {key}, expected SHA-256 or longer",
                oid::dotted(kind)
            ),
        }),
    }
}

/// RFC 4055 section 3.1: one hash for message and mask, and a salt as long as the hash. Defaults mean SHA-1 and are refused.
fn pss(parameters: Option<&Element<'_>>) -> Result<&'static dyn VerificationAlgorithm, CsrError> {
    let refused = |why: &str| CsrError::Signature {
        why: format!("PSS {why}"),
    };
    let parameters = parameters
        .filter(|p| p.tag == tag::SEQUENCE)
        .ok_or_else(|| CsrError::malformed("PSS without parameters"))?;
    let mut fields = parameters.contents();
    let mut field = |number: u8| {
        fields
            .take_if(tag::context_constructed(number))
            .map(|field| field.map(|f| f.contents()))
    };
    let (hash, mask, salt, trailer) = (field(0)?, field(1)?, field(2)?, field(3)?);
    fields.finish("PSS parameters have extra elements")?;

    let hash = digest(hash.ok_or_else(|| refused("with SHA-1"))?)?;
    let mut mask = only(
        mask.ok_or_else(|| refused("with SHA-1 as mask"))?,
        tag::SEQUENCE,
        "PSS mask is not a sequence",
    )?
    .contents();
    let generator = mask.take(tag::OID, "PSS mask without type")?.value;
    if generator != oid::MGF1 || digest(mask)? != hash {
        return Err(refused("with another hash in its mask than in its message"));
    }
    let (scheme, length): (&'static dyn VerificationAlgorithm, u8) = match hash {
        oid::SHA256 => (&algorithms::RSA_PSS_2048_8192_SHA256, 32),
        oid::SHA384 => (&algorithms::RSA_PSS_2048_8192_SHA384, 48),
        oid::SHA512 => (&algorithms::RSA_PSS_2048_8192_SHA512, 64),
        _ => return Err(refused("with another hash than SHA-256, SHA-384 or SHA-512")),
    };
    let salt = salt
        .map(|field| only(field, tag::INTEGER, "PSS salt length is not a number"))
        .transpose()?;
    if salt.is_none_or(|salt| salt.value != [length]) {
        return Err(refused(&format!(
            "with another salt length than that of its hash, {length} (openssl: -sigopt rsa_pss_saltlen:digest)"
        )));
    }
    if trailer.is_some() {
        return Err(CsrError::malformed("default value is encoded"));
    }
    Ok(scheme)
}

/// The one element inside an explicit tag.
fn only<'a>(mut reader: Reader<'a>, tag: u8, missing: &'static str) -> Result<Element<'a>, CsrError> {
    let element = reader.take(tag, missing)?;
    reader.finish("PSS parameter is followed by another element")?;
    Ok(element)
}

/// The hash of an AlgorithmIdentifier with NULL or no parameters, the only thing in `reader`.
fn digest<'a>(reader: Reader<'a>) -> Result<&'a [u8], CsrError> {
    let algorithm = only(reader, tag::SEQUENCE, "hash algorithm is not a sequence")?;
    let mut parts = algorithm.contents();
    let kind = parts.take(tag::OID, "hash algorithm without type")?.value;
    parts.take_if(tag::NULL)?;
    parts.finish("hash algorithm has extra elements")?;
    Ok(kind)
}
