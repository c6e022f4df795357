//! Reading the tree field by field: each wrong one is noted with its path and position, and reading goes on, so that one run
//! tells an author everything.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use crate::error::{Position, ResourceError, Warning, shorten};
use crate::tree::{Entry, Node, Value};

/// Shortest life of anything that is issued.
pub const MIN_LIFE: Duration = Duration::from_secs(10);

/// What was found wrong, and what was found odd, in one source.
pub(crate) struct Findings {
    file: Box<str>,
    is_stored: bool,
    pub(crate) errors: Vec<ResourceError>,
    pub(crate) warnings: Vec<Warning>,
}

/// A value under its path.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
}

/// A mapping whose keys are all known.
#[derive(Clone)]
pub(crate) struct Object<'a> {
    entries: &'a [Entry],
    path: String,
    at: Position,
}

impl Findings {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.into(),
            is_stored: false,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// For a document that was accepted before, perhaps under rules that were wider: see
    /// [`Findings::withhold`].
    pub(crate) fn stored() -> Self {
        Self {
            is_stored: true,
            ..Self::new("")
        }
    }

    /// Notes a grant that breaks a rule. In a stored document it is a warning, because the rest of the
    /// document stays in force; the caller leaves the grant out in both cases.
    pub(crate) fn withhold(&mut self, field: &Field<'_>, why: impl Display) {
        if self.is_stored {
            self.warn(field, &format!("{why}; it is not granted"));
        } else {
            self.wrong(field, why);
        }
    }

    /// Notes a value that is not what it should be.
    pub(crate) fn unexpected(&mut self, field: &Field<'_>, expected: impl Into<String>) {
        let (found, expected) = (field.shown(), expected.into());
        self.push(
            field.node.at,
            &field.path,
            format!("found {found}, expected {expected}"),
            found,
            expected,
        );
    }

    /// Notes a field that must be there and is not, at the place of what should hold it.
    pub(crate) fn missing(&mut self, at: Position, path: &str, expected: &str) {
        let message = format!("missing, expected {expected}");
        self.push(at, path, message, String::new(), expected.to_owned());
    }

    /// Notes a value that is right in itself and wrong for a reason that needs a sentence.
    pub(crate) fn wrong(&mut self, field: &Field<'_>, why: impl Display) {
        self.push(
            field.node.at,
            &field.path,
            why.to_string(),
            field.shown(),
            String::new(),
        );
    }

    pub(crate) fn warn(&mut self, field: &Field<'_>, message: &str) {
        self.warnings.push(Warning {
            line: field.node.at.line,
            column: field.node.at.column,
            field: field.path.clone(),
            message: message.to_owned(),
        });
    }

    fn push(&mut self, at: Position, path: &str, message: String, found: String, expected: String) {
        self.errors.push(ResourceError {
            file: self.file.clone(),
            line: at.line,
            column: at.column,
            field: path.to_owned(),
            found,
            expected,
            message,
        });
    }
}

impl<'a> Field<'a> {
    /// The value for a message: text quoted, containers named.
    fn shown(&self) -> String {
        match &self.node.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::Text(value) => format!("{:?}", shorten(value)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// A mapping; keys outside `known` are noted by name.
    pub(crate) fn object(&self, known: &[&str], findings: &mut Findings) -> Option<Object<'a>> {
        let object = self.open_object(findings)?;
        for entry in object.entries {
            if !known.contains(&entry.key.as_str()) {
                let expected = format!("one of {}", known.join(", "));
                let found = format!("{:?}", shorten(&entry.key));
                findings.push(
                    entry.at,
                    &join(&self.path, &shorten(&entry.key)),
                    format!("unknown field, expected {expected}"),
                    found,
                    expected,
                );
            }
        }
        Some(object)
    }

    /// A mapping with any keys.
    pub(crate) fn open_object(&self, findings: &mut Findings) -> Option<Object<'a>> {
        let Value::Map(entries) = &self.node.value else {
            findings.unexpected(self, "a mapping");
            return None;
        };
        Some(Object {
            entries,
            path: self.path.clone(),
            at: self.node.at,
        })
    }

    pub(crate) fn text(&self, expected: &str, findings: &mut Findings) -> Option<&'a str> {
        let Value::Text(text) = &self.node.value else {
            findings.unexpected(self, expected);
            return None;
        };
        Some(text)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    pub(crate) fn boolean(&self, findings: &mut Findings) -> Option<bool> {
        let Value::Bool(value) = self.node.value else {
            findings.unexpected(self, "true or false");
            return None;
        };
        Some(value)
    }

    /// The items of a list.
    pub(crate) fn list(&self, findings: &mut Findings) -> Vec<Field<'a>> {
        let Value::List(items) = &self.node.value else {
            findings.unexpected(self, "a list");
            return Vec::new();
        };
        let item = |(index, node)| Field {
            node,
            path: format!("{}[{index}]", self.path),
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The items of a list, each made from its text by `make`; those that fail are noted.
    pub(crate) fn each<T>(
        &self,
        expected: &str,
        findings: &mut Findings,
        make: impl Fn(&'a str) -> Option<T>,
    ) -> Vec<T> {
        self.list(findings)
            .iter()
            .filter_map(|item| item.made(expected, findings, &make))
            .collect()
    }

    /// A value made from its text by `make`.
    pub(crate) fn made<T>(
        &self,
        expected: &str,
        findings: &mut Findings,
        make: impl Fn(&'a str) -> Option<T>,
    ) -> Option<T> {
        let made = make(self.text(expected, findings)?);
        if made.is_none() {
            findings.unexpected(self, expected);
        }
        made
    }

    /// A whole number from 1 to 65535.
    pub(crate) fn port(&self, findings: &mut Findings) -> Option<u16> {
        let port = match &self.node.value {
            Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            _ => None,
        };
        let port = port.filter(|port| *port != 0);
        if port.is_none() {
            findings.wrong(
                self,
                format!("found {}: port must be in range 1..65535", self.shown()),
            );
        }
        port
    }

    /// A duration of at least [`MIN_LIFE`].
    pub(crate) fn life(&self, findings: &mut Findings) -> Option<Duration> {
        let parse = |text: &str| identity::duration::parse(text).ok();
        let life = self.made("a duration such as 90s, 24h", findings, parse)?;
        if life < MIN_LIFE {
            let least = identity::duration::print(MIN_LIFE);
            findings.unexpected(self, format!("a duration of at least {least}"));
            return None;
        }
        Some(life)
    }

    /// A mapping from text to text.
    pub(crate) fn text_map(&self, findings: &mut Findings) -> BTreeMap<String, String> {
        let Some(object) = self.open_object(findings) else {
            return BTreeMap::new();
        };
        let pair = |entry: &Entry| {
            let field = object.get(&entry.key)?;
            let text = field.text("a text (quote it)", findings)?;
            Some((entry.key.clone(), text.to_owned()))
        };
        object.entries.iter().filter_map(pair).collect()
    }
}

impl<'a> Object<'a> {
    /// Every field in it.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> + '_ {
        self.entries.iter().map(|entry| {
            let field = Field {
                node: &entry.node,
                path: join(&self.path, &entry.key),
            };
            (entry.key.as_str(), field)
        })
    }

    /// Refuses by name what others know and nothing here would heed.
    pub(crate) fn refuse(&self, unheeded: &[(&str, &str)], findings: &mut Findings) {
        for (key, why) in unheeded {
            if let Some(field) = self.get(key) {
                findings.wrong(&field, format!("not supported, {why}; expected none"));
            }
        }
    }

    /// The field, unless it is absent or null.
    pub(crate) fn get(&self, key: &str) -> Option<Field<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        let present = !matches!(entry.node.value, Value::Null);
        present.then(|| Field {
            node: &entry.node,
            path: join(&self.path, key),
        })
    }

    /// The field, noted as missing if it is not there.
    pub(crate) fn need(&self, key: &str, expected: &str, findings: &mut Findings) -> Option<Field<'a>> {
        let field = self.get(key);
        if field.is_none() {
            self.lacks(key, expected, findings);
        }
        field
    }

    /// An empty mapping in place of a field that is not there.
    pub(crate) fn empty(&self, key: &str) -> Field<'a> {
        const EMPTY: &Node = &Node {
            value: Value::Map(Vec::new()),
            at: Position { line: 0, column: 0 },
        };
        Field {
            node: EMPTY,
            path: join(&self.path, key),
        }
    }

    /// Notes that `key` is missing here.
    pub(crate) fn lacks(&self, key: &str, expected: &str, findings: &mut Findings) {
        findings.missing(self.at, &join(&self.path, key), expected);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
