//! uids: random UUIDs (RFC 9562, version 4), from the operating system unless a simulation brings its own.

use std::sync::Arc;

use crate::writer::UidSource;

/// uids from the operating system's random numbers.
pub fn random_source() -> UidSource {
    Arc::new(|| {
        let mut bytes = [0_u8; 16];
        #[expect(
            clippy::expect_used,
            reason = "without the operating system's random numbers there are no keys and no TLS either"
        )]
        getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
        uuid(bytes)
    })
}

/// Sixteen random bytes as a UUID of version 4.
pub fn uuid(bytes: [u8; 16]) -> String {
    let version = (u128::from_be_bytes(bytes) & !(0xf << 76) & !(0b11 << 62)) | (4 << 76) | (0b10 << 62);
    let mut text = String::with_capacity(36);
    for (place, digit) in format!("{version:032x}").chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_variant() {
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_ne!(random_source()(), random_source()());
    }
}
