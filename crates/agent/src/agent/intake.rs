//! What comes from the coordinator: judged by `trust`, written to disk, and only then obeyed.

use stead_model::{ObjectKey, registry};
use stead_trust::{AcceptedEntry, Bundle, Check, Leaf, MachineMemory, SignedRoot, adopt_roots, judge};
use stead_wire::{HELD_MAX, Held, Hello, Position, State, Transport};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::wishes::impossible;
use super::{Agent, AgentError, News, Standing, fact_labels};
use crate::memory::Keeper;
use crate::metrics::check_word;
use crate::units::Craft;

/// What a machine says that it holds.
pub(super) fn position(memory: Option<&MachineMemory>, standing: Standing) -> Position {
    let held = |(key, entry): (&ObjectKey, &stead_trust::HeldEntry)| Held {
        kind: key.kind.to_string(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        sequence: entry.sequence,
    };
    Position {
        root_version: memory.map_or(0, |memory| memory.roots().newest().version),
        incarnation: standing.incarnation,
        revision: standing.revision,
        held: memory
            .map(|memory| {
                // What is there comes first: of tombstones nothing newer is needed, but of what is there its removal is.
                let (live, gone): (Vec<_>, Vec<_>) = memory.entries().partition(|(_, entry)| entry.object.is_some());
                live.into_iter().chain(gone).take(HELD_MAX).map(held).collect()
            })
            .unwrap_or_default(),
    }
}

/// Says in a greeting what the machine holds.
pub(super) fn say_position(hello: &mut Hello, position: Position) {
    (hello.root_version, hello.incarnation, hello.revision) = (position.root_version, position.incarnation, position.revision);
    hello.held = position.held;
}

impl<K: Keeper, T: Transport> Agent<K, T> {
    /// Takes a state. One that the disk does not take waits until there is room.
    pub(super) async fn take(&mut self, state: State) -> Result<(), AgentError> {
        if self.must_wait() {
            return Ok(());
        }
        match self.take_parts(&state).await {
            Err(AgentError::Memory(error)) => self.owe_state(state, &error).await,
            result => result?,
        }
        let position = position(self.memory.as_ref(), self.standing);
        self.connection.set_position(position).await.map_err(|_| AgentError::Ended("the connection"))?;
        self.show_papers().await?;
        self.rewish().await
    }

    /// Roots first, then each bundle by itself. What is refused is told and left; what is accepted is on disk before anything is done
    /// about it.
    async fn take_parts(&mut self, state: &State) -> Result<(), AgentError> {
        if self.take_roots(state).await? {
            for bytes in &state.bundles {
                self.take_bundle(bytes, state.full).await?;
            }
        }
        if !state.complete || std::mem::take(&mut self.refused_part) {
            // What was refused was not taken: the machine does not say that it has come to this revision.
            return Ok(());
        }
        if state.full {
            self.concerns.refusals.clear();
        } else if !state.bundles.is_empty() {
            self.concerns.refusals.remove(WHOLE_CHANGE);
        }
        let standing = Standing { incarnation: state.incarnation, revision: state.revision };
        if standing != self.standing && self.memory.is_some() {
            self.store.write(&News { standing: Some(standing), ..News::default() }).await?;
            self.standing = standing;
        }
        Ok(())
    }

    /// Says whether the machine has a root chain now.
    async fn take_roots(&mut self, state: &State) -> Result<bool, AgentError> {
        let mut versions = Vec::with_capacity(state.roots.len());
        for bytes in &state.roots {
            match serde_json::from_slice::<SignedRoot>(bytes) {
                Ok(root) => versions.push(root),
                Err(error) => {
                    self.metrics.refused(check_word(Check::RootChain));
                    self.refuse("TrustRoot", format!("a version of the trust root is not well-formed: {error}"), None).await;
                    return Ok(self.memory.is_some());
                }
            }
        }
        match &mut self.memory {
            Some(memory) if !versions.is_empty() => match adopt_roots(memory, &versions) {
                Ok(adoption) if adoption.rows.is_empty() => {}
                Ok(adoption) => {
                    let mut next = memory.clone();
                    let roots = adoption.rows.clone();
                    next.install(adoption);
                    self.store.write(&News { row: Some(next.row()), roots, ..News::default() }).await?;
                    *memory = next;
                    self.concerns.refusals.remove("TrustRoot");
                }
                Err(error) => {
                    self.metrics.refused(check_word(Check::RootChain));
                    self.refuse("TrustRoot", format!("the trust root was refused: {error}"), None).await;
                }
            },
            Some(_) => {}
            None => return self.join(&versions).await,
        }
        Ok(true)
    }

    async fn join(&mut self, versions: &[SignedRoot]) -> Result<bool, AgentError> {
        let fleet = stead_model::Digest::from_bytes(self.ticket.fleet);
        let mut memory = match MachineMemory::join(&fleet, self.ticket.root_version, self.key.machine_key()?, versions) {
            Ok(memory) => memory,
            Err(error) => {
                self.metrics.refused(check_word(Check::RootChain));
                self.refuse("TrustRoot", format!("this machine does not join: {error}"), None).await;
                return Ok(false);
            }
        };
        memory.set_facts(fact_labels(&self.facts));
        self.store.write(&News { row: Some(memory.row()), roots: memory.root_rows(), ..News::default() }).await?;
        self.memory = Some(memory);
        self.tell_event(false, "Joined", format!("joined the fleet {fleet}"), None).await;
        Ok(true)
    }

    async fn take_bundle(&mut self, bytes: &[u8], full: bool) -> Result<(), AgentError> {
        let Some(memory) = &mut self.memory else { return Ok(()) };
        let bundle = match Bundle::from_bytes(bytes) {
            Ok(bundle) => bundle,
            Err(error) => {
                self.metrics.refused(check_word(Check::Format));
                self.refuse(WHOLE_CHANGE, format!("a Change was refused: it is not well-formed: {error}"), None).await;
                return Ok(());
            }
        };
        let span = tracing::info_span!("judge", change = Empty, outcome = Empty);
        let judged = span.in_scope(|| judge(memory, &bundle));
        let change = judged.as_ref().ok().and_then(|accepted| accepted.first()).map(|entry| entry.change.clone());
        span.record("change", change.as_deref().unwrap_or_default());
        span.record("outcome", if judged.is_ok() { "Verified" } else { "Refused" });
        let accepted = match judged {
            Ok(accepted) => accepted,
            // A record that was restored sends all that it has. What is newer here stays, and is given back where it is asked for.
            Err(refusal) if full && refusal.check == Check::Sequence && is_older(memory, &bundle) => {
                self.metrics.older_passed_over.inc();
                tracing::info!(%refusal, "passed over; what this machine holds is newer than the record");
                return Ok(());
            }
            Err(refusal) => {
                self.metrics.refused(check_word(refusal.check));
                let subject = refusal.object.as_ref().map_or_else(|| WHOLE_CHANGE.to_owned(), ToString::to_string);
                self.refuse(&subject, refusal.to_string(), refusal.object).await;
                return Ok(());
            }
        };
        let craft = self.craft.as_ref();
        if let Some((key, reason)) = accepted.iter().find_map(|entry| ill_formed(craft, entry)) {
            self.metrics.refused("feasibility");
            self.refuse(&key.to_string(), format!("{key} was refused: {reason}"), Some(key)).await;
            return Ok(());
        }
        for key in bundle.entries.iter().filter_map(|entry| Leaf::from_bytes(&entry.leaf).ok()).map(|leaf| leaf.key()) {
            self.concerns.refusals.remove(&key.to_string());
        }
        if accepted.is_empty() {
            return Ok(());
        }
        let mut next = memory.clone();
        let (row, statement, entries) = next.accept(&bundle, &accepted);
        let news = News { row: Some(row), statements: statement.into_iter().collect(), entries, ..News::default() };
        let span = tracing::info_span!("remember", change);
        self.store.write(&news).instrument(span).await?;
        *memory = next;
        self.metrics.accepted.inc_by(accepted.len() as u64);
        for AcceptedEntry { key, sequence, revision, change, .. } in &accepted {
            tracing::info!(change, object = %key, sequence, revision = revision.0, "accepted");
        }
        Ok(())
    }

    /// The machine keeps the state that it had, and says why.
    async fn refuse(&mut self, subject: &str, message: String, object: Option<ObjectKey>) {
        self.refused_part = true;
        let refusals = &mut self.concerns.refusals;
        let room = refusals.len() < REFUSALS_MAX || refusals.contains_key(subject);
        let (subject, message, object) = if room {
            (subject, message, object)
        } else {
            (OTHERS, format!("more than {REFUSALS_MAX} others were refused"), None)
        };
        if refusals.insert(subject.to_owned(), message.clone()).as_ref() != Some(&message) {
            self.tell_event(true, "Refused", message, object).await;
        }
    }
}

/// Whether all of a bundle is older than what is held.
fn is_older(memory: &MachineMemory, bundle: &Bundle) -> bool {
    let older = |leaf: Leaf| memory.held(&leaf.key()).is_some_and(|held| leaf.sequence < held.sequence);
    bundle.entries.iter().all(|entry| Leaf::from_bytes(&entry.leaf).is_ok_and(older))
}

/// The subject of a refusal that is about no single object.
const WHOLE_CHANGE: &str = "a Change";
/// Refusals that are kept apart at most: their subjects are whatever a coordinator made up.
const REFUSALS_MAX: usize = 64;
/// The subject of those past the limit.
const OTHERS: &str = "others";

/// What owners signed is verified by now; it must also be something that this version of the agent understands and can be.
fn ill_formed(craft: &dyn Craft, entry: &AcceptedEntry) -> Option<(ObjectKey, String)> {
    let object = entry.object.as_ref()?;
    let Some(info) = registry().by_group_kind(&entry.key.kind) else {
        return Some((entry.key.clone(), "this version of the agent does not know the kind".to_owned()));
    };
    let value = match serde_json::to_value(object) {
        Ok(value) => value,
        Err(error) => return Some((entry.key.clone(), error.to_string())),
    };
    let fault = info.parse(value).err().map(|error| error.to_string());
    let fault =
        fault.or_else(|| if entry.key.kind.kind() == "Profile" { impossible(craft, &entry.key.name, object) } else { None });
    fault.map(|fault| (entry.key.clone(), fault))
}
