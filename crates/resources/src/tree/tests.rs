//! What is read of YAML, and where it stands; what is refused, and why.

use serde_json::{Value as Json, json};

use super::{MAX_DEPTH, MAX_DOCUMENTS, MAX_REPEATED_VALUES, Node, read_yaml};
use crate::error::ResourceError;
use crate::parts::Part;

fn read(text: &str) -> Result<Vec<Node>, ResourceError> {
    let part = Part {
        text,
        lines_before: 0,
    };
    read_yaml(part, "t.yaml")
}

fn values(text: &str) -> Vec<Json> {
    let nodes = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    nodes.iter().map(|node| node.value.to_json()).collect()
}

#[test]
fn another_reader_of_yaml_reads_the_same() {
    for text in [
        "a: 1\nb: [ x, 'y', \"z\\n\", { c: d } ]\n",
        "- |\n  two\n  lines\n- >-\n  one\n  line\n\n  and another\n- plain over\n  two lines\n",
        "# only a comment\n",
        "a:\n- b\n-\n- c: ~\n  d:\n",
        "a: &x { b: [ 1, 2 ] }\nc: *x\nd: &y text\ne: *y\n",
        "{ \"json\": [ null, true, -1.5e3, \"\\u00e9\" ] }",
        "%YAML 1.2\n---\na: b\n...\n---\nc: d\n",
        "---\n---\n~\n---\n'x'\n",
        "? a\n: b\n",
        "9081: { 'quoted': \"#no comment\" } # a comment\n",
        "a: !!str 12\nb: !!seq [ ]\nc: !!map { }\n",
        "a: \u{e9}\u{1f600}\nb: 'it''s'\r\nc: d\r\n",
    ] {
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        let theirs: Vec<Json> = serde_saphyr::from_multiple_with_options(text, options)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(values(text), theirs, "{text}");
    }
}

#[test]
fn every_key_and_value_knows_where_it_begins() {
    let text = "# first\nkind: a\nlist:\n- b\n-  { c: \u{e9}, d: 'e' }\n";
    fn places(node: &Node, found: &mut Vec<(u32, u32)>) {
        found.push((node.at.line, node.at.column));
        match &node.value {
            super::Value::List(items) => items.iter().for_each(|item| places(item, found)),
            super::Value::Map(entries) => {
                for entry in entries {
                    found.push((entry.at.line, entry.at.column));
                    places(&entry.node, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    places(&read(text).unwrap()[0], &mut found);
    let expected = [
        (2, 1),
        (2, 1),
        (2, 7),
        (3, 1),
        // A list without indentation begins with its first value, as granit-parser has it.
        (4, 3),
        (4, 3),
        (5, 4),
        (5, 6),
        (5, 9),
        (5, 12),
        (5, 15),
    ];
    assert_eq!(found, expected);
    let used = read("a: &x b\nc:\n- *x\n").unwrap();
    let super::Value::Map(entries) = &used[0].value else {
        panic!("{used:?}");
    };
    let mut found = Vec::new();
    places(&entries[1].node, &mut found);
    assert_eq!(found, [(3, 3), (3, 3)], "an alias stands where it is used");
}

#[test]
fn what_is_no_json_is_refused_by_name() {
    for (text, at, why) in [
        ("a: 1\n'a': 2\n", (2, 1), "duplicate key \"a\""),
        ("a: &x { b: c }\nd:\n  <<: *x\n", (3, 3), "merge key"),
        ("[ a ]: b\n", (1, 1), "a list or mapping as a key"),
        ("{ b: c }: d\n", (1, 1), "a list or mapping as a key"),
        ("a: &x b\n*x : c\n", (2, 1), "an alias as a key"),
        ("&x a: b\n", (1, 4), "an anchor of a key"),
        ("~: a\n", (1, 1), "no key"),
        ("a: !!int '1'\n", (1, 10), "tag !!int"),
        ("a: !mine b\n", (1, 10), "tag !mine"),
        ("a: !!binary aGk=\n", (1, 13), "tag !!binary"),
        ("a: .inf\n", (1, 4), "not finite"),
        ("a: *x\n", (1, 4), "unknown anchor"),
        ("a: &x [ *x ]\n", (1, 9), "holds it"),
        ("a: 'b\n", (0, 0), ""),
        ("a: b: c\n", (0, 0), ""),
        ("a:\n\tb: c\n", (0, 0), ""),
    ] {
        let error = read(text).map(|nodes| panic!("{text}: {nodes:?}")).unwrap_err();
        assert!(error.message.starts_with("not readable as YAML: "), "{error}");
        assert!(error.message.contains(why), "{text}: {error}");
        assert!(error.line > 0, "{text}: {error}");
        if at != (0, 0) {
            assert_eq!((error.line, error.column), at, "{text}: {error}");
        }
    }
}

#[test]
fn a_duplicate_is_found_among_many_keys() {
    let many: String = (0..1000).map(|number| format!("k{number}: {number}\n")).collect();
    assert_eq!(values(&many)[0]["k999"], json!(999));
    for again in ["k3", "k999"] {
        let error = read(&format!("{many}{again}: x\n")).unwrap_err();
        assert_eq!((error.line, error.column), (1001, 1), "{error}");
    }
}

#[test]
fn what_repeats_or_nests_is_bounded() {
    let depth = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(read(&depth(MAX_DEPTH)).is_ok());
    assert!(read(&depth(MAX_DEPTH + 1)).is_err());
    // Each alias is one deeper than the one before, though no text nests.
    let chain: String = (1..=MAX_DEPTH)
        .map(|level| format!("a{level}: &a{level} [ *a{} ]\n", level - 1))
        .collect();
    let error = read(&format!("a0: &a0 x\n{chain}")).unwrap_err();
    assert!(error.message.contains("levels"), "{error}");
    let list = |values: usize| format!("a: &a [ {} ]\nb: *a\n", "1,".repeat(values));
    let half = MAX_REPEATED_VALUES / 2;
    assert!(read(&list(half - 1)).is_ok());
    let error = read(&list(half)).unwrap_err();
    assert!(error.message.contains("anchors and aliases"), "{error}");
    let documents = |count: usize| "---\na\n".repeat(count);
    assert_eq!(read(&documents(MAX_DOCUMENTS)).unwrap().len(), MAX_DOCUMENTS);
    let error = read(&documents(MAX_DOCUMENTS + 1)).unwrap_err();
    assert!(error.message.contains("documents"), "{error}");
}
