//! Unusual ways to present a chain, and unusual bundles to verify it by.

use super::certificate::{Certificate, DNS, NameLimits, URI, name};
use super::generator::{Case, Plan, authority, leaf};
use super::keys::Key;
use super::random::Random;

/// A change of the finished case.
pub type Reorder = fn(&mut Case, &mut Random);

/// A way to present a chain.
pub struct Presentation {
    pub name: &'static str,
    pub apply: fn(&mut Plan, &mut Random) -> Option<Reorder>,
}

const fn presentation(
    name: &'static str,
    apply: fn(&mut Plan, &mut Random) -> Option<Reorder>,
) -> Presentation {
    Presentation { name, apply }
}

fn after(case: Reorder) -> Option<Reorder> {
    Some(case)
}

/// Another certificate of the same name for another key, signed by itself or by the issuer of this level.
fn decoy(plan: &Plan, level: usize, change: impl FnOnce(&mut Certificate)) -> Vec<u8> {
    let mut other = plan.path[level].clone();
    other.serial = vec![0x42, 0x42];
    change(&mut other);
    other.sign(&plan.path[level.saturating_sub(1)])
}

/// The level of an intermediate, or of the root where there is none.
fn some_issuer(plan: &Plan, random: &mut Random) -> usize {
    match plan.leaf() {
        1 => 0,
        last => 1 + random.below(last - 1),
    }
}

/// A root of another key that signs the root of the path as well.
fn cross_sign(plan: &mut Plan, old: &Certificate) {
    plan.roots.push(old.sign(old));
    let mut crossed = plan.path[0].clone();
    crossed.serial = vec![0x43, 0x43];
    plan.extra.push(crossed.sign(old));
}

pub const PRESENTATIONS: &[Presentation] = &[
    presentation("as it is", |_, _| None),
    presentation("shuffled", |_, _| {
        after(|case, random| random.shuffle(&mut case.chain[1..]))
    }),
    presentation("each certificate twice", |_, _| {
        after(|case, _| {
            let above = case.chain[1..].to_vec();
            case.chain.extend(above);
            case.chain.truncate(8);
        })
    }),
    presentation("with the root", |_, _| {
        after(|case, _| case.chain.extend(case.roots.last().cloned()))
    }),
    presentation("with a stranger", |plan, _| {
        let stranger = authority(plan.index, 9);
        plan.extra.push(stranger.sign(&stranger));
        None
    }),
    presentation("with another leaf", |plan, _| {
        let issuer = &plan.path[plan.leaf() - 1];
        plan.extra.push(leaf(plan.index).sign(issuer));
        None
    }),
    presentation("without an intermediate", |_, _| {
        after(|case, random| {
            if case.chain.len() > 1 {
                case.chain.remove(1 + random.below(case.chain.len() - 1));
            }
        })
    }),
    presentation("with a decoy of another key", |plan, random| {
        let level = some_issuer(plan, random);
        let decoy = decoy(plan, level, |c| c.key = Key::p256());
        plan.extra.push(decoy);
        after(|case, _| case.chain[1..].rotate_right(1))
    }),
    presentation(
        "with a decoy of another key without identifiers",
        |plan, random| {
            let level = some_issuer(plan, random);
            let decoy = decoy(plan, level, |c| (c.key, c.has_key_id) = (Key::p256(), false));
            plan.extra.push(decoy);
            after(|case, _| case.chain[1..].rotate_right(1))
        },
    ),
    presentation("with an expired twin of an issuer", |plan, random| {
        let level = some_issuer(plan, random);
        let twin = decoy(plan, level, |c| c.validity.1 = -60);
        plan.extra.push(twin);
        after(|case, _| case.chain[1..].rotate_right(1))
    }),
    presentation(
        "with a twin of an issuer for another trust domain",
        |plan, random| {
            let level = some_issuer(plan, random);
            let twin = decoy(plan, level, |c| {
                c.names = vec![(URI, b"spiffe://other.example".to_vec())]
            });
            plan.extra.push(twin);
            after(|case, _| case.chain[1..].rotate_right(1))
        },
    ),
    presentation("cross-signed, only the old root trusted", |plan, _| {
        let old = authority(plan.index, 8);
        cross_sign(plan, &old);
        plan.is_rooted = false;
        None
    }),
    presentation("cross-signed, both roots trusted", |plan, _| {
        let old = authority(plan.index, 8);
        cross_sign(plan, &old);
        None
    }),
    presentation("cross-signed by an expired root", |plan, _| {
        let mut old = authority(plan.index, 8);
        old.validity.1 = -60;
        cross_sign(plan, &old);
        None
    }),
    presentation("cross-signed by a root with path length 1", |plan, _| {
        let mut old = authority(plan.index, 8);
        old.constraints.as_mut().expect("it is a CA").path_length = Some(1);
        cross_sign(plan, &old);
        plan.is_rooted = false;
        None
    }),
    presentation(
        "with an expired twin of the root in the bundle",
        |plan, random| {
            let mut twin = plan.path[0].clone();
            twin.validity.1 = -60;
            twin.serial = vec![0x44, 0x44];
            let first = random.chance(50);
            plan.roots.push(twin.sign(&twin));
            if first {
                None
            } else {
                after(|case, _| case.roots.reverse())
            }
        },
    ),
    presentation("with another root of the same name in the bundle", |plan, _| {
        let mut twin = plan.path[0].clone();
        twin.key = Key::p256();
        plan.roots.push(twin.sign(&twin));
        None
    }),
    presentation("with another root in the bundle", |plan, _| {
        let other = authority(plan.index, 7);
        plan.roots.push(other.sign(&other));
        None
    }),
    presentation("only another root in the bundle", |plan, _| {
        let other = authority(plan.index, 7);
        plan.roots.push(other.sign(&other));
        plan.is_rooted = false;
        None
    }),
    presentation("empty bundle", |plan, _| {
        plan.is_rooted = false;
        None
    }),
    presentation("the uppermost certificate of the chain in the bundle", |_, _| {
        after(|case, _| case.roots = case.chain.last().cloned().into_iter().collect())
    }),
    presentation("the leaf in the bundle", |_, _| {
        after(|case, _| case.roots = vec![case.chain[0].clone()])
    }),
    presentation(
        "a common name outside of the DNS names that are permitted",
        |plan, random| {
            let (level, last) = (some_issuer(plan, random), plan.leaf());
            plan.path[level].limits = Some(NameLimits {
                critical: true,
                permitted: vec![(DNS, b"example.org".to_vec())],
                excluded: Vec::new(),
            });
            plan.path[last].subject = name("web.other.example");
            None
        },
    ),
    presentation("DNS names that are permitted", |plan, random| {
        let (level, last) = (some_issuer(plan, random), plan.leaf());
        let (permitted, excluded) = (
            (DNS, b"example.org".to_vec()),
            (DNS, b"private.example.org".to_vec()),
        );
        plan.path[level].limits = Some(NameLimits {
            critical: random.chance(50),
            permitted: vec![permitted],
            excluded: vec![excluded],
        });
        plan.path[last].names.push((DNS, b"web.example.org".to_vec()));
        None
    }),
    presentation("a leaf as issuer", |plan, _| {
        let mut below = leaf(plan.index);
        below.serial = vec![0x45, 0x45];
        let last = plan.leaf();
        plan.path[last].subject = name(&format!("case {} leaf", plan.index));
        plan.path.push(below);
        None
    }),
    presentation("a self-issued intermediate", |plan, _| {
        let level = plan.leaf();
        let mut again = plan.path[level - 1].clone();
        (again.key, again.serial) = (Key::p256(), vec![0x46, 0x46]);
        if let Some(limits) = &mut again.constraints {
            limits.path_length = limits.path_length.map(|length| length.saturating_sub(1));
        }
        plan.path.insert(level, again);
        None
    }),
    presentation("the same certificate at two levels", |plan, _| {
        let level = plan.leaf();
        let again = plan.path[level - 1].clone();
        plan.path.insert(level, again);
        None
    }),
    presentation("with bytes that are no certificate", |plan, _| {
        plan.extra.push(vec![0x30, 3, 2, 1, 5]);
        None
    }),
    presentation("with bytes after the leaf", |_, _| {
        after(|case, _| case.chain[0].push(0))
    }),
    presentation("with nine certificates", |plan, _| {
        while plan.leaf() + plan.extra.len() < 9 {
            let stranger = authority(plan.index, 20 + plan.extra.len());
            plan.extra.push(stranger.sign(&stranger));
        }
        None
    }),
    presentation("with five issuers of one name", |plan, random| {
        let level = some_issuer(plan, random);
        for _ in 0..4 {
            let decoy = decoy(plan, level, |c| c.key = Key::p256());
            plan.extra.push(decoy);
        }
        after(|case, _| case.chain.truncate(8))
    }),
];
