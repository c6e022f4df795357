//! One batch as bytes: what one write and one sync make durable. Pure functions over slices; the layout stands in `lib.rs`.

use ring::digest::{Context, Digest, SHA256};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

use crate::bytes::Cursor;
use crate::error::{Damage, JournalError};
use crate::{Hash, MAX_BATCH_BYTES, Record};

pub(crate) const HEADER_BYTES: usize = 64;
const SIGNATURE_BYTES: usize = 64;
const TRAILER_BYTES: usize = 8;
const RECORD_HEADER_BYTES: usize = 8;
/// Kind, number of keys, expiry.
const RECORD_FIXED_BYTES: usize = 10;
const KEY_BYTES: usize = 9;
const MAX_KEYS: usize = 255;
/// Neither the first nor the last byte of a batch is zero, so that a part of a sector that is all zero was never written.
const MAGIC: &[u8; 4] = b"JBAT";
const END: &[u8; 4] = b"JEND";
const SIGNED: u8 = 1;
/// What is signed starts with this, so that the key's signatures mean nothing elsewhere.
const SIGNED_CONTEXT: &[u8; 24] = b"signet journal batch v1\0";

/// The fixed start of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Bytes of the whole batch.
    pub(crate) length: u32,
    pub(crate) records: u32,
    /// Position of its first record; of a batch without records, the position that comes next.
    pub(crate) first: u64,
    pub(crate) signed: bool,
    /// Hash of the batch before.
    pub(crate) before: Hash,
}

/// One record where it lies.
pub(crate) struct RecordView<'a> {
    pub(crate) position: u64,
    /// Where it starts within its batch.
    pub(crate) offset: usize,
    pub(crate) kind: u8,
    pub(crate) ends: i64,
    keys: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// What is wrong, where in the batch, at which position.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) offset: usize,
    pub(crate) position: u64,
    pub(crate) what: Damage,
}

/// Refuses records that the format has no room for.
pub(crate) fn check_size(records: &[Record]) -> Result<(), JournalError> {
    let mut total = HEADER_BYTES + SIGNATURE_BYTES + TRAILER_BYTES;
    for record in records {
        too_large("a record's number of keys", record.keys.len(), MAX_KEYS)?;
        total = total
            .saturating_add(RECORD_HEADER_BYTES + body_bytes(record.keys.len()))
            .saturating_add(record.payload.len());
    }
    too_large("a batch", total, MAX_BATCH_BYTES)
}

/// Puts the batch into `buffer` and the offset of each record in it into `offsets`; both are emptied first. Returns its
/// hash. The size has been checked.
pub(crate) fn encode(
    buffer: &mut Vec<u8>,
    offsets: &mut Vec<u32>,
    records: &[Record],
    first: u64,
    before: &Hash,
    key: Option<&Ed25519KeyPair>,
) -> Hash {
    buffer.clear();
    offsets.clear();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    for (record, position) in records.iter().zip(first..) {
        offsets.push(fits(buffer.len()));
        put_record(buffer, record, position);
    }
    let length = buffer.len() + key.map_or(0, |_| SIGNATURE_BYTES) + TRAILER_BYTES;
    put_header(
        buffer,
        &BatchHeader {
            length: fits(length),
            records: fits(records.len()),
            first,
            signed: key.is_some(),
            before: *before,
        },
    );
    let mut hash = Context::new(&SHA256);
    hash.update(buffer);
    let hashed = buffer.len();
    if let Some(key) = key {
        let signature = key.sign(&signed_text(&hash.clone().finish()));
        buffer.extend_from_slice(signature.as_ref());
    }
    buffer.extend_from_slice(&crc32fast::hash(buffer).to_le_bytes());
    buffer.extend_from_slice(END);
    hash.update(&buffer[hashed..]);
    to_hash(&hash.finish())
}

/// Reads a batch's header.
pub(crate) fn header(bytes: &[u8; HEADER_BYTES]) -> Result<BatchHeader, Damage> {
    let mut cursor = Cursor(bytes);
    if cursor.array() != *MAGIC {
        return Err(Damage::Magic { expected: "batch" });
    }
    checksum("batch's header", cursor.u32(), crc32fast::hash(cursor.0))?;
    let (length, records, first) = (cursor.u32(), cursor.u32(), cursor.u64());
    let [flags, reserved @ ..] = cursor.array::<8>();
    if flags & !SIGNED != 0 || reserved != [0; 7] {
        return Err(Damage::Field {
            field: "flags",
            found: u64::from(flags),
            expected: u64::from(SIGNED),
        });
    }
    let signed = flags == SIGNED;
    let least = HEADER_BYTES + TRAILER_BYTES + if signed { SIGNATURE_BYTES } else { 0 };
    let fits = |limit| usize::try_from(length).is_ok_and(|length| (least..=limit).contains(&length));
    if !fits(MAX_BATCH_BYTES) {
        return Err(Damage::Field {
            field: "batch's length",
            found: u64::from(length),
            expected: least as u64,
        });
    }
    Ok(BatchHeader {
        length,
        records,
        first,
        signed,
        before: cursor.array(),
    })
}

/// Checks a whole batch: its records, its end, its checksum. Calls `each` for every record.
pub(crate) fn check<'a>(
    bytes: &'a [u8],
    header: &BatchHeader,
    mut each: impl FnMut(RecordView<'a>),
) -> Result<(), Wrong> {
    let body_end = bytes.len() - TRAILER_BYTES - if header.signed { SIGNATURE_BYTES } else { 0 };
    let mut offset = HEADER_BYTES;
    for position in (header.first..).take(header.records as usize) {
        let (record, used) = record(&bytes[offset..body_end], position, offset).map_err(|what| Wrong {
            offset,
            position,
            what,
        })?;
        each(record);
        offset += used;
    }
    let whole = |what| Wrong {
        offset: 0,
        position: header.first,
        what,
    };
    if offset != body_end {
        let (found, expected) = (offset as u64, body_end as u64);
        return Err(whole(Damage::Field {
            field: "end of its records",
            found,
            expected,
        }));
    }
    let (text, trailer) = bytes.split_at(bytes.len() - TRAILER_BYTES);
    let mut trailer = Cursor(trailer);
    checksum("batch", trailer.u32(), crc32fast::hash(text)).map_err(whole)?;
    if trailer.array() != *END {
        return Err(whole(Damage::Magic {
            expected: "batch's end",
        }));
    }
    Ok(())
}

/// Reads the record at the start of `bytes` (which may go on after it) and says how many bytes it takes. `offset` is where
/// `bytes` starts in the batch.
pub(crate) fn record(bytes: &[u8], position: u64, offset: usize) -> Result<(RecordView<'_>, usize), Damage> {
    let short = |found: usize, expected: usize| Damage::Field {
        field: "length of the record",
        found: found as u64,
        expected: expected as u64,
    };
    if bytes.len() < RECORD_HEADER_BYTES {
        return Err(short(bytes.len(), RECORD_HEADER_BYTES));
    }
    let mut cursor = Cursor(bytes);
    let (length, stored) = (cursor.u32() as usize, cursor.u32());
    if length < RECORD_FIXED_BYTES || length > cursor.0.len() {
        return Err(short(length, cursor.0.len()));
    }
    let mut body = Cursor(cursor.take(length));
    checksum("record", stored, record_checksum(position, body.0))?;
    let (kind, keys, ends) = (body.u8(), usize::from(body.u8()), body.i64());
    if keys * KEY_BYTES > body.0.len() {
        return Err(short(length, body_bytes(keys)));
    }
    let keys = body.take(keys * KEY_BYTES);
    Ok((
        RecordView {
            position,
            offset,
            kind,
            ends,
            keys,
            payload: body.0,
        },
        RECORD_HEADER_BYTES + length,
    ))
}

/// The bytes of the record that starts with these, as far as its first bytes tell.
pub(crate) fn record_bytes(start: [u8; 4]) -> usize {
    RECORD_HEADER_BYTES + u32::from_le_bytes(start) as usize
}

impl RecordView<'_> {
    /// Its index keys: field and fingerprint.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u8, u64)> {
        self.keys.chunks_exact(KEY_BYTES).map(|key| {
            let mut key = Cursor(key);
            (key.u8(), key.u64())
        })
    }
}

/// SHA-256 of all bytes of a batch: its name in the chain.
pub(crate) fn hash(bytes: &[u8]) -> Hash {
    to_hash(&ring::digest::digest(&SHA256, bytes))
}

/// Checks the signature of a signed batch.
pub(crate) fn check_signature(bytes: &[u8], public_key: &[u8; 32]) -> Result<(), Damage> {
    let (text, end) = bytes.split_at(bytes.len() - SIGNATURE_BYTES - TRAILER_BYTES);
    let signed = signed_text(&ring::digest::digest(&SHA256, text));
    UnparsedPublicKey::new(&ED25519, public_key)
        .verify(&signed, &end[..SIGNATURE_BYTES])
        .map_err(|_| Damage::Signature {
            public_key: *public_key,
        })
}

/// `Ok` if the stored checksum is the computed one.
pub(crate) fn checksum(of: &'static str, found: u32, expected: u32) -> Result<(), Damage> {
    if found == expected {
        Ok(())
    } else {
        Err(Damage::Checksum { of, found, expected })
    }
}

fn put_header(buffer: &mut [u8], header: &BatchHeader) {
    buffer[..4].copy_from_slice(MAGIC);
    buffer[8..12].copy_from_slice(&header.length.to_le_bytes());
    buffer[12..16].copy_from_slice(&header.records.to_le_bytes());
    buffer[16..24].copy_from_slice(&header.first.to_le_bytes());
    buffer[24] = u8::from(header.signed);
    buffer[32..64].copy_from_slice(&header.before);
    let checksum = crc32fast::hash(&buffer[8..HEADER_BYTES]);
    buffer[4..8].copy_from_slice(&checksum.to_le_bytes());
}

fn put_record(buffer: &mut Vec<u8>, record: &Record, position: u64) {
    let body = buffer.len() + RECORD_HEADER_BYTES;
    let length = body_bytes(record.keys.len()) + record.payload.len();
    buffer.extend_from_slice(&u64::from(fits(length)).to_le_bytes());
    buffer.push(record.kind);
    buffer.push(u8::try_from(record.keys.len()).expect("the number of keys was checked"));
    buffer.extend_from_slice(&record.ends.to_le_bytes());
    for (field, fingerprint) in &record.keys {
        buffer.push(*field);
        buffer.extend_from_slice(&fingerprint.to_le_bytes());
    }
    buffer.extend_from_slice(&record.payload);
    let checksum = record_checksum(position, &buffer[body..]);
    buffer[body - 4..body].copy_from_slice(&checksum.to_le_bytes());
}

/// The position is under the checksum, so that a record read from another's place is noticed.
fn record_checksum(position: u64, body: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&position.to_le_bytes());
    checksum.update(body);
    checksum.finalize()
}

fn signed_text(digest: &Digest) -> [u8; 56] {
    let mut text = [0; 56];
    text[..24].copy_from_slice(SIGNED_CONTEXT);
    text[24..].copy_from_slice(digest.as_ref());
    text
}

fn to_hash(digest: &Digest) -> Hash {
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn body_bytes(keys: usize) -> usize {
    RECORD_FIXED_BYTES + keys * KEY_BYTES
}

fn fits(size: usize) -> u32 {
    u32::try_from(size).expect("a batch's size was checked, and is far below 4 GiB")
}

fn too_large(what: &'static str, found: usize, limit: usize) -> Result<(), JournalError> {
    if found <= limit {
        return Ok(());
    }
    Err(JournalError::TooLarge {
        what,
        found: found as u64,
        limit: limit as u64,
    })
}
