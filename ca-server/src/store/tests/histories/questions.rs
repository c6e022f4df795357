//! What callers may ask after each step, and how the answers are compared.

use identity::{KeyDigest, Reason, Serial};

use super::History;
use super::model::{Answer, Request};
use crate::store::entry::{field, fingerprint};
use crate::store::inventory::{self, Query};
use crate::store::tests::support::HOUR;
use crate::store::{Place, Store, Verdict};

/// How far the clock may have been set back since, in seconds.
const SET_BACK: i64 = 600;
/// So long after its end a row may be gone, in seconds.
const KEPT: i64 = HOUR - SET_BACK;
/// So long after its end a token may be unknown, in seconds.
const TOKENS_KEPT: i64 = 7 * 24 * HOUR - SET_BACK;

impl History {
    pub(super) fn compare(&mut self) {
        for _ in 0..6 {
            self.ask_for_a_certificate();
        }
        for _ in 0..3 {
            self.present_a_certificate();
        }
        self.look_at_authorities();
        if self.random.one_in(10) {
            self.list();
        }
    }

    fn ask_for_a_certificate(&mut self) {
        let request = self.request();
        let expected = self.model.judge(&request, self.now());
        let found = match self.store().judge(&self.facts(&request)) {
            Ok(Verdict::New { fork }) => Answer::New { fork },
            Ok(Verdict::Replay { position }) => Answer::Replay(self.serial_at(position)),
            Err(refusal) => Answer::Refused(refusal.reason()),
        };
        self.assert_answer(&request, &found, &expected);
    }

    /// A caller with a certificate that has not expired is known, and it is known whether it was revoked.
    fn present_a_certificate(&mut self) {
        let now = self.now();
        let Some(issued) = self.random.pick(&self.model.certificates).cloned() else {
            return;
        };
        if now > issued.not_after {
            return;
        }
        let store = self.store();
        let positions = match store.read().position_of(issued.serial, now) {
            Place::At(position) => vec![position],
            Place::None => Vec::new(),
            Place::Unknown => store
                .find(field::SERIAL, fingerprint(&[issued.serial.as_bytes()]))
                .unwrap(),
        };
        let serials: Vec<Serial> = positions
            .iter()
            .map(|position| self.serial_at(*position))
            .collect();
        assert_eq!(serials, [issued.serial], "the certificate is not recognised");
        let state = self.store().read();
        assert_eq!(
            state.revocation(issued.serial).is_some(),
            self.model.is_revoked(issued.serial),
            "revocation of {}",
            issued.serial
        );
        assert_eq!(
            state.is_compromised(&[issued.key; 32]),
            self.model.is_compromised(issued.key)
        );
        assert!(
            state.authority(&issued.authority).is_some(),
            "the authority of {} is gone",
            issued.serial
        );
    }

    fn look_at_authorities(&self) {
        let state = self.store().read();
        let active = state.active_authority().map(|row| row.key_id.as_slice());
        assert_eq!(active, self.model.active_authority());
        for name in ["x", "y"] {
            let row = state.resource("Registration", "default", name);
            assert_eq!(row.is_some(), self.model.registration(name).is_some(), "{name}");
        }
    }

    fn list(&mut self) {
        let key = self.some_key();
        let include_expired = self.random.one_in(2);
        let query = Query {
            key: Some(KeyDigest::from_bytes([key; 32])),
            include_expired,
            ..Query::default()
        };
        let page = inventory::list(self.store().as_ref(), &query, 1000, None, self.now()).unwrap();
        let found: Vec<_> = page
            .certificates
            .iter()
            .map(|found| Serial::from_bytes(&found.issued.serial).unwrap())
            .collect();
        let of_key = self
            .model
            .certificates
            .iter()
            .rev()
            .filter(|issued| issued.key == key);
        let expected: Vec<_> = of_key
            .filter(|issued| include_expired || self.now() <= issued.not_after)
            .map(|issued| issued.serial)
            .collect();
        assert_eq!(found, expected, "certificates of key {key}");
    }

    pub(super) fn serial_at(&self, position: u64) -> Serial {
        let entry = self.store().entry(position).unwrap().unwrap();
        Serial::from_bytes(&entry.issued.unwrap().serial).unwrap()
    }

    /// The answers are equal, but where a token has ended the store may have forgotten why.
    pub(super) fn assert_answer(&self, request: &Request, found: &Answer, expected: &Answer) {
        if found == expected {
            return;
        }
        let has_ended = |id: &str, kept: i64| {
            let ends = self.model.token_ends(id);
            ends.is_none_or(|ends| ends < self.now() - kept)
        };
        let of_token = request
            .registration
            .as_ref()
            .and_then(|seen| seen.name.strip_prefix("token-"));
        let is_forgotten = match found {
            Answer::Refused(Reason::TokenInvalid) => request
                .token
                .as_ref()
                .is_some_and(|id| has_ended(id, TOKENS_KEPT)),
            Answer::Refused(Reason::IdentityNotGranted) => of_token.is_some_and(|id| has_ended(id, KEPT)),
            _ => false,
        };
        let is_refused = matches!(expected, Answer::Refused(_));
        assert!(
            is_forgotten && (is_refused || of_token.is_some()),
            "{request:?}: found {found:?}, expected {expected:?}"
        );
    }

    pub(super) fn may_be_unknown(&self, id: &str) -> bool {
        let ends = self.model.token_ends(id);
        ends.is_none_or(|ends| ends < self.now() - TOKENS_KEPT)
    }
}
