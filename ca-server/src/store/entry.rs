//! What the journal holds, as protobuf messages: an `Entry` is one decision, with the rows of state that it changed and the
//! certificate that it issued. Field numbers are the format of the record: they are never used again for something else.

use prost::Message;

use super::rows::Row;

/// Number of a journal record's kind: a decision.
pub const KIND_ENTRY: u8 = 1;
/// Number of a journal record's kind: every row of state at that moment.
pub const KIND_SNAPSHOT: u8 = 2;
/// Number of a journal record's kind: the rows of one range of keys, part of a snapshot that is larger than
/// one record.
pub const KIND_SNAPSHOT_PART: u8 = 3;
/// Number of a journal record's kind: the last part, which completes such a snapshot.
pub const KIND_SNAPSHOT_END: u8 = 4;

/// Fields of the inventory, each with a 64-bit fingerprint per entry.
pub mod field {
    /// Serial number of an issued certificate.
    pub const SERIAL: u8 = 1;
    /// SPIFFE ID of an issued certificate.
    pub const SPIFFE_ID: u8 = 2;
    /// Digest of its public key.
    pub const KEY: u8 = 3;
    /// Serial of the certificate that it was renewed from.
    pub const PARENT: u8 = 4;
    /// Digest of parent, key and what was requested: finds the answer to a repeated renewal. Field 5 was that
    /// of parent and key only.
    pub const REQUEST: u8 = 6;
    /// Not a fingerprint but notAfter, in seconds since 1970, so that a start knows when each binding
    /// expires.
    pub const EXPIRY: u8 = 7;
}

/// One decision of the authority, durable before it is answered.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// When it was decided, in seconds since 1970.
    #[prost(int64, tag = "1")]
    pub at: i64,
    /// Who asked, as audit lines name it; empty where `issued` names its caller.
    #[prost(string, tag = "2")]
    pub by: String,
    /// What was done, in a few words; empty where `issued` or `refused` says it.
    #[prost(string, tag = "3")]
    pub action: String,
    /// Rows of state put by it.
    #[prost(message, repeated, tag = "4")]
    pub puts: Vec<Row>,
    /// Keys of rows removed by it.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub deletes: Vec<Vec<u8>>,
    /// The certificate issued by it.
    #[prost(message, optional, tag = "6")]
    pub issued: Option<Issued>,
    /// The refusal that it records.
    #[prost(message, optional, tag = "7")]
    pub refused: Option<Refused>,
}

/// A certificate and why it was issued.
#[derive(Clone, PartialEq, Message)]
pub struct Issued {
    /// The certificate, DER.
    #[prost(bytes = "vec", tag = "1")]
    pub der: Vec<u8>,
    /// Its serial number, big-endian.
    #[prost(bytes = "vec", tag = "2")]
    pub serial: Vec<u8>,
    /// Its SPIFFE ID.
    #[prost(string, tag = "3")]
    pub spiffe_id: String,
    /// SHA-256 of its SubjectPublicKeyInfo.
    #[prost(bytes = "vec", tag = "4")]
    pub key_digest: Vec<u8>,
    /// notAfter, in seconds since 1970.
    #[prost(int64, tag = "5")]
    pub not_after: i64,
    /// token, jwt, certificate, renewal, admin or server.
    #[prost(string, tag = "6")]
    pub method: String,
    /// The caller as it proved itself.
    #[prost(string, tag = "7")]
    pub caller: String,
    /// namespace/name of the registration that granted it; empty for the server's own.
    #[prost(string, tag = "8")]
    pub registration: String,
    /// Revision that created that registration.
    #[prost(uint64, tag = "9")]
    pub registration_created: u64,
    /// Serial of the certificate it was renewed from; empty for a first one.
    #[prost(bytes = "vec", tag = "10")]
    pub parent: Vec<u8>,
    /// Subject key id of the authority that signed it.
    #[prost(bytes = "vec", tag = "11")]
    pub authority: Vec<u8>,
    /// Id of the token that it redeemed.
    #[prost(string, tag = "12")]
    pub token: String,
    /// SHA-256 of what was wished for: same key and same wish get the same answer.
    #[prost(bytes = "vec", tag = "13")]
    pub wish: Vec<u8>,
    /// How its lineage began; a first certificate's own admission.
    #[prost(message, optional, tag = "14")]
    pub origin: Option<Origin>,
    /// The profile that it was made by.
    #[prost(string, tag = "15")]
    pub profile: String,
    /// Whether its life was cut to the authority's end.
    #[prost(bool, tag = "16")]
    pub life_clipped: bool,
    /// notBefore, in seconds since 1970.
    #[prost(int64, tag = "17")]
    pub not_before: i64,
    /// notAfter of the certificate it was renewed from, in seconds since 1970; 0 for a first one. Until then
    /// another key may be presented with that certificate, which this record shows to be a fork.
    #[prost(int64, tag = "18")]
    pub parent_not_after: i64,
    /// Which certificate of its authority's key it was signed under: see `AuthorityRow::generation`.
    #[prost(uint32, tag = "19")]
    pub authority_generation: u32,
}

/// How the first certificate of a lineage was admitted.
#[derive(Clone, PartialEq, Message)]
pub struct Origin {
    /// When, in seconds since 1970.
    #[prost(int64, tag = "1")]
    pub at: i64,
    /// token, jwt, certificate or admin.
    #[prost(string, tag = "2")]
    pub method: String,
    /// For jwt and certificate: the provider's name in the configuration.
    #[prost(string, tag = "3")]
    pub provider: String,
    /// For jwt the subject, for certificate the id, for token the token's id.
    #[prost(string, tag = "4")]
    pub subject: String,
    /// For jwt: the claims that the registration's template reads, as a JSON object; empty where it reads none.
    #[prost(string, tag = "5")]
    pub claims: String,
    /// DNS names that the token limits its lineage to; empty: those of the registration.
    #[prost(string, repeated, tag = "6")]
    pub dns_names: Vec<String>,
    /// Life in seconds that the token gives its lineage; 0: the registration's.
    #[prost(uint64, tag = "7")]
    pub life: u64,
}

/// Refusals of one caller for one reason within a minute.
#[derive(Clone, PartialEq, Message)]
pub struct Refused {
    /// The stable word.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// The message of the first.
    #[prost(string, tag = "2")]
    pub message: String,
    /// How many there were.
    #[prost(uint64, tag = "3")]
    pub count: u64,
}

/// Every row of state at one position of the record: where a start begins to read.
#[derive(Clone, PartialEq, Message)]
pub struct Snapshot {
    /// When it was taken, in seconds since 1970.
    #[prost(int64, tag = "1")]
    pub at: i64,
    /// The rows, in the order of their keys.
    #[prost(message, repeated, tag = "2")]
    pub rows: Vec<Row>,
}

/// The rows of one range of keys at one position of the journal. Entries lie between the parts of a snapshot:
/// a start applies all of them from the first part on, and replaces a part's range when it comes to the part.
#[derive(Clone, PartialEq, Message)]
pub struct SnapshotPart {
    /// When it was taken, in seconds since 1970.
    #[prost(int64, tag = "1")]
    pub at: i64,
    /// The range begins after this key; empty: with the first.
    #[prost(bytes = "vec", tag = "2")]
    pub after: Vec<u8>,
    /// The range ends with this key; empty: it has no end.
    #[prost(bytes = "vec", tag = "3")]
    pub through: Vec<u8>,
    /// The rows, in the order of their keys.
    #[prost(message, repeated, tag = "4")]
    pub rows: Vec<Row>,
    /// Position of the first part; 0 in that part.
    #[prost(uint64, tag = "5")]
    pub begins: u64,
}

/// First eight bytes of the SHA-256 of the parts, each with its length: a place in an index, confirmed in the record.
pub fn fingerprint(parts: &[&[u8]]) -> u64 {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&context.finish().as_ref()[..8]);
    u64::from_be_bytes(first)
}

/// The fingerprint of a renewal request: the same one twice is a repeat.
pub fn request_fingerprint(parent: &[u8], key_digest: &[u8], wish: &[u8]) -> u64 {
    fingerprint(&[parent, key_digest, wish])
}

impl Issued {
    /// The fingerprints under which the inventory finds it.
    pub fn inventory_keys(&self) -> Vec<(u8, u64)> {
        let mut keys = vec![
            (field::SERIAL, fingerprint(&[&self.serial])),
            (field::SPIFFE_ID, fingerprint(&[self.spiffe_id.as_bytes()])),
            (field::KEY, fingerprint(&[&self.key_digest])),
            (field::EXPIRY, self.not_after.cast_unsigned()),
        ];
        if !self.parent.is_empty() {
            keys.push((field::PARENT, fingerprint(&[&self.parent])));
            let request = request_fingerprint(&self.parent, &self.key_digest, &self.wish);
            keys.push((field::REQUEST, request));
        }
        keys
    }

    /// Until when its record decides something, in seconds since 1970.
    pub fn matters_until(&self) -> i64 {
        self.not_after.max(self.parent_not_after)
    }
}
