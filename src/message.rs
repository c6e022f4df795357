//! Messages of the wire as their proto3 JSON, made from the descriptors that reflection serves too: there is no second schema.

use std::sync::LazyLock;

use identity::{Clock as _, SystemClock};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use time::OffsetDateTime;

use crate::output;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(proto::DESCRIPTORS).expect("the descriptors were made by the build")
});

/// The JSON of a message of `signet.v1`; `name` is that of its type.
pub(crate) fn json<M: Message>(name: &str, message: &M) -> Value {
    let descriptor = POOL
        .get_message_by_name(&format!("signet.v1.{name}"))
        .expect("callers name the type of the message that they hold");
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic
        .transcode_from(message)
        .expect("a message is of its own type");
    serde_json::to_value(dynamic).expect("times from the server have four-digit years")
}

/// A moment for people; nothing where the field is absent.
pub(crate) fn moment(at: Option<&prost_types::Timestamp>) -> String {
    time(at).map(output::moment).unwrap_or_default()
}

/// How long ago; nothing where the field is absent.
pub(crate) fn age(at: Option<&prost_types::Timestamp>) -> String {
    time(at)
        .map(|at| output::age(at, SystemClock.now()))
        .unwrap_or_default()
}

pub(crate) fn time(at: Option<&prost_types::Timestamp>) -> Option<OffsetDateTime> {
    at.and_then(proto::timestamp_from_message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1;
    use serde_json::json;

    #[test]
    fn a_message_is_printed_as_proto3_json() {
        let certificate = v1::Certificate {
            serial: "0a".into(),
            spiffe_id: "spiffe://td/a".into(),
            not_after: Some(prost_types::Timestamp {
                seconds: 1_767_225_600,
                nanos: 0,
            }),
            der: vec![1, 2, 3, 255],
            journal_position: 7,
            ..v1::Certificate::default()
        };
        assert_eq!(
            json("Certificate", &certificate),
            json!({
                "serial": "0a", "spiffeId": "spiffe://td/a", "notAfter": "2026-01-01T00:00:00Z",
                "der": "AQID/w==", "journalPosition": "7",
            })
        );
        let token = v1::Token {
            state: v1::token::State::Offered.into(),
            ..v1::Token::default()
        };
        assert_eq!(json("Token", &token), json!({ "state": "OFFERED" }));
    }
}
