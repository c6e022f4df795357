//! What a caller wished for, as a digest: a repeated request gets the recorded answer if key and wish are the same.

use std::time::Duration;

use identity::SpiffeId;
use ring::digest::{Context, SHA256};

/// SHA-256 over identity, the DNS names of the CSR in their order, and the life asked for in seconds (0: none).
pub(super) fn digest(id: &SpiffeId, dns_names: &[String], life: Option<Duration>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let mut add = |part: &[u8]| {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    };
    add(id.as_str().as_bytes());
    add(&life.map_or(0, |life| life.as_secs()).to_be_bytes());
    for name in dns_names {
        add(name.as_bytes());
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The digest of the same request where its answer, recorded at `position`, is outdated: the next answer is
/// recorded under it.
pub(super) fn after(digest: &[u8; 32], position: u64) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(digest);
    context.update(&position.to_be_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_identity_name_or_life_is_another_wish() {
        let id = |path: &str| SpiffeId::new(&format!("spiffe://td/{path}")).unwrap();
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let hour = Some(Duration::from_secs(3600));
        let wishes = [
            digest(&id("a"), &[], None),
            digest(&id("b"), &[], None),
            digest(&id("a"), &[], hour),
            digest(&id("a"), &names(&["x", "y"]), None),
            digest(&id("a"), &names(&["xy"]), None),
        ];
        for (i, one) in wishes.iter().enumerate() {
            assert!(wishes[i + 1..].iter().all(|other| one != other));
        }
        assert_eq!(wishes[2], digest(&id("a"), &[], hour));
    }
}
