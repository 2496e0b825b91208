//! Names and labels, as Kubernetes has them.

/// The longest object name in bytes (RFC 1123 section 2.1, as Kubernetes takes it).
pub const NAME_BYTES_MAX: usize = 253;
/// The longest label value, and the longest name part of a label key, in bytes.
pub const LABEL_BYTES_MAX: usize = 63;

/// Why a name or a label is refused; the text says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?}: {expected}")]
pub struct NameError {
    /// What was given.
    pub value: String,
    /// What was expected.
    pub expected: &'static str,
}

fn refuse(value: &str, expected: &'static str) -> Result<(), NameError> {
    Err(NameError { value: value.chars().take(NAME_BYTES_MAX).collect(), expected })
}

/// Checks the name of an object: a DNS subdomain (RFC 1123).
///
/// # Errors
///
/// [`NameError`] says what was expected.
pub fn validate_name(name: &str) -> Result<(), NameError> {
    const EXPECTED: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
                            start and end with an alphanumeric character, at most 253 bytes";
    let label = |part: &str| {
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = part.as_bytes();
        bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
            && bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
    };
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(label) { refuse(name, EXPECTED) } else { Ok(()) }
}

fn qualified(part: &str) -> bool {
    let bytes = part.as_bytes();
    part.len() <= LABEL_BYTES_MAX
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

/// Checks the key of a label or an annotation: an optional DNS prefix and `/`, and a name.
///
/// # Errors
///
/// [`NameError`] says what was expected.
pub fn validate_label_key(key: &str) -> Result<(), NameError> {
    const EXPECTED: &str = "a key must be an optional DNS subdomain and '/', then at most 63 alphanumeric characters, '-', '_' or '.', \
                            starting and ending with an alphanumeric one";
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if prefix.is_some_and(|prefix| validate_name(prefix).is_err()) || !qualified(name) { refuse(key, EXPECTED) } else { Ok(()) }
}

/// Checks the value of a label; it may be empty.
///
/// # Errors
///
/// [`NameError`] says what was expected.
pub fn validate_label_value(value: &str) -> Result<(), NameError> {
    const EXPECTED: &str = "a label value must be empty, or at most 63 alphanumeric characters, '-', '_' or '.', starting and ending \
                            with an alphanumeric one";
    if value.is_empty() || qualified(value) { Ok(()) } else { refuse(value, EXPECTED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "web-1", "a.b-c.d9", &"x".repeat(253)] {
            assert_eq!(validate_name(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a..b", ".", "a_b", "a/b", "é", &"x".repeat(254)] {
            assert!(validate_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels() {
        for good in ["role", "stead.dev/site", "a_B.c-9"] {
            assert_eq!(validate_label_key(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "UPPER.dev/a", "-a", &"x".repeat(64)] {
            assert!(validate_label_key(bad).is_err(), "{bad}");
        }
        assert_eq!(validate_label_value(""), Ok(()));
        assert!(validate_label_value("a b").is_err());
    }
}
