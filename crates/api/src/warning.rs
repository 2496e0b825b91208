//! Warnings beside an answer, as clients of Kubernetes print them (RFC 7234 section 5.5, code 299).

use http::HeaderValue;

/// What every warning begins with: its code, and no agent.
const BEGINNING: &str = "299 - \"";

/// The header's value for a warning; none for a text that no header can carry.
pub fn spell(text: &str) -> Option<HeaderValue> {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::from_str(&format!("{BEGINNING}{quoted}\"")).ok()
}

/// The text of a header's value; none where it is no warning of this kind.
pub fn read(value: &HeaderValue) -> Option<String> {
    let quoted = value.to_str().ok()?.strip_prefix(BEGINNING)?.strip_suffix('"')?;
    let (mut text, mut escaped) = (String::with_capacity(quoted.len()), false);
    for letter in quoted.chars() {
        escaped = letter == '\\' && !escaped;
        if !escaped {
            text.push(letter);
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spelt_is_read() {
        for text in ["", "plain", r#"a "word" and a \ and \\ at the end \"#] {
            assert_eq!(read(&spell(text).unwrap()).as_deref(), Some(text));
        }
        assert_eq!(spell("two\nlines"), None);
        assert_eq!(read(&HeaderValue::from_static("110 - \"stale\"")), None);
    }
}
