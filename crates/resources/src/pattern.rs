//! Patterns that know `*` only: any run of characters, the empty one included. Compiled once, matched in linear time.

use std::fmt;

/// A pattern such as `web-*` or `system:serviceaccount:*:details`; without `*` it is an exact text.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    // What stands between the stars; never empty, and a single part means that there is no star.
    parts: Vec<String>,
}

impl Pattern {
    /// Compiles a pattern. Every text is one, the empty one matches only itself.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            parts: text.split('*').map(str::to_owned).collect(),
        }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has no star, so that it matches one text only.
    pub(crate) fn is_exact(&self) -> bool {
        self.parts.len() == 1
    }

    /// Whether everything matches it.
    pub fn is_everything(&self) -> bool {
        self.parts.len() > 1 && self.parts.iter().all(String::is_empty)
    }

    /// Whether it matches the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.text == text;
        };
        let Some(rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else {
            return false;
        };
        // The leftmost place of each part leaves most for those that follow, so no choice is ever taken back.
        for part in middle {
            let Some(at) = rest.find(part.as_str()) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: a star is nothing, or one character and a star.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => naive(rest, text) || (!text.is_empty() && naive(pattern, &text[1..])),
            ([p, rest @ ..], [t, tail @ ..]) if p == t => naive(rest, tail),
            _ => false,
        }
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, yes, no) in [
            ("web-*", "web-", "we"),
            ("*", "", "-"),
            ("a*a", "aa", "a"),
            ("D-*-x", "D-1-2-x", "D-1-2"),
            ("exact", "exact", "exactly"),
            ("*b*", "abc", "ac"),
        ] {
            assert!(Pattern::new(pattern).matches(yes), "{pattern} {yes}");
            assert!(
                pattern == "*" || !Pattern::new(pattern).matches(no),
                "{pattern} {no}"
            );
        }
        assert!(Pattern::new("**").is_everything());
        assert!(!Pattern::new("").is_everything());
    }

    #[test]
    fn many_stars_against_a_long_text_take_linear_time() {
        let pattern = Pattern::new(&("a*".repeat(2_000) + "b"));
        assert!(!pattern.matches(&"a".repeat(200_000)));
    }

    proptest! {
        #[test]
        fn matching_equals_the_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), naive(&p, &t));
        }
    }
}
