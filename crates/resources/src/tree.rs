//! A YAML or JSON text as a tree in which every key and value knows its position. The grammar is serde-saphyr's and
//! serde_json's; the limits and the refusal of duplicate keys are set here.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::options::MergeKeyPolicy;
use serde_saphyr::{DuplicateKeyPolicy, Options, Spanned};

use crate::error::{Position, ResourceError};
use crate::parts::Part;

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

/// Reads all documents of a part of a YAML text (JSON is one); empty documents are skipped.
pub(crate) fn read_yaml(part: Part<'_>, file: &str) -> Result<Vec<Node>, ResourceError> {
    let nodes: Result<Vec<Node>, _> = serde_saphyr::from_multiple_with_options(part.text, options());
    let mut nodes = nodes.map_err(|e| syntax(&e, part.lines_before, file))?;
    if part.lines_before > 0 {
        nodes
            .iter_mut()
            .for_each(|node| node.move_down(part.lines_before));
    }
    Ok(nodes)
}

/// Reads one JSON document; positions are unknown.
pub(crate) fn read_json(bytes: &[u8], limit: usize) -> Result<Node, ResourceError> {
    if bytes.len() > limit {
        return Err(ResourceError::too_large(bytes.len(), limit, "bytes", ""));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let node = Positions::Unknown.deserialize(&mut reader);
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

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_documents: MAX_DOCUMENTS,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_aliases: MAX_REPEATED_VALUES,
            max_anchors: MAX_REPEATED_VALUES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPEATED_VALUES,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    }
}

fn syntax(error: &serde_saphyr::Error, lines_before: u32, file: &str) -> ResourceError {
    let (line, column) = error
        .location()
        .map_or((0, 0), |at| (narrow(at.line()), narrow(at.column())));
    let text = error.to_string();
    // The position is a field of its own; the library repeats it at the end of its sentence.
    let sentence = text.lines().next().unwrap_or_default();
    let sentence = sentence.split(" at line ").next().unwrap_or_default();
    let sentence = sentence
        .strip_prefix(&format!("error: line {line} column {column}: "))
        .unwrap_or(sentence);
    ResourceError {
        file: file.into(),
        line: if line > 0 { line + lines_before } else { 0 },
        column,
        field: String::new(),
        found: String::new(),
        expected: String::new(),
        message: format!("not readable as YAML: {}", crate::error::shorten(sentence)),
    }
}

impl Node {
    /// Its place, and those of all that it holds, where so many lines stand before the text that it was read from.
    fn move_down(&mut self, lines: u32) {
        self.at.line += lines;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.move_down(lines)),
            Value::Map(entries) => {
                for entry in entries {
                    entry.at.line += lines;
                    entry.node.move_down(lines);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }

    /// The value as JSON, positions dropped.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => value.clone().into(),
            Value::Text(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Positions::Known.deserialize(deserializer)
    }
}

/// Whether the format tells where values stand: serde-saphyr does, serde_json does not.
#[derive(Clone, Copy)]
enum Positions {
    Known,
    Unknown,
}

impl<'de> DeserializeSeed<'de> for Positions {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        match self {
            Positions::Known => {
                let spanned = Spanned::<Value>::deserialize(deserializer)?;
                Ok(Node {
                    at: position(&spanned),
                    value: spanned.value,
                })
            }
            Positions::Unknown => Ok(Node {
                at: Position::default(),
                value: deserializer.deserialize_any(AnyValue(self))?,
            }),
        }
    }
}

impl Positions {
    fn next_key<'de, A: MapAccess<'de>>(self, map: &mut A) -> Result<Option<(String, Position)>, A::Error> {
        match self {
            Positions::Known => {
                let key = map.next_key::<Spanned<String>>()?;
                Ok(key.map(|key| {
                    let at = position(&key);
                    (key.value, at)
                }))
            }
            Positions::Unknown => Ok(map.next_key()?.map(|key| (key, Position::default()))),
        }
    }
}

/// No text is long enough for the other branch.
fn narrow(position: u64) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

fn position<T>(spanned: &Spanned<T>) -> Position {
    Position {
        line: narrow(spanned.referenced.line()),
        column: narrow(spanned.referenced.column()),
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(Positions::Known))
    }
}

struct AnyValue(Positions);

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML or JSON value")
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
        while let Some(item) = items.next_element_seed(self.0)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        while let Some((key, at)) = self.0.next_key(&mut map)? {
            // serde-saphyr looks for duplicates itself, serde_json does not.
            if matches!(self.0, Positions::Unknown) && !seen.insert(key.clone()) {
                return Err(de::Error::custom(format!(
                    "duplicate key {:?}",
                    crate::error::shorten(&key)
                )));
            }
            entries.push(Entry {
                key,
                at,
                node: map.next_value_seed(self.0)?,
            });
        }
        Ok(Value::Map(entries))
    }
}
