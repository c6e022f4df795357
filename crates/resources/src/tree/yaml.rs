//! From granit-parser's events to a tree. What repeats or nests is bounded here, and what YAML has beyond JSON is refused: keys that
//! are no text, merge keys, tags other than those of texts, lists and mappings.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{Entry, MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES, MAX_REPEATED_VALUES, Node, Value, scalar};
use crate::error::{Position, ResourceError, shorten};
use crate::parts::Part;

/// From so many keys on, a mapping is searched for duplicates by a set.
const MANY_KEYS: usize = 16;

/// Why a text cannot be read, and where.
struct Fault {
    at: Position,
    why: Cow<'static, str>,
}

/// Reads all documents of a part of a YAML text (JSON is one); empty documents are skipped.
pub(crate) fn read_yaml(part: Part<'_>, file: &str) -> Result<Vec<Node>, ResourceError> {
    let options = granit_parser::options! { emit_comments: false };
    let parser = Parser::new_from_str_with_options(part.text, options);
    let reader = Reader {
        lines_before: part.lines_before,
        ..Reader::default()
    };
    reader.read(parser).map_err(|Fault { at, why }| ResourceError {
        file: file.into(),
        line: at.line,
        column: at.column,
        field: String::new(),
        found: String::new(),
        expected: String::new(),
        message: format!("not readable as YAML: {}", shorten(&why)),
    })
}

/// What has been read of a text.
#[derive(Default)]
struct Reader {
    lines_before: u32,
    documents: Vec<Node>,
    begun: usize,
    /// The lists and mappings that are open.
    open: Vec<Open>,
    /// Keys and values so far.
    nodes: usize,
    /// Values under anchors, and those that aliases repeated.
    repeated: usize,
    anchored: HashMap<usize, Node>,
}

/// A list or mapping whose end has not come.
struct Open {
    at: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        /// The key whose value comes next.
        key: Option<(String, Position)>,
        /// All keys, once they are many.
        keys: HashSet<String>,
    },
}

impl Reader {
    fn read<'a>(mut self, mut parser: Parser<'a, StrInput<'a>>) -> Result<Vec<Node>, Fault> {
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| self.scan_fault(&error))?;
            let at = self.position(&span);
            match event {
                Event::DocumentStart(..) => {
                    self.begun += 1;
                    if self.begun > MAX_DOCUMENTS {
                        return Err(more_than(MAX_DOCUMENTS, "documents", at));
                    }
                    self.anchored.clear();
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.scalar(text, style, anchor, tag.as_deref(), at)?
                }
                Event::SequenceStart(_, anchor, tag) => {
                    allow_tag(tag.as_deref(), "seq", at)?;
                    self.begin(anchor, Content::List(Vec::new()), at)?;
                }
                Event::MappingStart(_, anchor, tag) => {
                    allow_tag(tag.as_deref(), "map", at)?;
                    let content = Content::Map {
                        entries: Vec::new(),
                        key: None,
                        keys: HashSet::new(),
                    };
                    self.begin(anchor, content, at)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end(at)?,
                Event::Alias(anchor) => self.alias(anchor, at)?,
                _ => {}
            }
        }
        Ok(self.documents)
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(), Fault> {
        allow_tag(tag, "str", at)?;
        let is_text = style != ScalarStyle::Plain || tag.is_some();
        if let Some(Open {
            content:
                Content::Map {
                    entries,
                    key: key @ None,
                    keys,
                },
            ..
        }) = self.open.last_mut()
        {
            if anchor != 0 {
                return Err(fault("an anchor of a key", at));
            }
            let text = text.into_owned();
            if !is_text && text == "<<" {
                return Err(fault("a merge key, expected the keys themselves", at));
            }
            if !is_text && matches!(scalar::resolve(&text), Ok(Value::Null)) {
                return Err(fault("no key, expected a text", at));
            }
            if is_known(&text, entries, keys) {
                return Err(fault(format!("duplicate key {text:?}"), at));
            }
            *key = Some((text, at));
            return self.count(1, at);
        }
        let value = if is_text {
            Value::Text(text.into_owned())
        } else {
            scalar::resolve(&text).map_err(|why| fault(why, at))?
        };
        self.count(1, at)?;
        self.add(anchor, Node { value, at })
    }

    fn begin(&mut self, anchor: usize, content: Content, at: Position) -> Result<(), Fault> {
        if self.awaits_key() {
            return Err(fault("a list or mapping as a key, expected a text", at));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(more_than(MAX_DEPTH, "levels of lists and mappings", at));
        }
        self.count(1, at)?;
        self.open.push(Open { at, anchor, content });
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        let content = self.open.last().map(|open| &open.content);
        matches!(content, Some(Content::Map { key: None, .. }))
    }

    fn end(&mut self, at: Position) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else {
            return Err(fault("an end of nothing", at));
        };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.add(open.anchor, Node { value, at: open.at })
    }

    /// The anchored value once more, standing where the alias does.
    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Fault> {
        if self.awaits_key() {
            return Err(fault("an alias as a key, expected a text", at));
        }
        let Some(node) = self.anchored.get(&anchor) else {
            return Err(fault("an alias of a value that holds it", at));
        };
        if self.open.len() + node.depth() > MAX_DEPTH {
            return Err(more_than(MAX_DEPTH, "levels of lists and mappings", at));
        }
        let size = node.size();
        let node = Node { at, ..node.clone() };
        self.repeat(size, at)?;
        self.count(size, at)?;
        self.add(0, node)
    }

    /// Puts a finished value where it belongs.
    fn add(&mut self, anchor: usize, node: Node) -> Result<(), Fault> {
        if anchor != 0 {
            self.repeat(node.size(), node.at)?;
            self.anchored.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key, .. }) => {
                let (key, at) = key
                    .take()
                    .ok_or_else(|| fault("a value without a key", node.at))?;
                entries.push(Entry { key, at, node });
            }
            None if matches!(node.value, Value::Null) => {}
            None => self.documents.push(node),
        }
        Ok(())
    }

    fn count(&mut self, more: usize, at: Position) -> Result<(), Fault> {
        self.nodes += more;
        if self.nodes > MAX_NODES {
            return Err(more_than(MAX_NODES, "keys and values", at));
        }
        Ok(())
    }

    fn repeat(&mut self, more: usize, at: Position) -> Result<(), Fault> {
        self.repeated += more;
        if self.repeated > MAX_REPEATED_VALUES {
            return Err(more_than(
                MAX_REPEATED_VALUES,
                "values under anchors and aliases",
                at,
            ));
        }
        Ok(())
    }

    fn position(&self, span: &Span) -> Position {
        self.place(span.start.line(), span.start.col())
    }

    fn scan_fault(&self, error: &ScanError) -> Fault {
        let at = self.place(error.marker().line(), error.marker().col());
        fault(error.info(), at)
    }

    /// granit-parser counts columns from 0. No text is long enough for the other branches.
    fn place(&self, line: usize, column: usize) -> Position {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Position {
            line: narrow(line).saturating_add(self.lines_before),
            column: narrow(column).saturating_add(1),
        }
    }
}

fn is_known(key: &str, entries: &[Entry], keys: &mut HashSet<String>) -> bool {
    if entries.len() < MANY_KEYS {
        return entries.iter().any(|entry| entry.key == key);
    }
    if keys.is_empty() {
        keys.extend(entries.iter().map(|entry| entry.key.clone()));
    }
    !keys.insert(key.to_owned())
}

/// Only the tag that says what is obvious.
fn allow_tag(tag: Option<&Tag>, obvious: &str, at: Position) -> Result<(), Fault> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(obvious) => {
            Err(fault(format!("tag {}, expected none", tag.original()), at))
        }
        _ => Ok(()),
    }
}

fn more_than(limit: usize, what: &str, at: Position) -> Fault {
    fault(format!("more than {limit} {what}"), at)
}

fn fault(why: impl Into<Cow<'static, str>>, at: Position) -> Fault {
    Fault { at, why: why.into() }
}
