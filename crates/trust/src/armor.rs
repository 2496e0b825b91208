//! The text form of an SSH signature, exactly as `ssh-keygen -Y sign` writes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// `ssh-keygen` breaks the base64 after this many characters.
const LINE_CHARACTERS: usize = 70;

/// The armored text, with a line feed at its end.
pub(crate) fn encode(blob: &[u8]) -> String {
    let base64 = STANDARD.encode(blob);
    let mut text = String::with_capacity(base64.len() + base64.len() / LINE_CHARACTERS + 64);
    text.push_str(BEGIN);
    for (index, character) in base64.chars().enumerate() {
        if index % LINE_CHARACTERS == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push('\n');
    text.push_str(END);
    text.push('\n');
    text
}

/// The bytes in the armor; white space between lines may differ from what [`encode`] writes, nothing else.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let base64: String = body.chars().filter(|character| !matches!(character, '\n' | '\r')).collect();
    STANDARD.decode(base64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(blob in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(decode(&encode(&blob)).unwrap(), blob);
        }
    }

    #[test]
    fn refuses_what_is_no_armor() {
        for text in ["", BEGIN, END, "AAAA", &format!("{BEGIN}\nA*==\n{END}"), &format!("{BEGIN}\nAAA\n{END}")] {
            assert!(decode(text).is_none(), "{text}");
        }
    }
}
