//! What the machine says of itself: its status, its signed acknowledgements, and the events worth telling.

use bytes::Bytes;
use jiff::Timestamp;
use stead_model::{Acknowledgement, Digest, ObjectKey};
use stead_trust::{Ack, Outcome, SignedAck};
use stead_unit::{Report, UnitState};
use stead_wire::Transport;

use super::{Agent, AgentError, News};
use crate::memory::Keeper;
use crate::status;

impl<K: Keeper, T: Transport> Agent<K, T> {
    /// The converger has news: acknowledge what is settled, tell of trouble, and say how things stand.
    pub(super) async fn report_changed(&mut self) -> Result<(), AgentError> {
        let report = self.converger.report().borrow().clone();
        self.metrics.count(&report);
        let acknowledged = self.acknowledge(&report).await?;
        self.tell_trouble(&report).await;
        self.hand_status(acknowledged).await
    }

    /// Says whether there was anything to acknowledge.
    async fn acknowledge(&mut self, report: &Report) -> Result<bool, AgentError> {
        let Some(memory) = &self.memory else { return Ok(false) };
        let none = std::collections::BTreeSet::new();
        let mut settled = Vec::new();
        for (key, held) in memory.entries() {
            let object = key.to_string();
            let wanted =
                self.wanted.get(&key.name).filter(|(sequence, _)| *sequence == held.sequence).map_or(&none, |(_, units)| units);
            let outcome = if key.kind.kind() == "Profile" && self.swept {
                status::outcome(&object, held.sequence, wanted, report)
            } else if key.kind.kind() == "Machine" {
                Some((Outcome::Applied, String::new()))
            } else {
                None
            };
            let Some((outcome, detail)) = outcome else { continue };
            let word = self.acknowledgements.get(key).map(|word| (word.sequence, word.outcome.as_str()));
            if word != Some((held.sequence, outcome_word(outcome))) {
                settled.push((key.clone(), held.sequence, held.statement, outcome, detail));
            }
        }
        let any = !settled.is_empty();
        for (key, sequence, statement, outcome, detail) in settled {
            self.sign(key, sequence, statement, outcome, detail).await?;
        }
        Ok(any)
    }

    async fn sign(
        &mut self,
        key: ObjectKey,
        sequence: u64,
        statement: Digest,
        outcome: Outcome,
        detail: String,
    ) -> Result<(), AgentError> {
        let machine = self.key.machine_key()?;
        let Some(memory) = &mut self.memory else { return Ok(()) };
        let ack = Ack {
            fleet: *memory.fleet(),
            time: self.world.now(),
            machine,
            statement,
            object: key.clone(),
            object_sequence: sequence,
            outcome,
            detail,
            sequence: memory.next_ack_sequence(),
        };
        if let Err(error) = self.store.write(&News { row: Some(memory.row()), ..News::default() }).await {
            // Its sequence could come again after a restart, so it is not said before it is written.
            self.memory_failed(&error).await;
            return Ok(());
        }
        let signed = match SignedAck::sign(&ack, &self.key) {
            Ok(signed) => signed,
            Err(error) => {
                tracing::error!(%error, object = %key, "an acknowledgement could not be signed");
                return Ok(());
            }
        };
        self.metrics.acknowledgements.inc();
        let change = self.origins.of(&key.to_string());
        let span = tracing::info_span!("acknowledge", %change, object = %key, outcome = outcome_word(outcome));
        span.in_scope(|| tracing::info!(sequence, detail = %ack.detail, "acknowledged"));
        let word = Acknowledgement {
            object: key.to_string(),
            sequence,
            statement,
            outcome: outcome_word(outcome).to_owned(),
            document: String::from_utf8_lossy(&signed.document).into_owned(),
            signature: signed.signature.to_armor(),
        };
        self.acknowledgements.insert(key, word);
        Ok(())
    }

    /// One event for each unit that gets into trouble, or into other trouble; and one when it is out of it.
    async fn tell_trouble(&mut self, report: &Report) {
        let mut news = Vec::new();
        for (id, unit) in &report.units {
            let trouble = match &unit.state {
                UnitState::Failed { reason, .. } => Some(("UnitFailed", reason)),
                UnitState::Conflict { reason } => Some(("Conflict", reason)),
                UnitState::Kept { reason } => Some(("Kept", reason)),
                _ => None,
            };
            match (trouble, self.troubles_told.get(id)) {
                (Some((_, reason)), Some(told)) if told == reason => {}
                (Some((word, reason)), _) => {
                    self.troubles_told.insert(id.clone(), reason.clone());
                    news.push((true, word, format!("{id}: {reason}")));
                }
                (None, Some(_)) if unit.state == UnitState::Converged => {
                    self.troubles_told.remove(id);
                    news.push((false, "UnitRecovered", format!("{id} is as it should be again")));
                }
                (None, _) => {}
            }
        }
        self.troubles_told.retain(|id, _| report.units.contains_key(id));
        for (warning, reason, message) in news {
            self.tell_event(warning, reason, message, None).await;
        }
    }

    /// Hands the whole status to the connection; the latest wins there.
    pub(super) async fn tell_status(&mut self) -> Result<(), AgentError> {
        self.hand_status(false).await
    }

    async fn hand_status(&mut self, urgent: bool) -> Result<(), AgentError> {
        let report = self.converger.report().borrow().clone();
        self.status.units = status::units(&report);
        let now = whole_second(self.world.now());
        status::conditions(&mut self.status.conditions, &report, &self.concerns, now);
        if let Some(freshness) = self.judge_freshness() {
            status::freshness(&mut self.status.conditions, &freshness, now);
        }
        self.status.facts = Some(self.facts.clone());
        self.status.vitals.clone_from(&self.vitals);
        self.status.revision = Some(self.standing.revision);
        self.acknowledgements.retain(|key, _| self.memory.as_ref().is_some_and(|memory| memory.held(key).is_some()));
        self.status.acknowledgements = self.acknowledgements.values().cloned().collect();
        self.told.send_modify(|told| told.status.clone_from(&self.status));
        let Ok(body) = status::encode(self.status.clone()) else { return Ok(()) };
        let body = Bytes::from(body);
        let handed = if urgent { self.connection.set_urgent_status(body).await } else { self.connection.set_status(body).await };
        match handed {
            Ok(()) => Ok(()),
            Err(error @ stead_wire::PushError::Oversized { .. }) => {
                tracing::error!(%error, "the status is too long to be sent");
                Ok(())
            }
            Err(stead_wire::PushError::Stopped(_)) => Err(AgentError::Ended("the connection")),
        }
    }
}

const fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "Applied",
        Outcome::Failed => "Failed",
        Outcome::Refused => "Refused",
    }
}

fn whole_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
