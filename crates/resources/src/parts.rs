//! A long text of many documents in parts, so that several cores can read it. Where it is cut depends on the text alone: on every
//! machine the same texts are accepted.

use crate::document::Document;
use crate::error::ResourceError;
use crate::tree::{MAX_DOCUMENTS, MAX_TEXT_BYTES};

/// A part ends where the first document begins after so many bytes.
const PART_BYTES: usize = 256 * 1024;

/// Some whole documents of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub(crate) text: &'a str,
    /// Lines of the text before it.
    pub(crate) lines_before: u32,
}

/// Cuts a text of YAML or JSON documents where documents begin. `source_name` is the file in messages.
///
/// # Errors
/// The text has more than [`MAX_TEXT_BYTES`] or [`MAX_DOCUMENTS`].
pub fn split<'a>(text: &'a str, source_name: &str) -> Result<Vec<Part<'a>>, ResourceError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(ResourceError::too_large(
            text.len(),
            MAX_TEXT_BYTES,
            "bytes",
            source_name,
        ));
    }
    let whole = Part {
        text,
        lines_before: 0,
    };
    let (mut parts, mut rest, mut documents) = (Vec::new(), whole, 0);
    let (mut at, mut lines) = (0, 0);
    for line in text.split_inclusive('\n') {
        if must_stay_whole(line) {
            return Ok(vec![whole]);
        }
        if begins_document(line) {
            documents += 1;
            let (part, next) = rest.text.split_at(at);
            if part.len() >= PART_BYTES {
                parts.push(Part { text: part, ..rest });
                (rest, at) = (
                    Part {
                        text: next,
                        lines_before: lines,
                    },
                    0,
                );
            }
        }
        at += line.len();
        lines += 1;
    }
    parts.push(rest);
    if documents > MAX_DOCUMENTS {
        return Err(ResourceError::too_large(
            documents,
            MAX_DOCUMENTS,
            "documents",
            source_name,
        ));
    }
    Ok(parts)
}

/// The documents of all parts, or all faults.
///
/// # Errors
/// Those of the parts.
pub fn join(
    parsed: impl IntoIterator<Item = Result<Vec<Document>, Vec<ResourceError>>>,
) -> Result<Vec<Document>, Vec<ResourceError>> {
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    for part in parsed {
        match part {
            Ok(more) => documents.extend(more),
            Err(more) => errors.extend(more),
        }
    }
    if errors.is_empty() {
        Ok(documents)
    } else {
        Err(errors)
    }
}

/// A document's first line; no scalar of a document before may contain it (YAML 1.2, 9.1.2 and rule `c-forbidden`).
fn begins_document(line: &str) -> bool {
    let after = line.strip_prefix("---");
    after.is_some_and(|after| after.is_empty() || after.starts_with([' ', '\t', '\r', '\n']))
}

/// Directives and the ends of documents say how to read what follows, and a carriage return alone is a line break of YAML's own.
fn must_stay_whole(line: &str) -> bool {
    let content = line.strip_suffix('\n').unwrap_or(line);
    let content = content.strip_suffix('\r').unwrap_or(content);
    content.starts_with('%') || content.starts_with("...") || content.contains('\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use crate::tree::read_yaml;

    fn document(number: usize, end: &str) -> String {
        let text = format!(
            "---\nkind: PeerAuthentication\napiVersion: security.istio.io/v1\nmetadata:\n  name: p{number}\n  annotations:\n    note: |\n      {}\n",
            "x".repeat(1000)
        );
        text.replace('\n', end)
    }

    fn many(count: usize, end: &str) -> String {
        (0..count).map(|number| document(number, end)).collect()
    }

    #[test]
    fn a_long_text_is_cut_where_documents_begin_and_places_are_those_of_the_whole() {
        for end in ["\n", "\r\n"] {
            let text = many(600, end);
            let parts = split(&text, "").unwrap();
            assert_eq!(parts.len(), 3);
            assert_eq!(parts.iter().map(|part| part.text).collect::<String>(), text);
            assert!(parts.iter().all(|part| part.text.starts_with("---")));
            let documents = parse(&text, "").unwrap();
            assert_eq!(documents.len(), 600);
            for (number, document) in documents.iter().enumerate() {
                assert_eq!(document.name, format!("p{number}"));
                let line = u32::try_from(8 * number + 5).unwrap();
                assert_eq!(document.place("metadata.name").line, line);
            }
        }
    }

    #[test]
    fn a_fault_in_a_later_part_is_told_with_its_line_in_the_whole() {
        for wrong in ["spec: {}\nspec: {}\n", "spec: 1\n"] {
            let text = many(599, "\n") + &document(599, "\n") + wrong;
            let errors = parse(&text, "f.yaml").unwrap_err();
            assert_eq!(errors.len(), 1);
            let line = 8 * 600 + u32::try_from(wrong.lines().count()).unwrap();
            assert_eq!(
                (&*errors[0].file, errors[0].line),
                ("f.yaml", line),
                "{}",
                errors[0]
            );
        }
    }

    #[test]
    fn what_a_cut_might_change_stays_whole() {
        let text = many(600, "\n");
        for more in ["%YAML 1.2\n", "...\n", "# a\rb\n"] {
            let text = text.clone() + more;
            assert_eq!(split(&text, "").unwrap().len(), 1, "{more:?}");
        }
        let short = many(3, "\n");
        assert_eq!(
            split(&short, "").unwrap(),
            [Part {
                text: &short,
                lines_before: 0
            }]
        );
    }

    #[test]
    fn no_scalar_hides_the_beginning_of_a_document() {
        for line in ["---", "---\n", "--- # x\n", "---\t\n", "---\r\n"] {
            assert!(begins_document(line), "{line:?}");
        }
        for line in ["----\n", " ---\n", "---x\n", "--\n", ""] {
            assert!(!begins_document(line), "{line:?}");
        }
        for scalar in ["|\n  a", "\"a", "'a", "a", "[ a"] {
            let text = format!("kind: {scalar}\n---\nkind: b\n");
            let whole = Part {
                text: &text,
                lines_before: 0,
            };
            let is_one = read_yaml(whole, "").is_ok_and(|documents| documents.len() == 1);
            assert!(!is_one, "{scalar:?}");
        }
    }
}
