//! A document in full, laid out as `kubectl describe` does: names and labels first, then the rest by its fields.

use serde_json::{Map, Value};

/// The document, and what it means among the others where that is known.
pub(super) fn text(document: &Value, effect: Option<&policy::Effect>) -> String {
    let metadata = &document["metadata"];
    let mut rest = document.as_object().cloned().unwrap_or_default();
    for key in ["apiVersion", "kind", "metadata"] {
        rest.remove(key);
    }
    let top = [
        ("Name", scalar(&metadata["name"])),
        ("Namespace", scalar(&metadata["namespace"])),
        ("Labels", pairs(&metadata["labels"])),
        ("Annotations", pairs(&metadata["annotations"])),
        ("API Version", scalar(&document["apiVersion"])),
        ("Kind", scalar(&document["kind"])),
        ("Created", scalar(&metadata["creationTimestamp"])),
    ];
    let mut lines: Vec<String> = top
        .into_iter()
        .map(|(label, value)| format!("{:<14}{value}", format!("{label}:")))
        .collect();
    object(&rest, 0, &mut lines);
    if let Some(effect) = effect {
        lines.push(format!(
            "Effect:\n  Covers:  {}\n  Counts:  {}",
            effect.covers, effect.counts
        ));
    }
    lines.join("\n")
}

fn object(fields: &Map<String, Value>, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let is_scalar = |value: &&Value| !value.is_object() && !value.is_array();
    let width = fields
        .iter()
        .filter(|(_, value)| is_scalar(value))
        .map(|(key, _)| words(key).len() + 3)
        .max();
    for (key, value) in fields {
        let label = format!("{}:", words(key));
        match value {
            Value::Object(inner) => {
                lines.push(format!("{indent}{label}"));
                object(inner, depth + 1, lines);
            }
            Value::Array(items) => {
                lines.push(format!("{indent}{label}"));
                list(items, depth + 1, lines);
            }
            value => lines.push(format!(
                "{indent}{label:width$}{}",
                scalar(value),
                width = width.unwrap_or(0)
            )),
        }
    }
}

fn list(items: &[Value], depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    for item in items {
        match item {
            Value::Object(inner) => object(inner, depth, lines),
            Value::Array(inner) => list(inner, depth + 1, lines),
            value => lines.push(format!("{indent}{}", scalar(value))),
        }
    }
}

/// `spiffeId` is read as `Spiffe Id`.
fn words(key: &str) -> String {
    let mut words = String::new();
    for (at, letter) in key.chars().enumerate() {
        if at == 0 {
            words.extend(letter.to_uppercase());
            continue;
        }
        if letter.is_uppercase() {
            words.push(' ');
        }
        words.push(letter);
    }
    words
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn pairs(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs: Vec<String> = pairs
        .map(|(key, value)| format!("{key}={}", scalar(value)))
        .collect();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_laid_out_as_kubectl_does() {
        let document = json!({
            "apiVersion": "signet.dev/v1", "kind": "Registration",
            "metadata": { "name": "web", "namespace": "shop", "labels": { "app": "web" } },
            "spec": { "spiffeId": "spiffe://td/web", "callers": ["token"], "workload": { "labels": { "a": "b" } } },
        });
        let expected = "\
Name:         web
Namespace:    shop
Labels:       app=web
Annotations:  <none>
API Version:  signet.dev/v1
Kind:         Registration
Created:      <none>
Spec:
  Callers:
    token
  Spiffe Id:  spiffe://td/web
  Workload:
    Labels:
      A:  b";
        assert_eq!(text(&document, None), expected);
        let effect = policy::Effect {
            covers: "everybody".into(),
            counts: "yes".into(),
        };
        let with_effect = format!("{expected}\nEffect:\n  Covers:  everybody\n  Counts:  yes");
        assert_eq!(text(&document, Some(&effect)), with_effect);
    }
}
