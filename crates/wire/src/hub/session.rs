//! One session as the hub keeps it; small, for there are ten thousand.

use super::outgoing::Outgoing;
use crate::{Hello, Now, PeerKey};

use super::HELLO_MILLISECONDS_MAX;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Phase {
    /// Connected, no `Hello` yet.
    Greeting { until: u64 },
    /// Somebody decides on its `Hello` or `Join`.
    Deciding { until: u64, joined: bool },
    /// Unknown, or pending.
    Outside { until: u64, joined: bool },
    /// The one served for its key.
    Served,
    /// A newer session of the same key is served; this one has been pinged.
    Displaced { until: u64, nonce: u64 },
    /// Another coordinator serves the key now; this session has been pinged, to see whether it lives beside that.
    Elsewhere { until: u64, nonce: u64 },
    /// On its way out.
    Closing,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: PeerKey,
    /// Where it came from, for a person.
    pub(super) address: String,
    pub(super) member: bool,
    pub(super) phase: Phase,
    pub(super) connected_at: u64,
    pub(super) heard_at: u64,
    pub(super) hello: Option<Box<Hello>>,
    pub(super) closing: Option<String>,
    pub(super) out: Outgoing,
}

impl Session {
    pub(super) fn new(peer: PeerKey, member: bool, now: Now) -> Self {
        Self {
            peer,
            address: String::new(),
            member,
            phase: Phase::Greeting { until: now.monotonic_milliseconds + HELLO_MILLISECONDS_MAX },
            connected_at: now.monotonic_milliseconds,
            heard_at: now.monotonic_milliseconds,
            hello: None,
            closing: None,
            out: Outgoing::default(),
        }
    }

    pub(super) fn hello_without_held(&self) -> Option<Box<Hello>> {
        let hello = self.hello.as_deref()?;
        Some(Box::new(Hello {
            held: Vec::new(),
            fleet: hello.fleet,
            root_version: hello.root_version,
            incarnation: hello.incarnation,
            revision: hello.revision,
            process: hello.process,
            machine_id: hello.machine_id.clone(),
            agent_version: hello.agent_version.clone(),
            presenter: hello.presenter.clone(),
        }))
    }
}
