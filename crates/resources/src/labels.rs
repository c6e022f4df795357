//! What Istio's kinds share: labels and the selectors over them, and `exportTo`.

use std::collections::BTreeMap;

use crate::document::is_label;
use crate::fields::{Field, Findings, Object};

/// Labels of a workload, or those that a selector asks for.
pub type Labels = BTreeMap<String, String>;

/// Longest value of a label, in characters (Kubernetes).
const MAX_VALUE: usize = 63;

/// The namespaces in which a resource counts beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExportTo {
    /// In all of them: `*`, or an empty list.
    #[default]
    Everywhere,
    /// In those named; `.` is written out, `~` names none.
    Namespaces(Vec<String>),
}

impl ExportTo {
    /// Whether clients of `namespace` see it.
    pub fn reaches(&self, namespace: &str) -> bool {
        match self {
            ExportTo::Everywhere => true,
            ExportTo::Namespaces(named) => named.iter().any(|name| name == namespace),
        }
    }

    /// Reads the field of a document in `namespace`; `~`, nobody, is legal for services alone.
    pub(crate) fn check(
        object: &Object<'_>,
        namespace: &str,
        may_hide: bool,
        findings: &mut Findings,
    ) -> Self {
        let expected = if may_hide {
            "*, ., ~ or the name of a namespace"
        } else {
            "*, . or the name of a namespace"
        };
        let Some(field) = object.get("exportTo") else {
            return ExportTo::Everywhere;
        };
        let known = |text: &'_ str| {
            let right = matches!(text, "*" | ".") || (may_hide && text == "~") || is_label(text);
            right.then(|| text.to_owned())
        };
        let words = field.each(expected, findings, known);
        let alone = |word: &str| words.iter().any(|found| found == word) && words.len() > 1;
        if alone("*") || alone("~") {
            findings.wrong(&field, "* and ~ stand alone, expected one of them or namespaces");
        }
        if words.is_empty() || words.iter().any(|word| word == "*") {
            return ExportTo::Everywhere;
        }
        let named = |word: String| match word.as_str() {
            "." => Some(namespace.to_owned()),
            "~" => None,
            _ => Some(word),
        };
        ExportTo::Namespaces(words.into_iter().filter_map(named).collect())
    }
}

/// Labels of a selector, refused in Istio's words.
pub(crate) fn selector(field: &Field<'_>, findings: &mut Findings) -> Labels {
    let labels = checked(field, findings);
    if let Some(object) = field.open_object(&mut Findings::new("")) {
        for (key, value) in object.fields() {
            let text = value.text("", &mut Findings::new("")).unwrap_or_default();
            if key.contains('*') || text.contains('*') {
                let pair = format!("{key}={text}");
                findings.wrong(&value, format!("wildcard is not supported in selector: {pair:?}"));
            }
            if key.is_empty() {
                let pair = format!("{key}={text}");
                findings.wrong(
                    &value,
                    format!("empty key is not supported in selector: {pair:?}"),
                );
            }
        }
    }
    labels
}

/// Labels whose values are no longer than Kubernetes lets them be.
pub(crate) fn checked(field: &Field<'_>, findings: &mut Findings) -> Labels {
    let labels = field.text_map(findings);
    if let Some(object) = field.open_object(&mut Findings::new("")) {
        for (key, value) in object.fields() {
            let length = labels.get(key).map_or(0, |value| value.chars().count());
            if length > MAX_VALUE {
                findings.wrong(
                    &value,
                    format!("value of {length} characters, expected at most {MAX_VALUE} characters"),
                );
            }
        }
    }
    labels
}
