//! Which coordinators there are, and where machines and people find them: each keeps a Lease that says so.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use stead_admission::SYSTEM_NAMESPACE;
use stead_model::{Lease, LeaseSpec, ObjectMeta};
use stead_wire::{PeerAddress, PeerKey, TICKET_COORDINATORS_MAX};

/// What the names of coordinators' leases begin with.
pub const PRESENCE_PREFIX: &str = "coordinator-";
/// Where a coordinator's lease says who and where it is.
pub const PRESENCE_ANNOTATION: &str = "stead.dev/presence";
/// How long a coordinator counts as there after it last said so, in seconds.
pub const PRESENT_SECONDS: i64 = 15;
/// How often one of several coordinators says that it is there, in seconds.
pub const PRESENCE_PERIOD_SECONDS: u64 = 5;
/// How long machines are still told of a coordinator that has gone, in seconds: a day, in which it may be repaired.
pub const REMEMBERED_SECONDS: i64 = 86_400;
/// Characters of a key in a lease's name: enough to tell coordinators apart, and to read.
const NAME_CHARACTERS: usize = 16;

/// After how many seconds without a word a coordinator counts as slow, and not yet as gone: it has missed one.
const LATE_SECONDS: i64 = 10;

/// How a coordinator keeps saying that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// In time.
    InTime,
    /// It has missed to say so, and is not given up yet: it is slow, or its record is.
    Late,
    /// It has not said so for longer than it may.
    Silent,
}

impl Voice {
    /// As `stead status` has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::InTime => "InTime",
            Self::Late => "Late",
            Self::Silent => "Silent",
        }
    }
}

/// What a coordinator says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Where machines find it, with its key.
    pub address: PeerAddress,
    /// Where people and clients find its API.
    #[serde(default)]
    pub api: Vec<String>,
    /// The certificate of the authority that its API proves itself with, in PEM.
    #[serde(default)]
    pub authority: String,
    /// What the relay token of its tickets is known by ([`stead_wire::relay_token_mark`]), so that a ticket of one coordinator is good
    /// at each.
    #[serde(default)]
    pub token_mark: String,
}

/// A coordinator, as its lease has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it says of itself.
    pub presence: Presence,
    /// When it last said so.
    pub renewed: Timestamp,
}

impl Seen {
    /// Reads a lease; none where it is another kind of lease, or was spoilt.
    pub fn read(lease: &Lease) -> Option<Self> {
        let presence: Presence = serde_json::from_str(lease.metadata.annotations.get(PRESENCE_ANNOTATION)?).ok()?;
        // Under another's name nobody is a coordinator.
        if lease.metadata.name != lease_name(&presence.address.key) {
            return None;
        }
        let renewed = lease.spec.renew_time.as_deref()?.parse().ok()?;
        Some(Self { presence, renewed })
    }

    /// What its lease says of it now.
    pub fn voice(&self, now: Timestamp) -> Voice {
        match now.as_second().saturating_sub(self.renewed.as_second()) {
            age if age > PRESENT_SECONDS => Voice::Silent,
            age if age > LATE_SECONDS => Voice::Late,
            _ => Voice::InTime,
        }
    }

    /// Whether it counts as there.
    pub fn is_present(&self, now: Timestamp) -> bool {
        now.as_second().saturating_sub(self.renewed.as_second()) <= PRESENT_SECONDS
    }
}

/// The name of a coordinator's lease.
pub fn lease_name(key: &PeerKey) -> String {
    let key: String = key.to_string().chars().take(NAME_CHARACTERS).collect();
    format!("{PRESENCE_PREFIX}{key}")
}

/// A coordinator's lease.
pub fn lease(presence: &Presence, micro_time: &str) -> Lease {
    let annotation = serde_json::to_string(presence).unwrap_or_default();
    let metadata = ObjectMeta {
        name: lease_name(&presence.address.key),
        namespace: SYSTEM_NAMESPACE.to_owned(),
        annotations: [(PRESENCE_ANNOTATION.to_owned(), annotation)].into(),
        ..ObjectMeta::default()
    };
    let spec = LeaseSpec {
        holder_identity: Some(presence.address.key.to_string()),
        lease_duration_seconds: Some(PRESENT_SECONDS),
        renew_time: Some(micro_time.to_owned()),
        ..LeaseSpec::default()
    };
    Lease { metadata, spec }
}

/// Where machines find the coordinators: `own` in any case, those that are there before those that were; the same order for everybody.
pub fn addresses(own: &PeerAddress, seen: &[Seen], now: Timestamp) -> Vec<PeerAddress> {
    let remembered = seen.iter().filter(|seen| now.as_second().saturating_sub(seen.renewed.as_second()) <= REMEMBERED_SECONDS);
    let mut found: Vec<(bool, PeerAddress)> = remembered
        .filter(|seen| seen.presence.address.key != own.key)
        .map(|seen| (!seen.is_present(now), seen.presence.address.clone()))
        .collect();
    found.push((false, own.clone()));
    found.sort_by_key(|(gone, address)| (*gone, address.key));
    let mut addresses: Vec<PeerAddress> = found.into_iter().map(|(_, address)| address).collect();
    addresses.truncate(TICKET_COORDINATORS_MAX);
    addresses
}

/// What the tokens of good tickets are known by: `own` in any case, and those of coordinators that are there or were lately.
pub fn marks(own: &str, seen: &[Seen], now: Timestamp) -> Vec<String> {
    let others: BTreeSet<&str> = remembered(seen, now).filter(|mark| !mark.is_empty() && *mark != own).collect();
    let mut marks: Vec<String> =
        others.into_iter().take(stead_trust::ROLL_MARKS_MAX.saturating_sub(1)).chain([own]).map(str::to_owned).collect();
    marks.sort();
    marks
}

/// Whether a coordinator gives out tickets whose token is known by this.
pub fn is_known_mark(mark: &str, seen: &[Seen], now: Timestamp) -> bool {
    !mark.is_empty() && remembered(seen, now).any(|known| known == mark)
}

/// The marks of coordinators that are there or were lately.
fn remembered(seen: &[Seen], now: Timestamp) -> impl Iterator<Item = &str> {
    let lately = move |seen: &&Seen| now.as_second().saturating_sub(seen.renewed.as_second()) <= REMEMBERED_SECONDS;
    seen.iter().filter(lately).map(|seen| seen.presence.token_mark.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn presence(byte: u8) -> Presence {
        let address = PeerAddress { key: PeerKey([byte; 32]), addresses: Vec::new(), relay: None };
        Presence {
            address,
            api: vec![format!("https://c{byte}:6443")],
            authority: "PEM".to_owned(),
            token_mark: format!("mark-{byte}"),
        }
    }

    #[test]
    fn a_lease_says_who_is_there_and_nobody_speaks_for_another() {
        let lease = lease(&presence(7), "2026-11-24T10:00:00.000000Z");
        let seen = Seen::read(&lease).unwrap();
        assert_eq!(seen.presence, presence(7));
        let renewed = seen.renewed.as_second();
        assert!(seen.is_present(at(renewed + PRESENT_SECONDS)) && !seen.is_present(at(renewed + PRESENT_SECONDS + 1)));
        for (seconds, voice) in
            [(0, Voice::InTime), (10, Voice::InTime), (11, Voice::Late), (15, Voice::Late), (16, Voice::Silent)]
        {
            assert_eq!(seen.voice(at(renewed + seconds)), voice, "{seconds} s");
        }
        let mut other = lease.clone();
        other.metadata.name = lease_name(&PeerKey([8; 32]));
        assert_eq!(Seen::read(&other), None);
        let mut spoilt = lease;
        spoilt.metadata.annotations.insert(PRESENCE_ANNOTATION.to_owned(), "{".to_owned());
        assert_eq!(Seen::read(&spoilt), None);
    }

    #[test]
    fn machines_are_told_of_those_who_are_there_first() {
        let seen = |byte, second| Seen { presence: presence(byte), renewed: at(second) };
        let now = at(1_000_000);
        let all = [seen(1, 999_900), seen(2, 999_999), seen(3, 1_000_000 - REMEMBERED_SECONDS - 1), seen(4, 1)];
        let told = addresses(&presence(4).address, &all, now);
        let keys: Vec<u8> = told.iter().map(|address| address.key.0[0]).collect();
        assert_eq!(keys, [2, 4, 1], "present ones by key, then gone ones; forgotten ones not at all; oneself in any case");
        let known: Vec<u8> = (0..5).filter(|byte| is_known_mark(&format!("mark-{byte}"), &all, now)).collect();
        assert_eq!(known, [1, 2], "a ticket outlives its coordinator by a day");
        assert!(!is_known_mark(
            "",
            &[Seen { presence: Presence { token_mark: String::new(), ..presence(1) }, renewed: now }],
            now
        ));
    }
}
