//! Two sessions of one key: a restart, or two machines.

use super::{Effect, Hub, HubEvent, PROBE_MILLISECONDS_MAX, SessionId, session::Phase};
use crate::{Hello, Now, PeerKey, Refusal};

impl Hub {
    /// The session served until now makes room: at once for a newer one of its own process, else with a ping that asks whether it lives.
    pub(super) fn displace(&mut self, key: PeerKey, newer: SessionId, hello: &Hello, now: Now) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let Some(older) = peer.served.replace(newer) else {
            return;
        };
        let Some((session, older_hello)) = self.sessions.get_mut(&older).and_then(|session| {
            let hello = session.hello.clone()?;
            Some((session, hello))
        }) else {
            return;
        };
        if older_hello.process == hello.process {
            return self.close(older, None);
        }
        // A process that comes back after another one took its place was alive all the time.
        let returned = peer.displaced == Some(hello.process);
        peer.displaced = Some(older_hello.process);
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        session.phase = Phase::Displaced { until: now.monotonic_milliseconds + PROBE_MILLISECONDS_MAX, nonce };
        session.out.ping(nonce);
        self.effects.push_back(Effect::Wake(older));
        if returned {
            let addresses = [older, newer].map(|id| self.address_of(id));
            self.report_duplicate(key, older_hello, Box::new(hello.clone()), addresses);
        }
    }

    /// Another coordinator serves the key now. The session served here until now is over, and tells by its answer to a ping whether two
    /// machines are there: one machine has one session. Says whether there was a session.
    pub fn served_elsewhere(&mut self, key: PeerKey, now: Now) -> bool {
        let Some(id) = self.peers.get_mut(&key).and_then(|peer| peer.served.take()) else { return false };
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        session.phase = Phase::Elsewhere { until: now.monotonic_milliseconds + PROBE_MILLISECONDS_MAX, nonce };
        session.out.ping(nonce);
        self.effects.push_back(Effect::Wake(id));
        let reason = "another coordinator serves this machine now".to_owned();
        self.events.push_back(HubEvent::Left { peer: key, session: id, reason });
        true
    }

    /// A session answered that another coordinator has taken the place of.
    pub(super) fn lives_beside(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get(&id)
            && let Some(hello) = session.hello.clone()
        {
            self.counters.duplicates += 1;
            self.events.push_back(HubEvent::LivesBeside { peer: session.peer, hello, address: session.address.clone() });
        }
        self.refuse(id, Refusal::Duplicate);
    }

    fn address_of(&self, id: SessionId) -> String {
        self.sessions.get(&id).map(|session| session.address.clone()).unwrap_or_default()
    }

    /// The displaced session answered while the newer one lives.
    pub(super) fn duplicate(&mut self, older: SessionId) {
        let hello_of = |id: SessionId| self.sessions.get(&id).and_then(|session| session.hello.clone());
        let Some(key) = self.sessions.get(&older).map(|session| session.peer) else {
            return;
        };
        let newer = self.peers.get(&key).and_then(|peer| peer.served);
        if let (Some(older_hello), Some(newer_hello)) = (hello_of(older), newer.and_then(hello_of)) {
            let addresses = [Some(older), newer].map(|id| id.map(|id| self.address_of(id)).unwrap_or_default());
            self.report_duplicate(key, older_hello, newer_hello, addresses);
        }
        self.refuse(older, Refusal::Duplicate);
    }

    fn report_duplicate(&mut self, peer: PeerKey, older: Box<Hello>, newer: Box<Hello>, addresses: [String; 2]) {
        self.counters.duplicates += 1;
        self.events.push_back(HubEvent::DuplicateKey { peer, older, newer, addresses });
    }
}
