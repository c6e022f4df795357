//! Text of others made safe to print: names in certificates, error messages of peers. Control characters
//! could forge lines of output or drive the terminal, bidirectional controls could reorder it (Unicode
//! Technical Report 36, section 3.6).

use std::borrow::Cow;

/// The text with every character that changes the layout of its surroundings written as `\u{..}`, `\n`, `\r`
/// or `\t`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_layout) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_layout(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// As [`printable`], for text of several lines: line feeds stay.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    if text
        .lines()
        .all(|line| matches!(printable(line), Cow::Borrowed(_)))
        && !text.contains('\r')
    {
        return Cow::Borrowed(text);
    }
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(printable).collect();
    Cow::Owned(lines.join("\n"))
}

/// JSON in which each character that a terminal could act on is written as `\uXXXX`, so that its value stays
/// the same.
pub fn printable_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_layout(c) && c != '\n' {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Control characters, line and paragraph separators, zero-width characters, bidirectional controls, and
/// tags.
fn is_layout(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_change_the_layout_are_written_out_and_others_stay() {
        assert!(matches!(printable("CN=Größe 漢字, O=A\\, B"), Cow::Borrowed(_)));
        assert_eq!(
            printable("a\nb\r\t\u{1b}[2J\u{7f}"),
            "a\\nb\\r\\t\\u{1b}[2J\\u{7f}"
        );
        assert_eq!(
            printable("\u{9b}1m\u{202e}x\u{2066}"),
            "\\u{9b}1m\\u{202e}x\\u{2066}"
        );
        assert_eq!(
            printable("a\u{200b}\u{feff}\u{2028}"),
            "a\\u{200b}\\u{feff}\\u{2028}"
        );
    }

    #[test]
    fn text_of_several_lines_keeps_its_lines() {
        assert!(matches!(printable_lines("a\nb\n"), Cow::Borrowed(_)));
        assert_eq!(printable_lines("a\nb\r\n\u{1b}c"), "a\nb\\r\n\\u{1b}c");
    }
}
