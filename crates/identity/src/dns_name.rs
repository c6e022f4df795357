//! DNS names in certificates (RFC 5280 section 4.2.1.6, RFC 1123 section 2.1): the one rule for
//! registrations, join tokens and CSRs, so that a name accepted in one place is never refused in another, and
//! never certified in a form that a client reads as an address.

use std::fmt;

/// Longest DNS name, in bytes (RFC 1035 section 2.3.4, as text without the trailing dot).
pub const MAX_DNS_NAME_BYTES: usize = 253;
/// Longest label, in bytes (RFC 1035 section 2.3.4).
pub const MAX_LABEL_BYTES: usize = 63;
/// Most DNS names of one certificate: one fewer than the names it holds, as every certificate also has a URI.
pub const MAX_DNS_NAMES: usize = 99;

/// Longest part of a refused text that an error shows, in characters.
const MAX_SHOWN: usize = 100;

/// A host name in its canonical form: lower case, without a trailing dot, no wildcard, no address in any
/// notation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

/// Different host names in the order in which they were added, at most [`MAX_DNS_NAMES`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsNames(Vec<String>);

/// The rule that a text breaks. Wildcards break the rule for labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsNameError {
    /// Labels that are not of letters, digits and inner hyphens, or too long.
    #[error(
        "{found:?} is not a DNS name, expected labels of letters, digits and inner hyphens without wildcard, \
         at most {MAX_LABEL_BYTES} bytes each and {MAX_DNS_NAME_BYTES} in all"
    )]
    Labels {
        /// The text, cut to a readable length.
        found: String,
    },
    /// The last label is a number, so that clients read the name as an IPv4 address (URL standard, section
    /// 3.5).
    #[error(
        "{found:?} reads as an address, expected a DNS name whose last label has a letter and is not a number"
    )]
    Number {
        /// The text, cut to a readable length.
        found: String,
    },
    /// The name is already in the list, perhaps in another spelling.
    #[error(
        "{name} is listed twice, expected each DNS name once (case and a trailing dot make no difference)"
    )]
    Repeated {
        /// The name in its canonical form.
        name: String,
    },
    /// More names than a certificate holds next to its URI.
    #[error("more than {MAX_DNS_NAMES} DNS names, expected at most {MAX_DNS_NAMES}")]
    TooMany,
}

impl DnsName {
    /// Checks a name in any spelling and brings it into its canonical form.
    ///
    /// # Errors
    /// The text is not a host name, or clients read it as an address.
    pub fn new(text: &str) -> Result<Self, DnsNameError> {
        let found = || text.chars().take(MAX_SHOWN).collect();
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > MAX_DNS_NAME_BYTES || !name.split('.').all(is_label) {
            return Err(DnsNameError::Labels { found: found() });
        }
        let name = name.to_ascii_lowercase();
        let last = name.rsplit('.').next().unwrap_or_default();
        if is_number(last) {
            return Err(DnsNameError::Number { found: found() });
        }
        Ok(Self(name))
    }

    /// The name in its canonical form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DnsNames {
    /// Checks a list, as [`DnsNames::add`] does for each of its names.
    ///
    /// # Errors
    /// The first rule that is broken, with the index of the name that breaks it.
    pub fn new<T: AsRef<str>>(list: impl IntoIterator<Item = T>) -> Result<Self, (usize, DnsNameError)> {
        let mut names = Self::default();
        for (index, text) in list.into_iter().enumerate() {
            names.add(text.as_ref()).map_err(|error| (index, error))?;
        }
        Ok(names)
    }

    /// Adds one name; the list is unchanged where that fails.
    ///
    /// # Errors
    /// The text is not a DNS name, is already in the list, or is one too many.
    pub fn add(&mut self, text: &str) -> Result<(), DnsNameError> {
        let DnsName(name) = DnsName::new(text)?;
        if self.0.contains(&name) {
            return Err(DnsNameError::Repeated { name });
        }
        if self.0.len() >= MAX_DNS_NAMES {
            return Err(DnsNameError::TooMany);
        }
        self.0.push(name);
        Ok(())
    }
}

impl From<DnsName> for String {
    fn from(name: DnsName) -> Self {
        name.0
    }
}

impl From<DnsNames> for Vec<String> {
    fn from(names: DnsNames) -> Self {
        names.0
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The URL standard's "ends in a number" checker (section 3.5) on a label in lower case: digits, or `0x` and
/// any hex digits, none included. `inet_aton` reads the same. Labels of digits and hyphens are refused with
/// them: no top-level domain has that form, and parsers of addresses differ in what they make of it.
fn is_number(label: &str) -> bool {
    let is_hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    !label.bytes().any(|b| b.is_ascii_lowercase()) || label.strip_prefix("0x").is_some_and(is_hex)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_accepted_in_any_case_and_with_a_trailing_dot_in_one_canonical_form() {
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        for (text, canonical) in [
            ("localhost", "localhost"),
            ("Web.Example.ORG", "web.example.org"),
            ("web.example.org.", "web.example.org"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("1a", "1a"),
            ("10.0.0.1a", "10.0.0.1a"),
            ("127.1.example", "127.1.example"),
            ("0xyz", "0xyz"),
            ("1-a", "1-a"),
            (&long, &long),
            (&format!("{long}."), &long),
        ] {
            assert_eq!(DnsName::new(text).unwrap().as_str(), canonical, "{text}");
        }
    }

    #[test]
    fn every_notation_of_an_address_is_refused_as_one() {
        for text in [
            "127.1",
            "010.0.0.1",
            "256.256.256.256",
            "2130706433",
            "10.9.8.7",
            "10.9.8.7.",
            "0x7f.1",
            "0x7f000001",
            "0X7F000001",
            "0x",
            "a.0x",
            "127.0.0.0x1",
            "1.2.3.4.5",
            "web.42",
            "web.4-2",
            "0",
        ] {
            let error = DnsName::new(text).unwrap_err();
            assert!(matches!(error, DnsNameError::Number { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn wildcards_and_everything_else_that_is_not_a_host_name_are_refused() {
        let (long_label, long) = ("a".repeat(64), "abc.".repeat(64));
        for text in [
            "",
            ".",
            "..",
            "a..",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a-.b",
            "a_b",
            "*",
            "*.a",
            "a.*",
            "a b",
            "a\0b",
            "a\n",
            "bücher.example",
            "::1",
            "[::1]",
            "a:80",
            "a/b",
            &long_label,
            &long,
        ] {
            let error = DnsName::new(text).unwrap_err();
            assert!(matches!(error, DnsNameError::Labels { .. }), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_list_holds_each_name_once_and_one_fewer_than_a_certificate_has_names() {
        let repeated = DnsNames::new(["a.example", "b.example", "A.Example."]).unwrap_err();
        let name = "a.example".to_owned();
        assert_eq!(repeated, (2, DnsNameError::Repeated { name }));
        assert_eq!(DnsNames::new(["a", "127.1"]).unwrap_err().0, 1);
        let many: Vec<String> = (0..=MAX_DNS_NAMES).map(|i| format!("n{i}.example")).collect();
        let most: Vec<String> = DnsNames::new(&many[..MAX_DNS_NAMES]).unwrap().into();
        assert_eq!(most, many[..MAX_DNS_NAMES]);
        assert_eq!(DnsNames::new(&many), Err((MAX_DNS_NAMES, DnsNameError::TooMany)));
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_stable_and_no_standard_parser_reads_it_as_an_address(text in "[0-9a-fA-FxX.-]{0,20}") {
            if let Ok(name) = DnsName::new(&text) {
                prop_assert_eq!(&DnsName::new(name.as_str()).unwrap(), &name);
                prop_assert!(name.as_str().parse::<std::net::IpAddr>().is_err());
                let last = name.as_str().rsplit('.').next().unwrap();
                prop_assert!(last.parse::<u64>().is_err());
            }
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            drop(DnsName::new(&text));
        }
    }
}
