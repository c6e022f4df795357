//! Hexadecimal as Signet writes it: lower case, two digits a byte. Look-ups read any case and colons between bytes.

/// Lower-case hex of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

/// Reads hex of any case with or without colons; an odd count of digits stands for a missing leading zero.
/// `None` for any other character.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let (odd, pairs) = digits.split_at(digits.len() % 2);
    Some(
        odd.iter()
            .copied()
            .chain(pairs.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn reading_takes_case_colons_and_a_missing_zero() {
        assert_eq!(super::encode(&[0, 0xab, 9]), "00ab09");
        assert_eq!(super::decode("00:AB:09"), Some(vec![0, 0xab, 9]));
        assert_eq!(super::decode("f00"), Some(vec![0xf, 0]));
        assert_eq!(super::decode("0x"), None);
        assert_eq!(super::decode(""), Some(vec![]));
    }
}
