//! What a plain YAML scalar is: the core schema of YAML 1.2 (chapter 10.3.2), but that a number with a leading zero stays text, since
//! other readers take it for octal.

use serde_json::Number;

use super::Value;

/// The value of an untagged plain scalar.
///
/// # Errors
/// A number that JSON has no form for.
pub(super) fn resolve(text: &str) -> Result<Value, &'static str> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match number(text)? {
            Some(number) => Value::Number(number),
            None => Value::Text(text.to_owned()),
        },
    })
}

fn number(text: &str) -> Result<Option<Number>, &'static str> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Ok(None);
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err("a number that is not finite");
    }
    let is_all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_all_digits(unsigned) {
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            return Ok(None);
        }
        let whole = match text.strip_prefix('-') {
            Some(_) => text.parse::<i64>().map(Number::from),
            None => unsigned.parse::<u64>().map(Number::from),
        };
        if let Ok(number) = whole {
            return Ok(Some(number));
        }
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            // What the standard library takes beyond digits is a sign.
            let number = u64::from_str_radix(digits, radix)
                .ok()
                .filter(|_| !digits.starts_with('+'));
            return Ok(number.map(Number::from));
        }
    }
    if !is_float(unsigned) {
        return Ok(None);
    }
    let number = text.parse().ok().and_then(Number::from_f64);
    number.map(Some).ok_or("a number that is not finite")
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction) && whole.len() + fraction.len() > 0,
        None => digits(mantissa),
    };
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['-', '+']).unwrap_or(exponent));
    mantissa && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scalars_are_what_the_core_schema_says() {
        let json = |text| resolve(text).unwrap().to_json().to_string();
        for (text, value) in [
            ("", "null"),
            ("~", "null"),
            ("NULL", "null"),
            ("True", "true"),
            ("false", "false"),
            ("0", "0"),
            ("9080", "9080"),
            ("-12", "-12"),
            ("+12", "12"),
            ("18446744073709551615", "18446744073709551615"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("1.5", "1.5"),
            ("-.5", "-0.5"),
            ("1.", "1.0"),
            ("1e3", "1000.0"),
            ("1.25E-2", "0.0125"),
        ] {
            assert_eq!(json(text), value, "{text:?}");
        }
        for text in [
            "yes",
            "y",
            "off",
            "nUll",
            "0644",
            "-01",
            "1_000",
            "0b1",
            "0x",
            "0x+1",
            "0xG",
            "0o8",
            "10.0.0.1",
            "1.10.0",
            "1e",
            "e3",
            ".",
            "-",
            "+",
            "1h",
            "inf",
            "nan",
            "-.nan",
            "1 2",
            "12:30",
            "2026-01-31",
        ] {
            assert_eq!(json(text), format!("{text:?}"), "{text:?}");
        }
        for text in [".inf", "-.INF", ".NaN", "1e999"] {
            assert!(resolve(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        /// Where the two differ by intent the text has a leading zero, a binary number, or a base with a sign or a capital letter.
        #[test]
        fn another_reader_of_yaml_agrees(text in "[-+]?[0-9a-fA-FxoeEn.+~]{1,8}") {
            let unsigned = text.strip_prefix(['-', '+']).unwrap_or(&text);
            let is_padded = unsigned.len() > 1
                && unsigned.starts_with('0')
                && unsigned.bytes().all(|byte| byte.is_ascii_digit());
            let ours_alone = |prefix: &&str| unsigned.starts_with(*prefix) && unsigned.len() == text.len();
            let is_based = ["0x", "0o", "0b", "0X", "0O", "0B"].iter().any(|prefix| unsigned.starts_with(prefix));
            prop_assume!(!is_padded && (!is_based || ["0x", "0o"].iter().any(ours_alone)));
            let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
            let theirs: Result<serde_json::Value, _> =
                serde_saphyr::from_str_with_options(&format!(" {text}"), options);
            match (resolve(&text), theirs) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours.to_json(), theirs),
                (ours, theirs) => prop_assert!(ours.is_err() && theirs.is_err(), "{ours:?} {theirs:?}"),
            }
        }
    }
}
