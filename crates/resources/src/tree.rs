//! A YAML or JSON text as a tree in which every key and value knows its position. The grammar is granit-parser's and serde_json's;
//! the limits and the refusal of duplicate keys are set here.

mod scalar;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use crate::error::{Position, ResourceError};
pub(crate) use yaml::read_yaml;

/// Longest text that is parsed, in bytes.
pub const MAX_TEXT_BYTES: usize = 8 * 1024 * 1024;
/// Deepest nesting of lists and mappings.
pub const MAX_DEPTH: usize = 32;
/// Most documents in one text.
pub const MAX_DOCUMENTS: usize = 25_000;
/// Most keys, values and containers in one part of a text, those that aliases repeat included.
pub const MAX_NODES: usize = 1_000_000;
/// Most values that aliases of one part may repeat: enough for a shared list, too few for a YAML bomb.
pub const MAX_REPEATED_VALUES: usize = 10_000;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Position,
}

/// One key of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) node: Node,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// Reads one JSON document; positions are unknown.
pub(crate) fn read_json(bytes: &[u8], limit: usize) -> Result<Node, ResourceError> {
    if bytes.len() > limit {
        return Err(ResourceError::too_large(bytes.len(), limit, "bytes", ""));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let node = Node::deserialize(&mut reader);
    node.and_then(|node| reader.end().map(|()| node))
        .map_err(|e| ResourceError {
            file: Box::default(),
            line: narrow(e.line() as u64),
            column: narrow(e.column() as u64),
            field: String::new(),
            found: String::new(),
            expected: "a JSON object".to_owned(),
            message: format!("not JSON: {e}"),
        })
}

impl Node {
    /// How many keys and values it is made of.
    fn size(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Node::size).sum(),
            Value::Map(entries) => entries.iter().map(|entry| 1 + entry.node.size()).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => 0,
        }
    }

    /// How deep its lists and mappings nest; 0 of anything else.
    fn depth(&self) -> usize {
        match &self.value {
            Value::List(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            Value::Map(entries) => 1 + entries.iter().map(|entry| entry.node.depth()).max().unwrap_or(0),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => 0,
        }
    }
}

impl Value {
    /// The value as JSON, positions dropped.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => value.clone().into(),
            Value::Text(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(|item| item.value.to_json()).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.value.to_json()))
                .collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self {
            value: deserializer.deserialize_any(JsonValue)?,
            at: Position::default(),
        })
    }
}

/// No text is long enough for the other branch.
fn narrow(position: u64) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

struct JsonValue;

impl<'de> Visitor<'de> for JsonValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(de::Error::custom(format!(
                    "duplicate key {:?}",
                    crate::error::shorten(&key)
                )));
            }
            entries.push(Entry {
                key,
                at: Position::default(),
                node: map.next_value()?,
            });
        }
        Ok(Value::Map(entries))
    }
}
