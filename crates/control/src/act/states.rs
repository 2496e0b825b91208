//! Sends each machine what it lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use stead_admission::{bundle_rows, decode_signatures};
use stead_model::ObjectKey;
use stead_trust::{Bundle, SignedRoot};
use stead_wire::{CoordinatorHandle, PeerKey, SendStateError, State};

use super::Shared;
use crate::delivery;

/// Bytes of encoded bundles that are kept, so that a change for ten thousand machines is read from the record once.
pub(crate) const BUNDLE_CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Encoded bundles by object, of its newest sequence, with the revision of their change.
#[derive(Debug, Default)]
pub(crate) struct BundleCache {
    bundles: BTreeMap<ObjectKey, (u64, u64, Bytes)>,
    bytes: usize,
}

impl BundleCache {
    fn get(&self, key: &ObjectKey, sequence: u64) -> Option<(u64, Bytes)> {
        let (held, revision, bytes) = self.bundles.get(key)?;
        (*held == sequence).then(|| (*revision, bytes.clone()))
    }

    fn put(&mut self, key: ObjectKey, sequence: u64, revision: u64, bytes: Bytes) {
        if self.bytes.saturating_add(bytes.len()) > BUNDLE_CACHE_BYTES_MAX {
            self.bundles.clear();
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        if let Some((_, _, old)) = self.bundles.insert(key, (sequence, revision, bytes)) {
            self.bytes = self.bytes.saturating_sub(old.len());
        }
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
    let Some(session) = shared.sessions().get(&peer).cloned() else { return };
    let wanted = shared.with_fleet(|fleet| {
        let machine = fleet.machine(&session.name)?;
        let sequence_of = |key: &ObjectKey| snapshot.sequence(key).map(|sequence| sequence.sequence);
        Some(delivery::plan(&session.name, machine, fleet, &session.sent, sequence_of))
    });
    // A machine that was removed still hears of its own removal, and of what it holds.
    let wanted = wanted.unwrap_or_else(|| {
        let own = ObjectKey::new(delivery::machine_kind(), "", &session.name);
        let newer = |key: &ObjectKey| snapshot.sequence(key).map(|at| at.sequence) > session.sent.get(key).copied();
        session.sent.keys().cloned().chain([own]).filter(newer).collect::<BTreeSet<_>>().into_iter().collect()
    });
    let roots = roots_after(shared, session.root_version);
    let full = session.incarnation != shared.incarnation || session.revision > snapshot.revision().0;
    let nothing_new = wanted.is_empty() && roots.is_empty();
    if nothing_new && !full && session.revision != 0 {
        return;
    }
    let (bundles, sent) = match bundles(shared, &snapshot, wanted, &session.name).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(machine = session.name, %error, "the record could not be read; it is tried again");
            shared.untold.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
            return;
        }
    };
    let revision = snapshot.revision().0;
    let root_version = snapshot.newest_root().map_or(session.root_version, |root| root.version);
    let state =
        State { incarnation: shared.incarnation, since: session.revision, revision, full, complete: true, roots, bundles };
    match wire.send_state(peer, state) {
        Ok(()) => {
            if let Some(session) = shared.sessions().get_mut(&peer) {
                session.sent.extend(sent);
                session.root_version = root_version;
                (session.incarnation, session.revision) = (shared.incarnation, revision);
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

type Found = (Vec<Bytes>, Vec<(ObjectKey, u64)>);

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
            Some((revision, bytes)) => found.push((revision, key, sequence, bytes)),
            None => missing.push(key),
        }
    }
    if !missing.is_empty() {
        for row in shared.admission.store().newest_entries(missing).await? {
            let (key, sequence, revision) = (row.1.key.clone(), row.1.sequence, row.0.revision.0);
            let (mut made, malformed) = bundle_rows(vec![row]);
            for (key, error) in malformed {
                tracing::error!(object = %key, %error, "left out");
            }
            let Some(bytes) = made.pop().and_then(|bundle: Bundle| bundle.to_bytes().ok()).map(Bytes::from) else { continue };
            shared.bundles.lock().unwrap_or_else(PoisonError::into_inner).put(key.clone(), sequence, revision, bytes.clone());
            found.push((revision, key, sequence, bytes));
        }
    }
    let own = |key: &ObjectKey| key.kind == delivery::machine_kind() && key.name == name;
    found.sort_by_key(|(revision, key, _, _)| (!own(key), *revision));
    let sent = found.iter().map(|(_, key, sequence, _)| (key.clone(), *sequence)).collect();
    Ok((found.into_iter().map(|(_, _, _, bytes)| bytes).collect(), sent))
}
