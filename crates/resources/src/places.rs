//! Where the values of a document stand in its text: kept for as long as the document, so small beside the values themselves.

use crate::error::Position;
use crate::tree::{Node, Value};

/// The places of all values of a document, each before those that it holds.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    places: Box<[Place]>,
    /// The keys of all of them, one after the other.
    keys: Box<str>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// How many values it is held by.
    depth: u8,
    /// Where its key begins and ends in `keys`.
    key: (u32, u32),
    at: Position,
}

impl Places {
    pub(crate) fn of(root: &Node) -> Self {
        let (mut places, mut keys) = (Vec::new(), String::new());
        add(root, "", 0, &mut places, &mut keys);
        Self {
            places: places.into(),
            keys: keys.into(),
        }
    }

    /// Where the value under a path such as `spec.callers[2]` begins, or the deepest on the way to it that there is.
    pub(crate) fn find(&self, path: &str) -> Position {
        let mut found = 0;
        for step in path.split(['.', '[']).map(|step| step.trim_end_matches(']')) {
            let depth = self.places[found].depth;
            let held = (found + 1..self.places.len()).take_while(|at| self.places[*at].depth > depth);
            let mut next = held.filter(|at| self.places[*at].depth == depth + 1);
            let Some(below) = next.find(|at| self.key(*at) == step) else {
                break;
            };
            found = below;
        }
        self.places[found].at
    }

    fn key(&self, place: usize) -> &str {
        let (from, to) = self.places[place].key;
        &self.keys[from as usize..to as usize]
    }
}

/// Adds a value and what it holds. Texts are short and flat (`tree` has the limits), so every number fits.
fn add(node: &Node, key: &str, depth: u8, places: &mut Vec<Place>, keys: &mut String) {
    let from = narrow(keys.len());
    keys.push_str(key);
    places.push(Place {
        depth,
        key: (from, narrow(keys.len())),
        at: node.at,
    });
    let depth = depth.saturating_add(1);
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                add(&entry.node, &entry.key, depth, places, keys);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                add(item, &index.to_string(), depth, places, keys);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::split;
    use crate::tree::read_yaml;

    #[test]
    fn a_path_leads_to_its_value_or_to_the_deepest_on_the_way() {
        let text = "spec:\n  callers:\n  - token\n  - jwt: k8s\n  name: a\nkind: x\n";
        let part = split(text, "").unwrap()[0];
        let places = Places::of(&read_yaml(part, "").unwrap()[0]);
        for (path, line, column) in [
            ("", 1, 1),
            ("spec.callers[0]", 3, 5),
            ("spec.callers[1].jwt", 4, 10),
            ("spec.callers[2]", 3, 5),
            ("spec.name", 5, 9),
            ("spec.name.deeper", 5, 9),
            ("kind", 6, 7),
            ("callers", 1, 1),
        ] {
            let found = places.find(path);
            assert_eq!((found.line, found.column), (line, column), "{path}");
        }
    }
}
