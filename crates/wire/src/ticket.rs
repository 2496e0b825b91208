//! The ticket: one line of text with all that a machine needs to find its coordinator and to ask to join.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use iroh::{PublicKey, RelayUrl};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{PeerAddress, PeerKey};

/// What every ticket of this version starts with.
pub const TICKET_PREFIX: &str = "stead1";

/// Characters of the longest ticket: it must still fit a command line, a QR code's neighbour or a kernel parameter file.
pub const TICKET_CHARACTERS_MAX: usize = 16_384;

/// Coordinators one ticket may name.
pub const TICKET_COORDINATORS_MAX: usize = 16;

/// Addresses one coordinator may have in a ticket.
pub const TICKET_ADDRESSES_MAX: usize = 32;

/// Bytes of the digest at the end, against tickets mistyped or cut; it proves nothing else.
const CHECK_BYTES: usize = 4;

/// What a machine needs to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The fleet id: where the chain of roots has to start.
    pub fleet: [u8; 32],
    /// The root version when the ticket was made: the chain must reach it.
    pub root_version: u64,
    /// Where to knock.
    pub coordinators: Vec<PeerAddress>,
    /// Shown when asking to join.
    pub pass: Bytes,
    /// An owner-signed delegation, if the ticket approves by itself.
    pub delegation: Option<Bytes>,
}

/// Why a text is no ticket.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// It does not start like one.
    #[error("this is not a ticket: it starts with \"{start}\", a ticket with \"{TICKET_PREFIX}\"")]
    NotATicket {
        /// Its first characters.
        start: String,
    },
    /// It is too long.
    #[error("this ticket has {characters} characters, over the limit of {TICKET_CHARACTERS_MAX}")]
    TooLong {
        /// Its length.
        characters: usize,
    },
    /// It contains other characters than base64url's.
    #[error("this ticket was mistyped or cut; copy the whole line")]
    NotBase64(#[source] base64::DecodeError),
    /// Its digest does not match.
    #[error("this ticket was mistyped or cut: its check digits do not match; copy the whole line")]
    Check,
    /// Its contents cannot be read.
    #[error("this ticket's contents cannot be read; it was made by another version of stead")]
    Malformed(#[source] postcard::Error),
    /// There are bytes after its contents.
    #[error("this ticket has {bytes} bytes after its contents; it was made by another version of stead")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// Too many or too few coordinators.
    #[error("this ticket names {coordinators} coordinators; it needs 1 to {TICKET_COORDINATORS_MAX}")]
    Coordinators {
        /// How many.
        coordinators: usize,
    },
    /// Too many addresses.
    #[error("this ticket gives {addresses} addresses for coordinator {key}, over the limit of {TICKET_ADDRESSES_MAX}")]
    Addresses {
        /// Whose.
        key: PeerKey,
        /// How many.
        addresses: usize,
    },
    /// Nothing says where a coordinator is.
    #[error("this ticket gives neither an address nor a relay for coordinator {key}")]
    Nowhere {
        /// Whose.
        key: PeerKey,
    },
    /// A key is no point on the curve.
    #[error("this ticket's coordinator key {key} is not an ed25519 public key")]
    BadKey {
        /// As read.
        key: PeerKey,
    },
    /// A relay's URL cannot be parsed.
    #[error("this ticket's relay \"{url}\" is not a URL")]
    BadRelayUrl {
        /// As read.
        url: String,
    },
}

impl Ticket {
    /// The token for the fleet's relay. It is made from the pass, so that whoever sees it on its way in plain HTTP cannot ask to join.
    pub fn relay_token(&self) -> String {
        relay_token(&self.pass)
    }

    fn validate(self) -> Result<Self, TicketError> {
        let coordinators = self.coordinators.len();
        if !(1..=TICKET_COORDINATORS_MAX).contains(&coordinators) {
            return Err(TicketError::Coordinators { coordinators });
        }
        for coordinator in &self.coordinators {
            let key = coordinator.key;
            PublicKey::from_bytes(key.as_bytes()).map_err(|_| TicketError::BadKey { key })?;
            let addresses = coordinator.addresses.len();
            if addresses > TICKET_ADDRESSES_MAX {
                return Err(TicketError::Addresses { key, addresses });
            }
            match &coordinator.relay {
                Some(url) if url.parse::<RelayUrl>().is_err() => {
                    return Err(TicketError::BadRelayUrl { url: url.clone() });
                }
                None if addresses == 0 => return Err(TicketError::Nowhere { key }),
                _ => {}
            }
        }
        Ok(self)
    }
}

/// The relay token that goes with a pass.
pub fn relay_token(pass: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"stead.dev/relay-token/v1\0");
    hash.update(pass);
    hex::encode(hash.finalize())
}

/// What a relay token is known by: coordinators tell each other of their passes by it, and nobody gets in with it.
pub fn relay_token_mark(token: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"stead.dev/relay-token-mark/v1\0");
    hash.update(token);
    hex::encode(hash.finalize())
}

fn check_of(contents: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    for (place, byte) in check.iter_mut().zip(Sha256::digest(contents)) {
        *place = byte;
    }
    check
}

impl fmt::Display for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut contents = postcard::to_allocvec(self).map_err(|_| fmt::Error)?;
        contents.extend_from_slice(&check_of(&contents));
        write!(formatter, "{TICKET_PREFIX}{}", URL_SAFE_NO_PAD.encode(contents))
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        let encoded = text
            .strip_prefix(TICKET_PREFIX)
            .ok_or_else(|| TicketError::NotATicket { start: text.chars().take(TICKET_PREFIX.len() + 2).collect() })?;
        if text.len() > TICKET_CHARACTERS_MAX {
            return Err(TicketError::TooLong { characters: text.len() });
        }
        let decoded = URL_SAFE_NO_PAD.decode(encoded).map_err(TicketError::NotBase64)?;
        let (contents, check) = decoded.split_last_chunk::<CHECK_BYTES>().ok_or(TicketError::Check)?;
        if check_of(contents) != *check {
            return Err(TicketError::Check);
        }
        let (ticket, rest) = postcard::take_from_bytes::<Self>(contents).map_err(TicketError::Malformed)?;
        if !rest.is_empty() {
            return Err(TicketError::TrailingBytes { bytes: rest.len() });
        }
        ticket.validate()
    }
}

#[cfg(test)]
mod tests {
    use iroh::SecretKey;

    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            fleet: [7; 32],
            root_version: 3,
            coordinators: vec![PeerAddress {
                key: PeerKey(*SecretKey::from_bytes(&[1; 32]).public().as_bytes()),
                addresses: vec!["192.0.2.1:4433".parse().unwrap(), "[2001:db8::1]:4433".parse().unwrap()],
                relay: Some("http://192.0.2.1:8080/".to_owned()),
            }],
            pass: Bytes::from_static(b"a pass"),
            delegation: Some(Bytes::from_static(b"{}")),
        }
    }

    #[test]
    fn a_ticket_goes_both_ways() {
        let text = ticket().to_string();
        assert!(text.starts_with(TICKET_PREFIX));
        assert_eq!(format!("  {text}\n").parse::<Ticket>().unwrap(), ticket());
        assert_ne!(ticket().relay_token(), hex::encode(&ticket().pass));
    }

    #[test]
    fn every_cut_and_every_changed_character_is_noticed() {
        let text = ticket().to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<Ticket>().is_err(), "{end}");
            let mut changed = text.clone().into_bytes();
            changed[end] = if changed[end] == b'x' { b'y' } else { b'x' };
            assert!(String::from_utf8(changed).unwrap().parse::<Ticket>().is_err(), "{end}");
        }
    }

    #[test]
    fn a_bad_ticket_says_what_is_wrong() {
        let with = |change: fn(&mut Ticket)| {
            let mut ticket = ticket();
            change(&mut ticket);
            ticket.to_string().parse::<Ticket>().unwrap_err().to_string()
        };
        let cases = [
            ("hello".parse::<Ticket>().unwrap_err().to_string(), "starts with \"hello\""),
            (with(|ticket| ticket.coordinators.clear()), "names 0 coordinators"),
            (with(|ticket| ticket.coordinators[0].key = PeerKey([2; 32])), "not an ed25519 public key"),
            (with(|ticket| ticket.coordinators[0].relay = Some("nonsense".into())), "relay \"nonsense\""),
            (
                with(|ticket| {
                    ticket.coordinators[0].relay = None;
                    ticket.coordinators[0].addresses.clear();
                }),
                "neither an address nor a relay",
            ),
            (with(|ticket| ticket.coordinators[0].addresses = vec!["192.0.2.1:1".parse().unwrap(); 33]), "gives 33 addresses"),
        ];
        for (message, expected) in cases {
            assert!(message.contains(expected), "{message}");
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn fuzz_ticket() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = String::from_utf8_lossy(bytes).parse::<Ticket>();
            // Past the check digits, as a forger would.
            let mut contents = bytes.to_vec();
            contents.extend_from_slice(&check_of(bytes));
            let text = format!("{TICKET_PREFIX}{}", URL_SAFE_NO_PAD.encode(contents));
            if let Ok(ticket) = text.parse::<Ticket>() {
                assert_eq!(ticket.to_string().parse::<Ticket>().unwrap(), ticket);
            }
        });
    }
}
