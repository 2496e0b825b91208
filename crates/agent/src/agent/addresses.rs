//! Where the coordinators are: what the ticket said, and what the session says since.

use stead_trust::{MachineKey, MachineMemory};
use stead_wire::{PeerAddress, TICKET_ADDRESSES_MAX, TICKET_COORDINATORS_MAX, Ticket, Transport};

use super::{Agent, AgentError};
use crate::memory::{Keeper, set_setting};

/// Where the addresses are kept among the memory's settings.
pub(super) const COORDINATORS_SETTING: &str = "coordinators";

/// The newer addresses first, then those known before: a coordinator that moved is found, and one that errs about itself is not lost.
pub(super) fn merge(newer: &[PeerAddress], known: &[PeerAddress]) -> Vec<PeerAddress> {
    let mut merged: Vec<PeerAddress> = Vec::new();
    for address in newer.iter().chain(known) {
        let Some(present) = merged.iter_mut().find(|present| present.key == address.key) else {
            merged.push(address.clone());
            continue;
        };
        let more = address.addresses.iter().filter(|address| !present.addresses.contains(address)).copied().collect::<Vec<_>>();
        present.addresses.extend(more);
        present.addresses.truncate(TICKET_ADDRESSES_MAX);
        if present.relay.is_none() {
            present.relay.clone_from(&address.relay);
        }
    }
    merged.truncate(TICKET_COORDINATORS_MAX);
    merged
}

/// Only coordinators that the ticket or the trust root names: nobody sends a machine elsewhere.
fn trusted(told: Vec<PeerAddress>, ticket: &Ticket, memory: Option<&MachineMemory>) -> Vec<PeerAddress> {
    let by_root = |address: &PeerAddress| {
        let key = MachineKey::from_bytes(*address.key.as_bytes()).to_public_key();
        memory.is_some_and(|memory| memory.roots().newest().is_online_key(&key))
    };
    let by_ticket = |address: &PeerAddress| ticket.coordinators.iter().any(|known| known.key == address.key);
    told.into_iter().filter(|address| by_ticket(address) || by_root(address)).collect()
}

impl<K: Keeper, T: Transport> Agent<K, T> {
    /// Keeps where the coordinators are now.
    pub(super) async fn find_coordinators(&mut self, told: Vec<PeerAddress>) -> Result<(), AgentError> {
        let told = trusted(told, &self.ticket, self.memory.as_ref());
        if told.is_empty() {
            return Ok(());
        }
        if let Err(error) = set_setting(&self.store, COORDINATORS_SETTING, &told).await {
            tracing::warn!(%error, "where the coordinators are could not be kept; the next session says it again");
        }
        let coordinators = merge(&told, &self.ticket.coordinators);
        self.connection.set_coordinators(coordinators).await.map_err(|_| AgentError::Ended("the connection"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_wire::PeerKey;

    #[test]
    fn a_coordinator_sends_machines_to_nobody_else() {
        let ticket = Ticket {
            fleet: [0; 32],
            root_version: 1,
            coordinators: vec![address(1, &["192.0.2.1:1"], None)],
            pass: bytes::Bytes::new(),
            delegation: None,
        };
        let told = vec![address(1, &["192.0.2.9:9"], None), address(7, &["192.0.2.7:7"], None)];
        assert_eq!(trusted(told.clone(), &ticket, None), told[..1]);
    }

    fn address(key: u8, addresses: &[&str], relay: Option<&str>) -> PeerAddress {
        PeerAddress {
            key: PeerKey([key; 32]),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            relay: relay.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_newer_comes_first_and_nothing_known_is_lost() {
        let known = [address(1, &["192.0.2.1:1"], Some("http://old.example"))];
        let newer = [address(2, &["192.0.2.2:2"], None), address(1, &["192.0.2.9:9"], None)];
        let expected =
            [address(2, &["192.0.2.2:2"], None), address(1, &["192.0.2.9:9", "192.0.2.1:1"], Some("http://old.example"))];
        assert_eq!(merge(&newer, &known), expected);
        assert_eq!(merge(&[], &known), known);
        assert_eq!(merge(&known, &known), known);
    }
}
