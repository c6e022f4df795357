//! Single values of the configuration, each read from one word and printed as it is written: lives, rates, names and addresses.
//! `text` lets serde read and write them as such.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use identity::dns_name::DnsName;
use identity::duration;
use issuance::{CrlBaseUrl, CrlBaseUrlError};

/// A text that is not the value which its field wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {expected}")]
pub struct ValueError {
    found: String,
    expected: &'static str,
}

/// How long a certificate or token lives, written `90s`, `24h`, `10y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life(pub Duration);

/// How many requests a second one caller may make, written `50/s`; `0` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate(Option<NonZeroU32>);

/// Where to listen, written `127.0.0.1:15012` or `[::]:15012`; port 0 takes a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

/// A name under which clients reach the server: a DNS name in lower case, or an IP address in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(String);

/// A namespace of resources: a DNS-1123 label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

/// Where CRLs and authority certificates are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(pub CrlBaseUrl);

impl Rate {
    /// Requests a second, or `None` for no limit.
    pub fn per_second(self) -> Option<NonZeroU32> {
        self.0
    }
}

impl ServerName {
    /// The name or address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }
}

impl FromStr for Life {
    type Err = duration::DurationError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        duration::parse(text).map(Self)
    }
}

impl FromStr for Rate {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "0" {
            return Ok(Self(None));
        }
        text.strip_suffix("/s")
            .and_then(|number| number.parse().ok())
            .map(|number| Self(Some(number)))
            .ok_or_else(|| {
                ValueError::new(
                    text,
                    "a rate, expected requests a second such as 50/s, or 0 for no limit",
                )
            })
    }
}

impl FromStr for Address {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = |_| {
            ValueError::new(
                text,
                "an address, expected ADDR:PORT such as 127.0.0.1:15012 or [::]:15012",
            )
        };
        text.parse().map(Self).map_err(wrong)
    }
}

impl FromStr for ServerName {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(ip.to_string()));
        }
        match DnsName::new(text) {
            Ok(name) if !text.ends_with('.') => Ok(Self(name.as_str().to_owned())),
            _ => Err(ValueError::new(
                text,
                "a server name, expected a DNS name or an IP address, without port or wildcard",
            )),
        }
    }
}

impl Namespace {
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    /// That of the mesh's own policies.
    fn default() -> Self {
        Self(policy::DEFAULT_ROOT_NAMESPACE.to_owned())
    }
}

impl FromStr for Namespace {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if resources::is_label(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(ValueError::new(
            text,
            "a namespace, expected a-z, 0-9 and '-', at most 63 bytes",
        ))
    }
}

impl FromStr for BaseUrl {
    type Err = CrlBaseUrlError;
    fn from_str(text: &str) -> Result<Self, CrlBaseUrlError> {
        CrlBaseUrl::new(text).map(Self)
    }
}

impl ValueError {
    fn new(found: &str, expected: &'static str) -> Self {
        Self {
            found: found.chars().take(100).collect(),
            expected,
        }
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration::print(self.0))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("0"),
            Some(number) => write!(f, "{number}/s"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// Fields that may be absent and are written as one word: `#[serde(with = "text")]` on an `Option`.
pub(super) mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(in super::super) fn deserialize<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        let word = String::deserialize(deserializer)?;
        word.parse().map(Some).map_err(D::Error::custom)
    }

    pub(in super::super) fn serialize<S, T>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Display,
    {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }
}

/// Lists of such words.
pub(super) mod texts {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    /// Parsed one by one, so that an error stands at the line of its word and not at that of the list.
    struct Word<T>(T);

    impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Word<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let word = String::deserialize(deserializer)?;
            word.parse().map(Self).map_err(D::Error::custom)
        }
    }

    pub(in super::super) fn deserialize<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        let words = Vec::<Word<T>>::deserialize(deserializer)?;
        Ok(words.into_iter().map(|Word(value)| value).collect())
    }

    pub(in super::super) fn serialize<S, T>(values: &[T], serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Display,
    {
        serializer.collect_seq(values.iter().map(T::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_printed_as_it_was_written() {
        assert_eq!("90s".parse::<Life>().unwrap().to_string(), "90s");
        assert_eq!("50/s".parse::<Rate>().unwrap().to_string(), "50/s");
        assert_eq!("0".parse::<Rate>().unwrap().per_second(), None);
        assert_eq!(
            "CA.Example.org".parse::<ServerName>().unwrap().as_str(),
            "ca.example.org"
        );
        let url: BaseUrl = "http://crl.example.org:8080/pki/".parse().unwrap();
        assert_eq!(url.to_string(), "http://crl.example.org:8080/pki");
    }

    #[test]
    fn a_server_name_is_a_dns_name_or_an_address() {
        let six: ServerName = "0:0:0:0:0:0:0:1".parse().unwrap();
        assert_eq!((six.as_str(), six.ip().is_some()), ("::1", true));
        for bad in [
            "",
            "*.example.org",
            "ca.example.org:15012",
            "ca example",
            "[::1]",
            "ca.example.org.",
            "my_host",
            "127.1",
        ] {
            assert!(bad.parse::<ServerName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn other_words_are_refused_with_what_was_expected() {
        for bad in ["50", "/s", "-1/s", "50/m", "0/s", "1.5/s"] {
            let error = bad.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains("50/s"), "{error}");
        }
        for bad in ["https://crl.example.org", "crl.example.org", "http://h/?q"] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad:?}");
        }
    }
}
