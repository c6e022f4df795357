//! Makes the chains: a valid one first, then faults in its certificates and in the way it is presented.

use std::rc::Rc;

use super::certificate::{
    AuthorityKey, CLIENT_AUTH, CRL_SIGN, Certificate, Constraints, DIGITAL_SIGNATURE, KEY_CERT_SIGN,
    SERVER_AUTH, URI, name, sequence,
};
use super::faults::{Choice, FAULTS, Place};
use super::keys::Key;
use super::presentation::PRESENTATIONS;
use super::random::Random;

/// The trust domain of every chain that has no fault.
pub const TRUST_DOMAIN: &str = "example.org";

/// A chain and the roots by which it is verified.
pub struct Case {
    pub index: usize,
    pub roots: Vec<Vec<u8>>,
    /// Leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The faults, each with the level of its certificate: 0 is the root.
    pub faults: Vec<String>,
}

impl Case {
    /// A leaf without anything above it.
    pub fn of_leaf(index: usize, der: Vec<u8>) -> Self {
        Self {
            index,
            roots: Vec::new(),
            chain: vec![der],
            faults: Vec::new(),
        }
    }

    /// Whether a certificate of it may be taken for one of another case, because it has no name of its own.
    pub fn shares_names(&self) -> bool {
        self.faults.iter().any(|fault| fault.contains("without subject"))
    }
}

/// A chain of certificates that are not signed yet, and signed ones around it.
pub struct Plan {
    pub index: usize,
    /// Root first, leaf last.
    pub path: Vec<Certificate>,
    /// Roots in addition to the first certificate of the path.
    pub roots: Vec<Vec<u8>>,
    /// Whether the first certificate of the path is a root of the bundle.
    pub is_rooted: bool,
    /// Certificates that are presented in addition to the path.
    pub extra: Vec<Vec<u8>>,
}

impl Plan {
    /// A valid chain with this many intermediates.
    fn valid(index: usize, intermediates: usize, random: &mut Random) -> Self {
        let mut path = vec![authority(index, 0)];
        path.extend((1..=intermediates).map(|level| authority(index, level)));
        for (level, authority) in path.iter_mut().enumerate() {
            match random.below(10) {
                0 | 1 => authority.names.clear(),
                2 if level > 0 => {
                    let below = u8::try_from(intermediates - level).expect("a small number");
                    let limits = authority.constraints.as_mut().expect("it is a CA");
                    limits.path_length = Some(below);
                }
                _ => {}
            }
        }
        path.push(leaf(index));
        Self {
            index,
            path,
            roots: Vec::new(),
            is_rooted: true,
            extra: Vec::new(),
        }
    }

    /// The certificate at this level as a signed one.
    pub fn signed(&self, level: usize) -> Vec<u8> {
        let issuer = &self.path[level.saturating_sub(1)];
        self.path[level].sign(issuer)
    }

    /// The number of the leaf's level.
    pub fn leaf(&self) -> usize {
        self.path.len() - 1
    }

    fn present(self, faults: Vec<String>) -> Case {
        let mut roots = self.roots.clone();
        if self.is_rooted {
            roots.push(self.signed(0));
        }
        let mut chain: Vec<Vec<u8>> = (1..=self.leaf()).rev().map(|level| self.signed(level)).collect();
        chain.extend(self.extra);
        Case {
            index: self.index,
            roots,
            chain,
            faults,
        }
    }
}

/// Makes the case `index` of `seed`.
pub fn case(seed: u64, index: usize, foreign: &[(&'static str, Rc<Key>)]) -> Case {
    let mut random = Random::new(seed, u64::try_from(index).expect("a small number"));
    let intermediates = *random.pick(&[0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5]);
    let mut plan = Plan::valid(index, intermediates, &mut random);
    let mut faults = Vec::new();
    let count = *random.pick(&[0, 0, 1, 1, 1, 1, 1, 1, 2, 3]);
    for _ in 0..count {
        let fault = random.pick(FAULTS);
        let last = plan.leaf();
        let level = match fault.place {
            Place::Any => random.below(last + 1),
            Place::Leaf => last,
            Place::Issuer => random.below(last),
        };
        let choice = &mut Choice {
            random: &mut random,
            foreign,
        };
        (fault.apply)(&mut plan.path[level], choice);
        faults.push(format!("{} at {level} of {last}", fault.name));
    }
    let mut reorder = None;
    if random.chance(if count == 0 { 90 } else { 25 }) {
        let presentation = random.pick(PRESENTATIONS);
        reorder = (presentation.apply)(&mut plan, &mut random);
        faults.push(presentation.name.to_owned());
    }
    let mut case = plan.present(faults);
    if let Some(reorder) = reorder {
        reorder(&mut case, &mut random);
    }
    case
}

/// The certificate of an authority at this level of a case, signed or not.
pub fn authority(index: usize, level: usize) -> Certificate {
    Certificate {
        version: Some(2),
        serial: vec![0x40, u8::try_from(level).expect("a small number")],
        subject: name(&format!("case {index} authority {level}")),
        issuer: None,
        validity: (-86_400, 86_400),
        key: Key::p256(),
        signed_by: None,
        constraints: Some(Constraints {
            critical: true,
            ca: Some(true),
            path_length: None,
        }),
        key_usage: Some((true, KEY_CERT_SIGN | CRL_SIGN)),
        extended: None,
        names: vec![(URI, format!("spiffe://{TRUST_DOMAIN}").into_bytes())],
        names_critical: false,
        has_key_id: true,
        authority_key: AuthorityKey::Linked,
        limits: None,
        others: Vec::new(),
        corrupt: false,
        two_algorithms: false,
    }
}

/// A leaf as Signet issues it.
pub fn leaf(index: usize) -> Certificate {
    Certificate {
        subject: sequence(&[]),
        serial: vec![0x41, 7],
        validity: (-3_600, 3_600),
        constraints: None,
        key_usage: Some((true, DIGITAL_SIGNATURE)),
        extended: Some(vec![SERVER_AUTH, CLIENT_AUTH]),
        names: vec![(URI, format!("spiffe://{TRUST_DOMAIN}/web/{index}").into_bytes())],
        names_critical: true,
        ..authority(index, 0)
    }
}
