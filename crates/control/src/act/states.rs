//! Sends each machine what it lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use stead_admission::{bundle_rows, decode_signatures};
use stead_model::{Acknowledgement, GroupKind, ObjectKey};
use stead_trust::{Bundle, SignedRoot};
use stead_wire::{CoordinatorHandle, PeerKey, SendStateError, State};

use super::{Shared, incarnation_number};
use crate::delivery;

/// Bytes of encoded bundles that are kept, so that a change for ten thousand machines is read from the record once.
pub(crate) const BUNDLE_CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One object's newest sequence as machines are sent it.
#[derive(Clone, Debug)]
struct Parcel {
    sequence: u64,
    revision: u64,
    /// The id of its Change.
    change: Arc<str>,
    bytes: Bytes,
}

/// Encoded bundles by object.
#[derive(Debug, Default)]
pub(crate) struct BundleCache {
    bundles: BTreeMap<ObjectKey, Parcel>,
    bytes: usize,
}

impl BundleCache {
    fn get(&self, key: &ObjectKey, sequence: u64) -> Option<Parcel> {
        self.bundles.get(key).filter(|parcel| parcel.sequence == sequence).cloned()
    }

    fn put(&mut self, key: ObjectKey, parcel: Parcel) {
        let bytes = parcel.bytes.len();
        if self.bytes.saturating_add(bytes) > BUNDLE_CACHE_BYTES_MAX {
            self.bundles.clear();
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(old) = self.bundles.insert(key, parcel) {
            self.bytes = self.bytes.saturating_sub(old.bytes.len());
        }
    }

    /// The Change of an object's sequence, where it is at hand.
    fn change_of(&self, object: &str, sequence: u64) -> Option<Arc<str>> {
        let (kind, name) = object.split_once('/')?;
        let key = ObjectKey::new(GroupKind::new(stead_model::GROUP, kind), "", name);
        self.get(&key, sequence).map(|parcel| parcel.change)
    }
}

/// Sends to every machine that is connected.
pub(crate) async fn send_to_all(shared: &Arc<Shared>, wire: &CoordinatorHandle) {
    let names = shared.sessions().names();
    send_to(shared, wire, names).await;
}

/// Sends to those of these machines that are connected. The others get it when they come.
pub(crate) async fn send_to(shared: &Arc<Shared>, wire: &CoordinatorHandle, names: BTreeSet<String>) {
    for name in names {
        let peer = shared.sessions().peer_of(&name);
        if let Some(peer) = peer {
            send(shared, wire, peer).await;
        }
    }
}

/// Sends one machine what it lacks, if anything.
pub(crate) async fn send(shared: &Arc<Shared>, wire: &CoordinatorHandle, peer: PeerKey) {
    let snapshot = shared.admission.store().snapshot();
    let incarnation = incarnation_number(snapshot.incarnation());
    let Some(mut session) = shared.sessions().get(&peer).cloned() else { return };
    if session.incarnation != incarnation {
        // A state of another incarnation that is on its way is given up for this one.
        session.forget_sent();
    }
    let wanted = shared.with_fleet(|fleet| {
        let machine = fleet.machine(&session.name)?;
        let sequence_of = |key: &ObjectKey| snapshot.sequence(key).map(|sequence| sequence.sequence);
        if machine.decommissioned {
            // It learns that, and nothing else.
            let own = ObjectKey::new(delivery::machine_kind(), "", &session.name);
            let newest = sequence_of(&own).filter(|newest| *newest > session.sent.get(&own).copied().unwrap_or(0));
            return Some(newest.map(|_| own).into_iter().collect());
        }
        Some(delivery::plan(&session.name, machine, fleet, &session.sent, sequence_of))
    });
    // A machine that was removed still hears of its own removal, and of what it holds.
    let wanted = wanted.unwrap_or_else(|| {
        let own = ObjectKey::new(delivery::machine_kind(), "", &session.name);
        let newer = |key: &ObjectKey| snapshot.sequence(key).map(|at| at.sequence) > session.sent.get(key).copied();
        session.sent.keys().cloned().chain([own]).filter(newer).collect::<BTreeSet<_>>().into_iter().collect()
    });
    let roots = roots_after(shared, session.root_version);
    let full = session.incarnation != incarnation || session.revision > snapshot.revision().0;
    let nothing_new = wanted.is_empty() && roots.is_empty();
    if nothing_new && !full && session.revision != 0 {
        return;
    }
    let found = match bundles(shared, &snapshot, wanted, &session.name).await {
        Ok(found) => found,
        Err(error) => {
            shared.metrics.send_failures.inc();
            tracing::error!(machine = session.name, %error, "the record could not be read; it is tried again");
            shared.untold.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
            return;
        }
    };
    let revision = snapshot.revision().0;
    let root_version = snapshot.newest_root().map_or(session.root_version, |root| root.version);
    let bundles = found.iter().map(|(_, parcel)| parcel.bytes.clone()).collect();
    let state = State { incarnation, since: session.revision, revision, full, complete: true, roots, bundles };
    match wire.send_state(peer, state) {
        Ok(()) => {
            note_sent(shared, &session.name, &found);
            if let Some(session) = shared.sessions().get_mut(&peer) {
                if session.incarnation != incarnation {
                    session.forget_sent();
                }
                session.sent.extend(found.into_iter().map(|(key, parcel)| (key, parcel.sequence)));
                session.root_version = root_version;
                (session.incarnation, session.revision) = (incarnation, revision);
            }
        }
        // `NeedsState` or the next `Joined` brings it.
        Err(SendStateError::Behind { .. } | SendStateError::NotConnected { .. }) => {}
        Err(error) => tracing::error!(machine = session.name, %error, "a state could not be sent"),
    }
}

fn roots_after(shared: &Shared, version: u64) -> Vec<Bytes> {
    let roots = shared.admission.store().snapshot().roots_after(version);
    let encoded = roots.iter().filter_map(|root| {
        let signatures = decode_signatures(&format!("v{}", root.version), &root.signatures).ok()?;
        serde_json::to_vec(&SignedRoot { document: root.document.clone(), signatures }).ok()
    });
    encoded.map(Bytes::from).collect()
}

/// Says of each Change that it is on its way to a machine.
fn note_sent(shared: &Shared, machine: &str, found: &[(ObjectKey, Parcel)]) {
    shared.metrics.states_sent.inc();
    shared.metrics.objects_sent.inc_by(found.len() as u64);
    for (object, Parcel { revision, change, sequence, .. }) in found {
        let _span = tracing::debug_span!("send", %change, machine, %object, revision).entered();
        tracing::debug!(sequence, "sent");
    }
}

/// Says of a Change that a machine's word on it is on record.
pub(crate) fn note_taken(shared: &Shared, machine: &str, word: &Acknowledgement) {
    let Acknowledgement { object, sequence, outcome, .. } = word;
    let change = shared.bundles.lock().unwrap_or_else(PoisonError::into_inner).change_of(object, *sequence);
    let Some(change) = change else {
        tracing::debug!(machine, object, sequence, outcome, "acknowledgement taken");
        return;
    };
    let _span = tracing::debug_span!("taken", %change, machine, object, outcome).entered();
    tracing::debug!(sequence, "acknowledgement taken");
}

type Found = Vec<(ObjectKey, Parcel)>;

/// The bundles of some objects: the machine's own first, since it needs its labels to judge the others, then by revision.
async fn bundles(
    shared: &Arc<Shared>,
    snapshot: &stead_store::Snapshot,
    wanted: Vec<ObjectKey>,
    name: &str,
) -> Result<Found, stead_store::EngineError> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for key in wanted {
        let sequence = snapshot.sequence(&key).map_or(0, |sequence| sequence.sequence);
        let cached = shared.bundles.lock().unwrap_or_else(PoisonError::into_inner).get(&key, sequence);
        match cached {
            Some(parcel) => found.push((key, parcel)),
            None => missing.push(key),
        }
    }
    if !missing.is_empty() {
        for row in shared.admission.store().newest_entries(missing).await? {
            let (key, sequence, revision) = (row.1.key.clone(), row.1.sequence, row.0.revision.0);
            let change: Arc<str> = row.0.id.as_str().into();
            let (mut made, malformed) = bundle_rows(vec![row]);
            for (key, error) in malformed {
                tracing::error!(object = %key, %error, "left out");
            }
            let Some(bytes) = made.pop().and_then(|bundle: Bundle| bundle.to_bytes().ok()).map(Bytes::from) else { continue };
            let parcel = Parcel { sequence, revision, change, bytes };
            shared.bundles.lock().unwrap_or_else(PoisonError::into_inner).put(key.clone(), parcel.clone());
            found.push((key, parcel));
        }
    }
    let own = |key: &ObjectKey| key.kind == delivery::machine_kind() && key.name == name;
    found.sort_by_key(|(key, parcel)| (!own(key), parcel.revision));
    Ok(found)
}
