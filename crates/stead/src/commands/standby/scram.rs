//! What PostgreSQL keeps of a password (RFC 5802, RFC 7677): made here, so that the password itself is in no statement and in no log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

/// Bytes of a salt, and rounds, as PostgreSQL has them by itself.
pub(super) const SALT_BYTES: usize = 16;
const ROUNDS: u32 = 4_096;

/// The verifier of a password of ASCII characters, which SASLprep leaves as they are.
pub(super) fn verifier(password: &str, salt: [u8; SALT_BYTES]) -> Result<String, Failure> {
    let salted = stretched(password.as_bytes(), salt, ROUNDS)?;
    let stored = Sha256::digest(keyed(&salted, b"Client Key")?);
    let server = keyed(&salted, b"Server Key")?;
    let [salt, stored, server] = [salt.as_slice(), stored.as_slice(), server.as_slice()].map(|bytes| STANDARD.encode(bytes));
    Ok(format!("SCRAM-SHA-256${ROUNDS}:{salt}${stored}:{server}"))
}

/// PBKDF2 (RFC 8018, section 5.2) for one block.
fn stretched(password: &[u8], salt: [u8; SALT_BYTES], rounds: u32) -> Result<[u8; 32], Failure> {
    let mut last = keyed(password, &[&salt[..], &1_u32.to_be_bytes()].concat())?;
    let mut all = last;
    for _ in 1..rounds {
        last = keyed(password, &last)?;
        all.iter_mut().zip(last).for_each(|(all, last)| *all ^= last);
    }
    Ok(all)
}

fn keyed(key: &[u8], message: &[u8]) -> Result<[u8; 32], Failure> {
    let mut code = Hmac::<Sha256>::new_from_slice(key).map_err(|error| Failure::internal(error.to_string()))?;
    code.update(message);
    Ok(code.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn a_verifier_is_what_the_standard_says() {
        let salt: [u8; SALT_BYTES] = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let verifier = verifier("pencil", salt).unwrap();
        assert_eq!(
            verifier,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }
}
