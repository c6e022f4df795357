//! The certificates recorded last. Most records that a decision must look into are among them: a renewal sent twice, or a second
//! one from the same parent, follows closely on the first.

use std::collections::VecDeque;

use super::entry::Issued;

/// How many are kept; about 1.5 kB each.
const KEPT: usize = 256;

/// Certificates by position, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(VecDeque<(u64, Issued)>);

impl Recent {
    /// The certificate recorded at this position, if it is among them.
    pub(super) fn at(&self, position: u64) -> Option<&Issued> {
        let place = self
            .0
            .binary_search_by_key(&position, |(position, _)| *position)
            .ok()?;
        self.0.get(place).map(|(_, issued)| issued)
    }

    /// Takes in the next one. Positions ascend.
    pub(super) fn push(&mut self, position: u64, issued: Issued) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((position, issued));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_found_by_their_positions_and_the_oldest_go() {
        let mut recent = Recent::default();
        let of = |position: u64| Issued {
            not_after: position as i64,
            ..Issued::default()
        };
        // Other entries lie between them.
        let positions: Vec<u64> = (1..=KEPT as u64 + 1).map(|n| 3 * n).collect();
        for position in &positions {
            recent.push(*position, of(*position));
        }
        assert_eq!(recent.at(positions[0]), None);
        for position in &positions[1..] {
            assert_eq!(recent.at(*position), Some(&of(*position)));
            assert_eq!(recent.at(position + 1), None);
        }
    }
}
