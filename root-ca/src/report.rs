//! A result, once for people and once for programs, from the same facts.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A headline, facts, and what to do next.
pub(crate) struct Report {
    headline: String,
    /// Label for people, key for programs, value.
    facts: Vec<(&'static str, &'static str, Value)>,
    /// Sentences below the facts, for people only.
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(headline: impl Into<String>) -> Self {
        Self {
            headline: headline.into(),
            facts: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a fact; `label` is for people, `key` for programs.
    pub(crate) fn fact(mut self, label: &'static str, key: &'static str, value: impl Into<Value>) -> Self {
        self.facts.push((label, key, value.into()));
        self
    }

    /// Adds a moment, in RFC 3339.
    pub(crate) fn moment(self, label: &'static str, key: &'static str, at: OffsetDateTime) -> Self {
        let text = at
            .format(&Rfc3339)
            .expect("certificates' years have four digits and their offset is UTC");
        self.fact(label, key, text)
    }

    /// Adds a sentence for people.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The facts in columns.
    pub(crate) fn text(&self) -> String {
        let width = self
            .facts
            .iter()
            .map(|(label, ..)| label.len())
            .max()
            .unwrap_or(0);
        let facts = self
            .facts
            .iter()
            .map(|(label, _, value)| format!("  {label:width$}  {}", plain(value)));
        std::iter::once(self.headline.clone())
            .chain(facts)
            .chain(self.notes.iter().cloned())
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The facts as one JSON object.
    pub(crate) fn value(&self) -> Value {
        let facts = self
            .facts
            .iter()
            .map(|(_, key, value)| ((*key).to_owned(), value.clone()));
        Value::Object(facts.collect::<Map<_, _>>())
    }

    /// [`Report::value`] as text.
    pub(crate) fn json(&self) -> String {
        format!("{:#}", self.value())
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
