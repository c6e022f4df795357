//! Rows of state: what the authority consults while it decides, as protobuf messages under keys that sort by kind. Field numbers
//! are the format of the record: they are never used again for something else.

use identity::{KeyDigest, Leaf};
use prost::Message;

/// One row of state. Its key is made of its content: see [`Row::key`].
#[derive(Clone, PartialEq, Message)]
pub struct Row {
    /// Which row it is.
    #[prost(oneof = "RowKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub kind: Option<RowKind>,
}

/// The kinds of rows.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum RowKind {
    /// What was fixed at the first start.
    #[prost(message, tag = "1")]
    Instance(InstanceRow),
    /// A join token.
    #[prost(message, tag = "2")]
    Token(TokenRow),
    /// A resource, as its document.
    #[prost(message, tag = "3")]
    Resource(ResourceRow),
    /// A revoked certificate.
    #[prost(message, tag = "4")]
    Revocation(RevocationRow),
    /// Digest of a key revoked for compromise.
    #[prost(bytes, tag = "5")]
    CompromisedKey(Vec<u8>),
    /// A signing authority.
    #[prost(message, tag = "6")]
    Authority(AuthorityRow),
    /// The last CRL of an authority.
    #[prost(message, tag = "7")]
    Crl(CrlRow),
    /// The last revision given to a change of resources or authorities.
    #[prost(uint64, tag = "8")]
    Revision(u64),
    /// The last correction of the clock that was accepted.
    #[prost(message, tag = "9")]
    Correction(CorrectionRow),
}

/// A correction of the clock that was accepted: certificates recorded before it may begin later than now.
#[derive(Clone, PartialEq, Message)]
pub struct CorrectionRow {
    /// Journal position of its entry.
    #[prost(uint64, tag = "1")]
    pub position: u64,
}

/// What was fixed at the first start.
#[derive(Clone, PartialEq, Message)]
pub struct InstanceRow {
    /// The trust domain.
    #[prost(string, tag = "1")]
    pub trust_domain: String,
    /// DNS names and addresses of the server.
    #[prost(string, repeated, tag = "2")]
    pub server_names: Vec<String>,
}

/// A join token, without its secret.
#[derive(Clone, PartialEq, Message)]
pub struct TokenRow {
    /// Public id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// SHA-256 of its whole text.
    #[prost(bytes = "vec", tag = "2")]
    pub digest: Vec<u8>,
    /// The identity that it stands for.
    #[prost(string, tag = "3")]
    pub spiffe_id: String,
    /// When it ends, in seconds since 1970.
    #[prost(int64, tag = "4")]
    pub expires_at: i64,
    /// namespace/name of the registration that grants the identity to tokens.
    #[prost(string, tag = "5")]
    pub registration: String,
    /// Whether it was revoked.
    #[prost(bool, tag = "6")]
    pub revoked: bool,
    /// How it was redeemed.
    #[prost(message, optional, tag = "7")]
    pub redeemed: Option<Redemption>,
    /// Whether `registration` was made for it alone.
    #[prost(bool, tag = "8")]
    pub made_registration: bool,
    /// DNS names that its certificates may have; empty: those of the registration.
    #[prost(string, repeated, tag = "9")]
    pub dns_names: Vec<String>,
    /// Life of its certificates in seconds; 0: the registration's.
    #[prost(uint64, tag = "10")]
    pub life: u64,
    /// Latest notAfter among the certificates that a registration made for it granted, renewals included.
    #[prost(int64, tag = "11")]
    pub last_leaf_ends: i64,
    /// When it was created, in seconds since 1970; 0 in rows of earlier releases.
    #[prost(int64, tag = "12")]
    pub created_at: i64,
}

/// The redemption of a token.
#[derive(Clone, PartialEq, Message)]
pub struct Redemption {
    /// Digest of the key.
    #[prost(bytes = "vec", tag = "1")]
    pub key_digest: Vec<u8>,
    /// Digest of the wish.
    #[prost(bytes = "vec", tag = "2")]
    pub wish: Vec<u8>,
    /// Journal position of the certificate.
    #[prost(uint64, tag = "3")]
    pub position: u64,
    /// Its serial number.
    #[prost(bytes = "vec", tag = "4")]
    pub serial: Vec<u8>,
}

/// A resource.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceRow {
    /// Kind.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// Name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// The whole object as JSON.
    #[prost(bytes = "vec", tag = "4")]
    pub document_json: Vec<u8>,
    /// Revision of its last change.
    #[prost(uint64, tag = "5")]
    pub revision: u64,
    /// Revision that created it: a registration is its name and this.
    #[prost(uint64, tag = "6")]
    pub created_revision: u64,
    /// When it was created, in seconds since 1970.
    #[prost(int64, tag = "7")]
    pub created_at: i64,
}

/// A revoked certificate.
#[derive(Clone, PartialEq, Message)]
pub struct RevocationRow {
    /// Its serial number.
    #[prost(bytes = "vec", tag = "1")]
    pub serial: Vec<u8>,
    /// RFC 5280 name of the reason.
    #[prost(string, tag = "2")]
    pub reason: String,
    /// When it was revoked, in seconds since 1970.
    #[prost(int64, tag = "3")]
    pub at: i64,
    /// notAfter of the certificate: past it the row has no use.
    #[prost(int64, tag = "4")]
    pub not_after: i64,
    /// Subject key id of the authority that signed it.
    #[prost(bytes = "vec", tag = "5")]
    pub authority: Vec<u8>,
    /// Digest of its key; empty in rows of earlier releases.
    #[prost(bytes = "vec", tag = "6")]
    pub key_digest: Vec<u8>,
    /// Where it is recorded; 0 in rows of earlier releases.
    #[prost(uint64, tag = "7")]
    pub position: u64,
    /// Which certificate of the authority's key it was signed under; absent in rows of earlier releases.
    #[prost(uint32, optional, tag = "8")]
    pub authority_generation: Option<u32>,
}

/// A signing authority.
#[derive(Clone, PartialEq, Message)]
pub struct AuthorityRow {
    /// Subject key id.
    #[prost(bytes = "vec", tag = "1")]
    pub key_id: Vec<u8>,
    /// Its certificate and those above it, without the root.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub chain: Vec<Vec<u8>>,
    /// The root.
    #[prost(bytes = "vec", tag = "3")]
    pub root: Vec<u8>,
    /// When it was activated, in seconds since 1970.
    #[prost(int64, tag = "4")]
    pub activated_at: i64,
    /// When another took its place; 0: it is active.
    #[prost(int64, tag = "5")]
    pub replaced_at: i64,
    /// Latest notAfter among its leaves, under whichever certificate of its key they were signed.
    #[prost(int64, tag = "6")]
    pub last_leaf_ends: i64,
    /// How many certificates its key had before this one.
    #[prost(uint32, tag = "7")]
    pub generation: u32,
    /// The certificates that its key had before, oldest first, as long as leaves signed under them may be
    /// valid.
    #[prost(message, repeated, tag = "8")]
    pub earlier: Vec<EarlierCertificate>,
    /// Under which of the key's locations CRL and certificate are published: the generation that was the
    /// first there.
    #[prost(uint32, tag = "9")]
    pub location: u32,
}

/// A certificate that another one for the same key took the place of.
#[derive(Clone, PartialEq, Message)]
pub struct EarlierCertificate {
    /// How many certificates the key had before it.
    #[prost(uint32, tag = "1")]
    pub generation: u32,
    /// The certificate and those above it, without the root.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub chain: Vec<Vec<u8>>,
    /// The root.
    #[prost(bytes = "vec", tag = "3")]
    pub root: Vec<u8>,
    /// When it was replaced, in seconds since 1970.
    #[prost(int64, tag = "4")]
    pub replaced_at: i64,
    /// Latest notAfter among the leaves signed under it.
    #[prost(int64, tag = "5")]
    pub last_leaf_ends: i64,
    /// As that of the authority's row.
    #[prost(uint32, tag = "6")]
    pub location: u32,
}

/// The last CRL of an authority.
#[derive(Clone, PartialEq, Message)]
pub struct CrlRow {
    /// Subject key id of the authority.
    #[prost(bytes = "vec", tag = "1")]
    pub authority: Vec<u8>,
    /// CRL number (RFC 5280 section 5.2.3).
    #[prost(uint64, tag = "2")]
    pub number: u64,
}

/// What a row stands under: a letter for its kind, then what names it. Parts of a name are parted by a zero byte, which no name
/// has.
pub type RowKey = Vec<u8>;

/// First letters of the keys of rows of which there are many.
pub(super) mod prefix {
    pub(in crate::store) const AUTHORITY: u8 = b'a';
    pub(in crate::store) const RESOURCE: u8 = b'r';
    pub(in crate::store) const REVOCATION: u8 = b'v';
    pub(in crate::store) const TOKEN: u8 = b't';
}

impl Row {
    /// The key that this row stands under; `None` for a kind of row that this program does not know.
    pub fn key(&self) -> Option<RowKey> {
        Some(match self.kind.as_ref()? {
            RowKind::Instance(_) => instance_key(),
            RowKind::Token(row) => token_key(&row.id),
            RowKind::Resource(row) => resource_key(&row.kind, &row.namespace, &row.name),
            RowKind::Revocation(row) => revocation_key(&row.serial),
            RowKind::CompromisedKey(digest) => compromised_key(digest),
            RowKind::Authority(row) => authority_key(&row.key_id),
            RowKind::Crl(row) => crl_key(&row.authority),
            RowKind::Revision(_) => revision_key(),
            RowKind::Correction(_) => correction_key(),
        })
    }
}

impl From<RowKind> for Row {
    fn from(kind: RowKind) -> Self {
        Self { kind: Some(kind) }
    }
}

pub(super) fn instance_key() -> RowKey {
    named(b'i', &[])
}

pub(super) fn revision_key() -> RowKey {
    named(b'n', &[])
}

pub(super) fn correction_key() -> RowKey {
    named(b'w', &[])
}

pub(super) fn token_key(id: &str) -> RowKey {
    named(prefix::TOKEN, &[id.as_bytes()])
}

pub(super) fn resource_key(kind: &str, namespace: &str, name: &str) -> RowKey {
    named(
        prefix::RESOURCE,
        &[kind.as_bytes(), namespace.as_bytes(), name.as_bytes()],
    )
}

pub(super) fn revocation_key(serial: &[u8]) -> RowKey {
    named(prefix::REVOCATION, &[serial])
}

pub(super) fn compromised_key(key_digest: &[u8]) -> RowKey {
    named(b'k', &[key_digest])
}

pub(super) fn authority_key(key_id: &[u8]) -> RowKey {
    named(prefix::AUTHORITY, &[key_id])
}

/// Digests of the keys that an authority and the certificates above it have, the earlier ones included.
pub(super) fn authority_keys(row: &AuthorityRow) -> impl Iterator<Item = KeyDigest> {
    let earlier = row
        .earlier
        .iter()
        .flat_map(|own| own.chain.iter().chain([&own.root]));
    row.chain
        .iter()
        .chain([&row.root])
        .chain(earlier)
        .filter_map(|certificate| Some(Leaf::parse(certificate).ok()?.key_digest()))
}

pub(super) fn crl_key(authority: &[u8]) -> RowKey {
    named(b'c', &[authority])
}

fn named(letter: u8, parts: &[&[u8]]) -> RowKey {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len() + 1).sum::<usize>());
    key.push(letter);
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            key.push(0);
        }
        key.extend_from_slice(part);
    }
    key
}
