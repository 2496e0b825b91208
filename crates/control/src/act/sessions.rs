//! The machines that are connected: what each was sent, and when it was last heard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use stead_model::{GroupKind, MachineStatus, ObjectKey, OutboxBody};
use stead_wire::{BEAT_SECONDS_DEFAULT, CoordinatorHandle, Hello, HubEvent, PeerKey};
use tokio::sync::mpsc;

use super::{Shared, giveback, states};
use crate::delivery::{Held, machine_kind, profile_kind};
use crate::events::Occurrence;
use crate::liveness::{Lateness, Pace};

/// The longest reason for which a connection ended that is kept, in characters.
const REASON_CHARACTERS_MAX: usize = 120;

/// One machine's session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) name: String,
    /// What the machine said that it holds when it came.
    pub(crate) confirmed: Held,
    /// What it holds when everything that was sent arrives.
    pub(crate) sent: Held,
    pub(crate) root_version: u64,
    pub(crate) confirmed_root_version: u64,
    pub(crate) incarnation: u64,
    pub(crate) revision: u64,
}

impl Session {
    /// Of what was sent, nothing counts any more but what the machine said when it came. The names stay, so that what was first sent in
    /// this session is still followed to its removal.
    pub(crate) fn forget_sent(&mut self) {
        for (key, sequence) in &mut self.sent {
            *sequence = self.confirmed.get(key).copied().unwrap_or(0);
        }
        self.root_version = self.confirmed_root_version;
    }
}

/// All sessions, and what is remembered of machines between them.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_peer: BTreeMap<PeerKey, Session>,
    by_name: BTreeMap<String, PeerKey>,
    /// The number of each open session, of all that there ever were.
    numbers: BTreeMap<PeerKey, u64>,
    opened: u64,
    /// How the connected ones keep time.
    paces: BTreeMap<String, Pace>,
    /// When the last connection of a machine ended, and why.
    left: BTreeMap<String, (Timestamp, String)>,
    heard: BTreeMap<String, Timestamp>,
    /// The sequence of each name that was last told of.
    told: BTreeMap<ObjectKey, u64>,
    /// When two machines were last found under one key, by the machine's name.
    duplicates: BTreeMap<String, Timestamp>,
}

impl Sessions {
    pub(crate) fn open(&mut self, peer: PeerKey, session: Session, now: Timestamp) {
        self.heard(&session.name, now);
        self.opened = self.opened.saturating_add(1);
        self.numbers.insert(peer, self.opened);
        self.paces.entry(session.name.clone()).or_insert_with(|| Pace::new(now)).connected(now);
        self.by_name.insert(session.name.clone(), peer);
        self.by_peer.insert(peer, session);
    }

    /// The open sessions, each with its number: one that was opened anew has another.
    pub(crate) fn opened(&self) -> BTreeMap<PeerKey, u64> {
        self.numbers.clone()
    }

    pub(crate) fn close(&mut self, peer: &PeerKey, reason: &str, now: Timestamp) {
        self.numbers.remove(peer);
        // The name may be another key's by now.
        if let Some(session) = self.by_peer.remove(peer)
            && self.by_name.get(&session.name) == Some(peer)
        {
            self.by_name.remove(&session.name);
            self.left.insert(session.name, (now, reason.chars().take(REASON_CHARACTERS_MAX).collect()));
        }
    }

    /// A sign of life has come.
    pub(crate) fn beat(&mut self, name: &str, now: Timestamp) {
        if let Some(pace) = self.paces.get_mut(name) {
            pace.beat(BEAT_SECONDS_DEFAULT, now);
        }
    }

    /// Whether a machine speaks later than it should.
    pub(crate) fn lateness(&self, name: &str, now: Timestamp) -> Option<Lateness> {
        self.paces.get(name)?.lateness(BEAT_SECONDS_DEFAULT, now)
    }

    /// What is known of a machine's connection, in words.
    pub(crate) fn connection(&self, name: &str) -> String {
        match (self.by_name.contains_key(name), self.left.get(name)) {
            (true, _) => "its connection is open, and nothing comes".to_owned(),
            (false, Some((at, reason))) => format!("its connection ended at {at:.0}: {reason}"),
            (false, None) => "it has not connected to this coordinator".to_owned(),
        }
    }

    pub(crate) fn peer_of(&self, name: &str) -> Option<PeerKey> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn get(&self, peer: &PeerKey) -> Option<&Session> {
        self.by_peer.get(peer)
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerKey) -> Option<&mut Session> {
        self.by_peer.get_mut(peer)
    }

    pub(crate) fn peers(&self) -> Vec<PeerKey> {
        self.by_peer.keys().copied().collect()
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.by_name.keys().cloned().collect()
    }

    /// The connected machines that hold an object.
    pub(crate) fn holding(&self, key: &ObjectKey) -> Vec<String> {
        self.by_peer.values().filter(|session| session.sent.contains_key(key)).map(|session| session.name.clone()).collect()
    }

    pub(crate) fn heard(&mut self, name: &str, now: Timestamp) {
        self.heard.insert(name.to_owned(), now);
    }

    pub(crate) fn duplicate(&mut self, name: &str, now: Timestamp) {
        self.duplicates.insert(name.to_owned(), now);
    }

    pub(crate) fn last_duplicate(&self, name: &str) -> Option<Timestamp> {
        self.duplicates.get(name).copied()
    }

    pub(crate) fn last_heard(&self, name: &str) -> Option<Timestamp> {
        self.heard.get(name).copied()
    }

    /// The record has lost some of what was told of; its sequences may come again, with something else.
    pub(crate) fn forget_told(&mut self) {
        self.told.clear();
    }

    /// Whether this sequence of a name has not been told of; it counts as told from now on.
    pub(crate) fn is_new_sequence(&mut self, key: &ObjectKey, sequence: u64) -> bool {
        self.told.insert(key.clone(), sequence) != Some(sequence)
    }
}

/// Listens to what machines say.
pub(crate) async fn listen(shared: &Arc<Shared>, wire: &CoordinatorHandle, mut events: mpsc::Receiver<HubEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            HubEvent::Joined { peer, hello, .. } => joined(shared, wire, peer, hello).await,
            HubEvent::Status { peer, body } => {
                let Some(name) = heard(shared, &peer) else { continue };
                shared.metrics.statuses_received.inc();
                match serde_json::from_slice::<MachineStatus>(&body) {
                    Ok(status) => tell(shared, |news| news.status(&name, status)),
                    Err(error) => tracing::warn!(machine = name, %error, "a status that cannot be read"),
                }
            }
            HubEvent::Events { peer, items } => {
                let Some(name) = heard(shared, &peer) else { continue };
                let read = |item: &stead_wire::OutboxItem| (item.sequence, serde_json::from_slice::<OutboxBody>(&item.body).ok());
                let items: Vec<_> = items.iter().map(read).collect();
                tell(shared, |news| news.events(&name, peer, items));
            }
            HubEvent::Beat { peer, .. } => {
                if let Some(name) = heard(shared, &peer) {
                    let now = shared.now();
                    shared.sessions().beat(&name, now);
                }
            }
            HubEvent::Acks { peer, .. } => {
                heard(shared, &peer);
            }
            HubEvent::NeedsState { peer, incarnation, revision } => {
                if let Some(session) = shared.sessions().get_mut(&peer) {
                    session.forget_sent();
                    (session.incarnation, session.revision) = (incarnation, revision);
                }
                states::send(shared, wire, peer).await;
            }
            HubEvent::DuplicateKey { peer, older, newer } => duplicate(shared, peer, &older, &newer),
            HubEvent::Left { peer, reason, .. } => {
                let now = shared.now();
                let mut sessions = shared.sessions();
                if let Some(session) = sessions.get(&peer) {
                    tracing::info!(machine = session.name, reason, "a machine left");
                }
                sessions.close(&peer, &reason, now);
            }
        }
    }
}

pub(crate) fn tell(shared: &Shared, change: impl FnOnce(&mut super::News)) {
    change(&mut shared.news());
    shared.news_there.notify_one();
}

/// A machine spoke: its name, where it has one.
fn heard(shared: &Shared, peer: &PeerKey) -> Option<String> {
    let now = shared.now();
    let mut sessions = shared.sessions();
    let name = sessions.get(peer)?.name.clone();
    sessions.heard(&name, now);
    drop(sessions);
    tell(shared, |news| news.heard(&name));
    Some(name)
}

async fn joined(shared: &Arc<Shared>, wire: &CoordinatorHandle, peer: PeerKey, hello: Hello) {
    let Some(name) = shared.with_fleet(|fleet| fleet.name_of_key(&peer.to_string()).map(str::to_owned)) else {
        wire.disconnect(peer, "this key is no longer a member");
        return;
    };
    // Only what machines are sent: nobody is told of other kinds by claiming to hold an old one.
    let ours = |key: &ObjectKey| key.kind == profile_kind() || (key.kind == machine_kind() && key.name == name);
    let held = hello.held.iter().map(|held| (held_key(held), held.sequence)).filter(|(key, sequence)| *sequence > 0 && ours(key));
    let held: Held = held.collect();
    let session = Session {
        name: name.clone(),
        confirmed: held.clone(),
        sent: held,
        root_version: hello.root_version,
        confirmed_root_version: hello.root_version,
        incarnation: hello.incarnation,
        revision: hello.revision,
    };
    tracing::info!(machine = name, version = hello.agent_version, revision = hello.revision, "a machine connected");
    let now = shared.now();
    let confirmed = session.confirmed.clone();
    shared.sessions().open(peer, session, now);
    // Now, and not before: whoever asks looks for the session first.
    giveback::consider(shared, peer, &name, &hello, &confirmed);
    // A machine that holds nothing, not even a trust root, counts its events from a new beginning; by a wrong clock, from an earlier one.
    let begins_anew = hello.root_version == 0;
    tell(shared, |news| {
        news.heard(&name);
        if begins_anew {
            news.begins_anew(&name);
        }
    });
    states::send(shared, wire, peer).await;
}

fn held_key(held: &stead_wire::Held) -> ObjectKey {
    let (kind, group) = held.kind.split_once('.').unwrap_or((&held.kind, ""));
    ObjectKey::new(GroupKind::new(group, kind), &held.namespace, &held.name)
}

fn duplicate(shared: &Shared, peer: PeerKey, older: &Hello, newer: &Hello) {
    let Some(name) = shared.with_fleet(|fleet| fleet.name_of_key(&peer.to_string()).map(str::to_owned)) else { return };
    let shown = |id: &str| if id.is_empty() { "a machine without an id".to_owned() } else { format!("machine id {id}") };
    let message = format!(
        "two machines present the key of {name}: {} and {}; one of them is a copy. Find it, and give it a key of its own",
        shown(&older.machine_id),
        shown(&newer.machine_id)
    );
    tracing::warn!(machine = name, message, "duplicate key");
    shared.sessions().duplicate(&name, shared.now());
    let occurrence = Occurrence {
        about: ObjectKey::new(machine_kind(), "", &name),
        uid: String::new(),
        warning: true,
        reason: "DuplicateKey".to_owned(),
        message: message.clone(),
        component: "coordinator".to_owned(),
        time: shared.now(),
    };
    tell(shared, |news| {
        news.duplicate(&name, message);
        news.occurrence(occurrence);
    });
}
