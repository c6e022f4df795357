//! Reads a whole journal and checks every checksum, every link of the chain and every signature. Needs no lock and no server,
//! and may run beside a live one.

use std::path::Path;

use crate::error::{Damage, JournalError};
use crate::mark::{self, Mark};
use crate::recovery::{self, check_header, not_as_closed};
use crate::segment;
use crate::walk::{Step, Walk};
use crate::{Cut, Hash, Head, batch};

/// How often the end of a live journal is read anew before it is called damaged: its writer may have cut back a failed batch
/// between two reads.
const ATTEMPTS: u32 = 3;

/// What a whole and sound journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Number of segments.
    pub segments: u64,
    /// Number of batches.
    pub batches: u64,
    /// Number of records.
    pub records: u64,
    /// Number of signatures, all good.
    pub signatures: u64,
    /// Last position under a signature. What follows is protected by the chain only: whoever can write the files can replace it.
    pub signed_to: u64,
    /// The Ed25519 key of all signatures; zeros if there is no segment. To be compared with the one that is known.
    pub public_key: [u8; 32],
    /// Last position, and hash of the last batch.
    pub head: Head,
    /// An incomplete last batch: of a crash, or being written by a live server.
    pub torn: Option<Cut>,
    /// Whether the chain contains the head that was asked for; `None` if none was.
    pub contains_head: Option<bool>,
}

/// Verifies the journal in this folder, and with `head` (the hash of a batch that was kept elsewhere) whether the chain
/// contains that batch.
///
/// # Errors
/// The first bad entry as `Damaged`; `Version`, `OtherKey` if a segment names another key than the first, `Io`.
pub fn verify(dir: &Path, head: Option<Hash>) -> Result<Verified, JournalError> {
    let mut attempt = 1;
    loop {
        match verify_once(dir, head) {
            Err(JournalError::Damaged { path, .. } | JournalError::Io { path, .. })
                if attempt < ATTEMPTS && is_last(dir, &path)? =>
            {
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

fn verify_once(dir: &Path, head: Option<Hash>) -> Result<Verified, JournalError> {
    let mark = mark::read(dir)?;
    // Before the segments: a live server may acknowledge more while they are read.
    let acknowledged = recovery::acknowledged(dir);
    let segments = segment::list(dir)?;
    let mut sum = Verified {
        segments: 0,
        batches: 0,
        records: 0,
        signatures: 0,
        signed_to: 0,
        public_key: [0; 32],
        head: Head::EMPTY,
        torn: None,
        contains_head: head.map(|head| head == Head::EMPTY.hash),
    };
    let (mut end, mut sealed) = (None, None);
    for (i, (first, path)) in segments.iter().enumerate() {
        let is_last = i + 1 == segments.len();
        let length = verify_segment(path, is_last, head, &mut sum)?;
        sealed = end;
        end = Some(Mark {
            segment: *first,
            length,
            head: sum.head,
        });
    }
    if let Some(mark) = mark
        && (end.is_none_or(|end| !mark.is_end(&end, sealed.as_ref())) || sum.torn.is_some())
        // A server that opened the journal meanwhile has taken the mark away before it appended.
        && mark::read(dir)? == Some(mark)
    {
        return Err(not_as_closed(dir, &mark, end.map_or(0, |end| end.length)));
    }
    let end = end.unwrap_or(Mark {
        segment: 1,
        length: 0,
        head: Head::EMPTY,
    });
    recovery::check_durable(dir, &end, sum.torn.as_ref(), acknowledged.as_ref())?;
    Ok(sum)
}

/// Adds one segment to the sum, and returns the length of its good part.
fn verify_segment(
    path: &Path,
    is_last: bool,
    head: Option<Hash>,
    sum: &mut Verified,
) -> Result<u64, JournalError> {
    let mut walk = Walk::open(path, None)?;
    let header = *walk.header();
    if sum.segments == 0 {
        sum.public_key = header.public_key;
    }
    check_header(&header, path, &sum.head, &sum.public_key)?;
    let mut is_signed = true;
    loop {
        match walk.step()? {
            Step::Batch(batch) => {
                is_signed = batch.header.signed;
                if is_signed {
                    let (at, position) = (batch.at, batch.header.first);
                    batch::check_signature(batch.bytes, &header.public_key).map_err(|what| {
                        JournalError::Damaged {
                            path: path.to_owned(),
                            at,
                            position,
                            what,
                        }
                    })?;
                }
                sum.add(&batch.header, batch.hash, head);
            }
            Step::End if is_last || is_signed => break,
            Step::End => return Err(walk.damaged(Damage::Unsigned)),
            Step::Torn(cut) if is_last => {
                sum.torn = Some(cut);
                break;
            }
            Step::Torn(cut) => return Err(walk.damaged(Damage::Torn { bytes: cut.bytes })),
        }
    }
    sum.segments += 1;
    Ok(walk.at())
}

impl Verified {
    fn add(&mut self, header: &batch::BatchHeader, hash: Hash, asked: Option<Hash>) {
        self.batches += 1;
        self.records += u64::from(header.records);
        self.head = Head {
            position: self.head.position + u64::from(header.records),
            hash,
        };
        if header.signed {
            self.signatures += 1;
            self.signed_to = self.head.position;
        }
        if asked == Some(hash) {
            self.contains_head = Some(true);
        }
    }
}

fn is_last(dir: &Path, path: &Path) -> Result<bool, JournalError> {
    Ok(segment::list(dir)?.last().is_some_and(|(_, last)| last == path))
}
