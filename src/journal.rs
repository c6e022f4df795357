//! `journal`: reads the record of a data folder, beside a running server or without one.

use std::io::Write as _;
use std::path::Path;

use ca_server::store::Entry;
use ca_server::store::entry::{
    KIND_ENTRY, KIND_SNAPSHOT, KIND_SNAPSHOT_END, KIND_SNAPSHOT_PART, Snapshot, SnapshotPart,
};
use clap::Subcommand;
use identity::{Facts, Reason, hex};
use journal::{Hash, Stored, Verified};
use prost::Message as _;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cli::Global;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::output;

/// The record of what the authority did
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Check every checksum, every link of the chain and every signature; names the first bad entry
    #[command(after_help = "Example:\n  signet journal verify --data DIR --head $(cat head-kept-elsewhere)")]
    Verify {
        /// Hash that `journal head` or an audit line printed: it must be in the chain
        #[arg(long, value_name = "H", value_parser = hash)]
        head: Option<Hash>,
    },
    /// Print the hash of the last batch, to be kept elsewhere
    #[command(after_help = "Example:\n  signet journal head --data DIR > head-kept-elsewhere")]
    Head,
    /// Print the record as JSON lines
    #[command(after_help = "Example:\n  signet journal export --data DIR | grep '\"issued\"'")]
    Export,
}

pub(crate) fn run(verb: &Verb, global: &Global) -> Result<(), Failure> {
    let dir = Instance::locate(global)?.dir().join("journal");
    match verb {
        Verb::Verify { head } => {
            let verified = journal::verify(&dir, *head)?;
            if verified.contains_head == Some(false) {
                let message = format!(
                    "the chain does not contain {}: the record was replaced or rolled back since that head was printed",
                    head.map(|head| hex::encode(&head)).unwrap_or_default()
                );
                return Err(Failure::new(Reason::Conflict, message));
            }
            output::show(global.output, &facts(&verified).value(), || {
                facts(&verified).text()
            })
        }
        Verb::Head => {
            let head = journal::verify(&dir, None)?.head;
            let value = json!({ "head": head.to_string(), "position": head.position.to_string() });
            output::show(global.output, &value, || head.to_string())
        }
        Verb::Export => export(&dir),
    }
}

fn hash(text: &str) -> Result<Hash, String> {
    let bytes = hex::decode(text.trim()).and_then(|bytes| Hash::try_from(bytes).ok());
    bytes.ok_or_else(|| "expected 64 hex digits, as `signet journal head` prints them".to_owned())
}

fn facts(verified: &Verified) -> Facts {
    let torn = verified.torn.as_ref().map(ToString::to_string);
    let facts = Facts::new(match verified.contains_head {
        None => "the record is whole",
        Some(_) => "the record is whole, and the given head is in its chain",
    });
    facts
        .fact("head", "head", verified.head.to_string())
        .fact("last position", "position", verified.head.position)
        .fact("signed up to", "signedTo", verified.signed_to)
        .fact("records", "records", verified.records)
        .fact("batches", "batches", verified.batches)
        .fact("segments", "segments", verified.segments)
        .fact("signatures", "signatures", verified.signatures)
        .fact("journal key", "publicKey", hex::encode(&verified.public_key))
        .fact("unfinished end", "torn", torn.unwrap_or_default())
}

fn export(dir: &Path) -> Result<(), Failure> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let wrong = |e: std::io::Error| Failure::internal(format!("cannot write to standard output: {e}"));
    for stored in journal::export(dir, 1)? {
        writeln!(out, "{}", line(&stored?)?).map_err(wrong)?;
    }
    out.flush().map_err(wrong)
}

fn line(stored: &Stored) -> Result<Value, Failure> {
    let wrong = |e: prost::DecodeError| {
        Failure::new(
            Reason::StoreUnavailable,
            format!("entry at position {} cannot be read: {e}", stored.position),
        )
    };
    let position = stored.position.to_string();
    Ok(match stored.kind {
        KIND_ENTRY => entry(
            &position,
            Entry::decode(stored.payload.as_slice()).map_err(wrong)?,
        ),
        KIND_SNAPSHOT => {
            let snapshot = Snapshot::decode(stored.payload.as_slice()).map_err(wrong)?;
            json!({ "position": position, "at": at(snapshot.at), "snapshot": { "rows": snapshot.rows.len() } })
        }
        KIND_SNAPSHOT_PART | KIND_SNAPSHOT_END => {
            let part = SnapshotPart::decode(stored.payload.as_slice()).map_err(wrong)?;
            let is_complete = stored.kind == KIND_SNAPSHOT_END;
            json!({
                "position": position, "at": at(part.at),
                "snapshot": { "rows": part.rows.len(), "part": true, "complete": is_complete },
            })
        }
        other => json!({ "position": position, "kind": other }),
    })
}

fn entry(position: &str, entry: Entry) -> Value {
    let Entry {
        at: when,
        by,
        action,
        puts,
        deletes,
        issued,
        refused,
    } = entry;
    let mut line = json!({
        "position": position, "at": at(when), "rowsPut": puts.len(), "rowsDeleted": deletes.len(),
    });
    let mut put = |key: &str, value: Value| line[key] = value;
    if !by.is_empty() {
        put("by", by.into());
    }
    if !action.is_empty() {
        put("action", action.into());
    }
    if let Some(issued) = issued {
        put(
            "issued",
            json!({
                "serial": hex::encode(&issued.serial),
                "spiffeId": issued.spiffe_id,
                "keyDigest": hex::encode(&issued.key_digest),
                "notBefore": at(issued.not_before),
                "notAfter": at(issued.not_after),
                "profile": issued.profile,
                "method": issued.method,
                "caller": issued.caller,
                "registration": issued.registration,
                "parentSerial": hex::encode(&issued.parent),
                "authority": hex::encode(&issued.authority),
                "token": issued.token,
                "der": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &issued.der),
            }),
        );
    }
    if let Some(refused) = refused {
        put(
            "refused",
            json!({ "reason": refused.reason, "message": refused.message, "count": refused.count.to_string() }),
        );
    }
    line
}

/// Seconds since 1970 as RFC 3339; a time that no calendar has is left out.
fn at(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .map(output::moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_64_hex_digits() {
        assert_eq!(hash(&format!("{}\n", "0a".repeat(32))), Ok([10; 32]));
        for bad in ["", "0a", &"zz".repeat(32)] {
            assert!(hash(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_entry_is_one_object_with_what_was_issued() {
        let issued = ca_server::store::Issued {
            serial: vec![10, 1],
            spiffe_id: "spiffe://td/a".into(),
            ..ca_server::store::Issued::default()
        };
        let entry = Entry {
            at: 1_767_225_600,
            issued: Some(issued),
            ..Entry::default()
        };
        let stored = Stored {
            position: 7,
            kind: KIND_ENTRY,
            ends: 0,
            payload: entry.encode_to_vec(),
        };
        let line = line(&stored).unwrap();
        assert_eq!(line["position"], "7");
        assert_eq!(line["at"], "2026-01-01T00:00:00Z");
        assert_eq!(line["issued"]["serial"], "0a01");
        assert!(line.get("refused").is_none());
    }
}
