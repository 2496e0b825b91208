//! Which key the machine is, and which one it is to be. What its memory says counts: the two files beside it follow.

use std::path::Path;
use std::time::Duration;

use stead_model::{NextKey, RotationEvidence};
use stead_trust::{KeyRotation, MachineMemory, NEXT_KEY_ASK, SigningKey, sign_rotation};
use stead_wire::Transport;

use super::{Agent, AgentError, Ended};
use crate::keys::Keys;
use crate::memory::Keeper;

/// How long, in seconds, an agent waits at first before it speaks with its other key again: where both are refused, owners have to act.
const OTHER_KEY_SECONDS: u64 = 2;
/// How often that doubles: up to about a quarter of an hour.
const OTHER_KEY_DOUBLINGS_MAX: u32 = 9;

/// Which of its keys an agent speaks with.
#[derive(Debug, Default)]
pub(super) struct Speaking {
    changes: u32,
}

impl Speaking {
    /// Whether it is the one that was made ready.
    pub(super) const fn as_next(&self) -> bool {
        self.changes % 2 == 1
    }

    /// The other one, after this pause. The first time there is none.
    pub(super) fn other(&mut self) -> Duration {
        let again = self.changes;
        self.changes = self.changes.saturating_add(1);
        if again == 0 { Duration::ZERO } else { Duration::from_secs(OTHER_KEY_SECONDS << again.min(OTHER_KEY_DOUBLINGS_MAX)) }
    }
}

/// The key that the machine has, and the one that it has made ready. Where the memory has changed to that one already, the files follow.
pub(super) fn keys(
    keys: &dyn Keys,
    memory: Option<&MachineMemory>,
    state_dir: &Path,
) -> Result<(SigningKey, Option<SigningKey>), AgentError> {
    let (key, next) = (keys.current().map_err(AgentError::Keys)?, keys.next().map_err(AgentError::Keys)?);
    let Some(memory) = memory else { return Ok((key, next)) };
    let (has, given) = (*memory.key(), key.machine_key()?);
    if has == given {
        return Ok((key, next));
    }
    match next {
        Some(next) if next.machine_key()? == has => {
            if let Err(error) = keys.adopt_next() {
                tracing::error!(
                    error,
                    "the machine's new key counts, and could not take the old one's place on disk; it is tried again"
                );
            }
            Ok((next, None))
        }
        _ => Err(AgentError::OtherKey { has, given, state_dir: state_dir.to_owned() }),
    }
}

impl<K: Keeper, T: Transport> Agent<K, T> {
    /// A coordinator refuses the machine. Where it has another key, that may be the one that counts.
    pub(super) fn refused(&mut self) {
        if self.dormant {
            self.ended = Some(Ended::Dormant);
        } else if self.keys.next.is_some() && self.memory.is_some() {
            self.ended = Some(Ended::OtherKey);
        }
    }

    /// What was accepted may have made the machine another one: one with its new key, or one that is out of service, or in service again.
    pub(super) fn look_at_itself(&mut self) -> Result<(), AgentError> {
        let Some(memory) = &self.memory else { return Ok(()) };
        let changed = *memory.key() != self.key.machine_key()?;
        if changed {
            tracing::info!(key = %memory.key(), "this machine has its new key");
        }
        if changed || memory.is_decommissioned() != self.dormant {
            self.ended = Some(Ended::Anew);
        }
        Ok(())
    }

    /// The answer to a question for the machine's next key; none where it is another question.
    pub(super) fn next_key(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        if body != NEXT_KEY_ASK {
            return None;
        }
        let answer = match self.ask_for_next_key() {
            Ok(rotation) => NextKey { rotation: Some(rotation), error: None },
            Err(error) => NextKey { rotation: None, error: Some(error) },
        };
        serde_json::to_vec(&answer).ok()
    }

    fn ask_for_next_key(&mut self) -> Result<RotationEvidence, String> {
        let time = self.world.now();
        let memory = self.memory.as_mut().ok_or("this machine has not joined yet")?;
        let name = memory.machine().ok_or("this machine does not know its own name yet")?.to_owned();
        let next = self.keys.make_next()?;
        let key = |key: &SigningKey| key.machine_key().map_err(|error| error.to_string());
        let rotation = KeyRotation { fleet: *memory.fleet(), time, name, machine: key(&self.key)?, next: key(next)? };
        memory.set_next_key(Some(rotation.next));
        tracing::info!(next = %rotation.next, "asked owners for a new key");
        sign_rotation(&rotation, &self.key, next).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_key_is_tried_at_once_and_then_ever_more_rarely() {
        let mut speaking = Speaking::default();
        assert!(!speaking.as_next());
        let mut pauses = Vec::new();
        for turn in 0..20 {
            pauses.push(speaking.other().as_secs());
            assert_eq!(speaking.as_next(), turn % 2 == 0);
        }
        assert_eq!(&pauses[..4], [0, 4, 8, 16]);
        assert_eq!(pauses.last(), Some(&1_024));
    }
}
