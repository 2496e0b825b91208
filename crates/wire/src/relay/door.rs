//! Who is at the relay's port: every connection has a number and a place, until it has gone.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Shutdown, TcpStream},
    sync::{Mutex, MutexGuard, PoisonError},
};

use iroh_relay::server::ConnectionId;

use super::{RelayCounters, RelayLimits, RelayRefusal};
use crate::PeerKey;

/// A connection's number, counted from 1.
pub(super) type Number = u64;

/// Where a connection is.
enum Place {
    /// It has not yet proved who it is. The socket is a second handle, with which it can be cut off.
    Outside { address: IpAddr, socket: TcpStream },
    /// It was let in, with a token known by this mark where it showed one.
    Inside { key: PeerKey, mark: Option<String> },
}

#[derive(Default)]
struct Table {
    last: Number,
    places: BTreeMap<Number, Place>,
    outside: usize,
    outside_by_address: BTreeMap<IpAddr, usize>,
    inside_by_key: BTreeMap<PeerKey, usize>,
    /// iroh's own numbers, for those inside.
    by_connection: HashMap<ConnectionId, Number>,
    counters: RelayCounters,
}

/// The relay's port, as a table of who is there.
pub(super) struct Door {
    limits: RelayLimits,
    table: Mutex<Table>,
}

impl Door {
    pub(super) fn new(limits: RelayLimits) -> Self {
        Self { limits, table: Mutex::default() }
    }

    pub(super) fn limits(&self) -> &RelayLimits {
        &self.limits
    }

    /// A connection has come: its number, or why there is no place for it.
    pub(super) fn enter(&self, address: IpAddr, socket: TcpStream) -> Result<Number, RelayRefusal> {
        let mut table = self.table();
        let of_address = table.outside_by_address.get(&address).copied().unwrap_or(0);
        let refusal = if table.places.len() >= self.limits.connections_max {
            Some(RelayRefusal::Full)
        } else if table.outside >= self.limits.establishing_max {
            Some(RelayRefusal::Busy)
        } else if of_address >= self.limits.establishing_per_address_max {
            Some(RelayRefusal::BusyAddress)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Err(table.refuse(refusal));
        }
        table.last = table.last.saturating_add(1);
        table.outside = table.outside.saturating_add(1);
        table.outside_by_address.insert(address, of_address.saturating_add(1));
        table.counters.connections = table.counters.connections.saturating_add(1);
        let number = table.last;
        table.places.insert(number, Place::Outside { address, socket });
        Ok(number)
    }

    /// A connection has proved its key. One that is refused gives up its place.
    pub(super) fn admit(
        &self,
        number: Option<Number>,
        key: PeerKey,
        connection: ConnectionId,
        mark: Option<String>,
        member: bool,
    ) -> Result<(), RelayRefusal> {
        let mut table = self.table();
        let gone = number.is_none_or(|number| table.remove(number).is_none());
        let of_key = table.inside_by_key.get(&key).copied().unwrap_or(0);
        // One that was cut off meanwhile has been counted.
        let Some(number) = number.filter(|_| !gone) else { return Err(RelayRefusal::TooSlow) };
        if !member {
            return Err(table.refuse(RelayRefusal::NotMember));
        }
        if of_key >= self.limits.connections_per_key_max {
            return Err(table.refuse(RelayRefusal::TooManyOfOneKey));
        }
        table.inside_by_key.insert(key, of_key.saturating_add(1));
        table.by_connection.insert(connection, number);
        table.places.insert(number, Place::Inside { key, mark });
        Ok(())
    }

    /// A connection that was let in has ended.
    pub(super) fn left(&self, connection: ConnectionId) {
        let mut table = self.table();
        if let Some(number) = table.by_connection.remove(&connection) {
            table.remove(number);
        }
    }

    /// A connection ended before it was let in, for a reason or of its own accord.
    pub(super) fn turned_back(&self, number: Number, refusal: Option<RelayRefusal>) {
        let mut table = self.table();
        if !matches!(table.places.get(&number), Some(Place::Outside { .. })) {
            return;
        }
        table.remove(number);
        if let Some(refusal) = refusal {
            table.refuse(refusal);
        }
    }

    /// A connection's time is up: it is cut off unless it has been let in.
    pub(super) fn expire(&self, number: Number) {
        let mut table = self.table();
        if !matches!(table.places.get(&number), Some(Place::Outside { .. })) {
            return;
        }
        if let Some(Place::Outside { socket, .. }) = table.remove(number) {
            // It may have been closed by the other side just now.
            let _ = socket.shutdown(Shutdown::Both);
        }
        table.refuse(RelayRefusal::TooSlow);
    }

    /// Who was let in, and by which mark.
    pub(super) fn inside(&self) -> Vec<(PeerKey, Option<String>)> {
        let inside = |place: &Place| match place {
            Place::Inside { key, mark } => Some((*key, mark.clone())),
            Place::Outside { .. } => None,
        };
        self.table().places.values().filter_map(inside).collect()
    }

    /// Somebody who was let in is admitted no more, and is cut off.
    pub(super) fn struck_off(&self) {
        self.table().refuse(RelayRefusal::StruckOff);
    }

    pub(super) fn counters(&self) -> RelayCounters {
        let table = self.table();
        let open = table.places.len();
        RelayCounters { open, established: open.saturating_sub(table.outside), ..table.counters.clone() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in here is left half done by a panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn refuse(&mut self, refusal: RelayRefusal) -> RelayRefusal {
        let count = self.counters.refused.entry(refusal).or_default();
        *count = count.saturating_add(1);
        refusal
    }

    fn remove(&mut self, number: Number) -> Option<Place> {
        let place = self.places.remove(&number)?;
        match &place {
            Place::Outside { address, .. } => {
                self.outside = self.outside.saturating_sub(1);
                one_less(&mut self.outside_by_address, address);
            }
            Place::Inside { key, .. } => one_less(&mut self.inside_by_key, key),
        }
        Some(place)
    }
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    let Some(count) = counts.get_mut(key) else { return };
    *count = count.saturating_sub(1);
    if *count == 0 {
        counts.remove(key);
    }
}
