//! A coordinator that lies: what it sends to machines is left out, made up, altered, sent again, or sent in another order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::SignedDuration;
use stead_admission::Environment;
use stead_model::{Digest, Object, Revision};
use stead_trust::{Authorship, Bundle, Leaf, Salt, SignedReceipt, Signer as _, SigningKey, StatementBuilder};
use stead_wire::frame::{FrameDecoder, decode, encode};
use stead_wire::{FRAME_BYTES_MAX_DOWN, PeerKey, State, ToAgent};

use crate::chance::Chance;
use crate::trace::{Fault, Trace};

/// States of one machine that are kept to be sent again.
const STATES_KEPT_MAX: usize = 8;

/// What a liar knows: its key, and everything that was ever said.
pub struct Liar {
    key: SigningKey,
    owner: stead_trust::PublicKey,
    fleet: Digest,
    environment: Environment,
    chance: Mutex<Chance>,
    said: Mutex<BTreeMap<PeerKey, Vec<State>>>,
    trace: Trace,
}

impl Liar {
    /// A coordinator with this key, in whose fleet somebody else is the owner.
    pub fn new(
        key: SigningKey,
        owner: stead_trust::PublicKey,
        fleet: Digest,
        environment: Environment,
        chance: Chance,
        trace: Trace,
    ) -> Self {
        let (chance, said) = (Mutex::new(chance), Mutex::default());
        Self { key, owner, fleet, environment, chance, said, trace }
    }

    /// What it says in one session.
    pub(crate) fn session(self: Arc<Self>, peer: PeerKey) -> Lying {
        Lying { liar: self, peer, decoder: FrameDecoder::new(FRAME_BYTES_MAX_DOWN) }
    }

    fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said instead of a state.
    fn lie(&self, peer: PeerKey, mut state: State) -> State {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = said.entry(peer).or_default();
        let honest = state.clone();
        let lie = self.chance().below(7);
        let told = match lie {
            0 if !state.bundles.is_empty() => {
                let gone = self.place(state.bundles.len());
                state.bundles.remove(gone);
                Some(Fault::LieWithheld)
            }
            1 => self.forged(&mut state).then_some(Fault::LieForged),
            2 if !state.bundles.is_empty() => self.altered(&mut state).then_some(Fault::LieAltered),
            3 => self.chance().pick(said).cloned().map(|older| {
                state = older;
                Fault::LieReplayed
            }),
            4 if !said.is_empty() => {
                // Everything that was ever sent, as if it were new.
                let older = said.iter().rev().flat_map(|state| state.bundles.iter().cloned());
                state.bundles.extend(older);
                Some(Fault::LieReplayed)
            }
            5 => {
                // What is new first, and what came before it after it.
                state.bundles.reverse();
                let older = said.last().map(|state| state.bundles.clone()).unwrap_or_default();
                state.bundles.extend(older);
                (state.bundles.len() > 1).then_some(Fault::LieReordered)
            }
            6 if state.revision > 0 => {
                state.full = true;
                let keep = self.place(state.bundles.len().saturating_add(1));
                state.bundles.truncate(keep);
                Some(Fault::LieOmitted)
            }
            _ => None,
        };
        said.push(honest);
        if said.len() > STATES_KEPT_MAX {
            said.remove(0);
        }
        if let Some(fault) = told {
            self.trace.fault(fault);
            self.trace.note(format_args!("a lie: {fault}"));
        }
        state
    }

    fn place(&self, bound: usize) -> usize {
        usize::try_from(self.chance().below(bound as u64)).unwrap_or(0)
    }

    /// Adds a change of a profile that no owner signed: in the owner's name, or in its own.
    fn forged(&self, state: &mut State) -> bool {
        let now = self.environment.now();
        let (in_owners_name, sequence, number) = {
            let mut chance = self.chance();
            (chance.permille(500), chance.between(1, 12), chance.below(3))
        };
        let author = if in_owners_name {
            Authorship::Person { author: self.owner.clone() }
        } else {
            Authorship::Online { signer: self.key.public_key().clone(), requested_by: "somebody".to_owned() }
        };
        let spec = serde_json::json!({"selector": {}, "files": [{"path": "/forged", "content": "forged"}]});
        let name = format!("profile-{number}");
        let object =
            serde_json::json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": name}, "spec": spec});
        let Ok(object) = serde_json::from_value::<Object>(object) else { return false };
        let later = now.checked_add(SignedDuration::from_hours(1)).unwrap_or(now);
        let mut builder = StatementBuilder::new(self.fleet, &self.environment.new_id(), now, later, "forged", author);
        if builder.put(&object, sequence, Salt::from_bytes([7; 32])).is_err() {
            return false;
        }
        let Some(submission) = builder.build().ok().and_then(|built| built.sign(&[&self.key]).ok()) else { return false };
        let (digest, revision) = (submission.statement.digest(), Revision(state.revision));
        let Ok(receipt) = SignedReceipt::sign(self.fleet, digest, revision, now, &self.key) else { return false };
        let bundle = Bundle::assemble(&submission, &submission.tree(), &[0], &receipt);
        let Some(bytes) = bundle.ok().and_then(|bundle| bundle.to_bytes().ok()) else { return false };
        state.bundles.push(Bytes::from(bytes));
        true
    }

    /// Alters one bundle: a byte of it, its object, its sequence, or its receipt.
    fn altered(&self, state: &mut State) -> bool {
        let place = self.place(state.bundles.len());
        let Some(bytes) = state.bundles.get_mut(place) else { return false };
        let Ok(mut bundle) = Bundle::from_bytes(bytes) else { return false };
        let what = self.chance().below(5);
        let flipped = self.place(bytes.len());
        let Some(entry) = bundle.entries.first_mut() else { return false };
        match what {
            0 => {
                let mut raw = bytes.to_vec();
                raw.iter_mut().skip(flipped).take(1).for_each(|byte| *byte ^= 1);
                *bytes = Bytes::from(raw);
                return true;
            }
            1 => {
                let text = entry.object.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                entry.object = Some(text.replace("content", "CONTENT").into_bytes());
            }
            2 => {
                let Ok(mut leaf) = Leaf::from_bytes(&entry.leaf) else { return false };
                leaf.sequence = leaf.sequence.saturating_add(1);
                entry.leaf = leaf.to_bytes().unwrap_or_default();
            }
            3 => entry.proof = vec![[9; 32]],
            _ => {
                let (digest, now) = (Digest::of(&bundle.statement), self.environment.now());
                let Ok(receipt) = SignedReceipt::sign(self.fleet, digest, Revision(1), now, &SigningKey::from_seed(&[66; 32]))
                else {
                    return false;
                };
                (bundle.receipt, bundle.receipt_signature) = (receipt.document, receipt.signature);
            }
        }
        let Ok(altered) = bundle.to_bytes() else { return false };
        *bytes = Bytes::from(altered);
        true
    }
}

/// One session of a liar.
pub(crate) struct Lying {
    liar: Arc<Liar>,
    peer: PeerKey,
    decoder: FrameDecoder,
}

impl Lying {
    /// What is sent instead of these bytes. Messages that are no states pass.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> Vec<Bytes> {
        self.decoder.buffer_mut().extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Ok(Some(payload)) = self.decoder.next_payload() {
            let message = match decode::<ToAgent>(&payload) {
                Ok(ToAgent::State(state)) => ToAgent::State(self.liar.lie(self.peer, state)),
                Ok(message) => message,
                Err(_) => continue,
            };
            frames.extend(encode(&message, FRAME_BYTES_MAX_DOWN));
        }
        frames
    }
}
