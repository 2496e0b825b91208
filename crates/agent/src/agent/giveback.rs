//! What the machine gives back to a coordinator whose record knows less than it, and what it shows to one that does not know it at all.

use bytes::Bytes;
use stead_model::{GroupKind, ObjectKey};
use stead_trust::{Credential, GiveBackAsk, GiveBackError};
use stead_wire::Transport;

use super::{Agent, AgentError};
use crate::memory::Keeper;

impl<K: Keeper, T: Transport> Agent<K, T> {
    /// The answer to a question for what is held; none where it is another question. Only what a coordinator of the fleet sent before is
    /// given, and nothing is changed by it.
    pub(super) fn give_back(&self, body: &[u8]) -> Option<Vec<u8>> {
        let memory = self.memory.as_ref()?;
        match GiveBackAsk::from_bytes(body) {
            Ok(ask) => {
                self.metrics.give_back_answers.inc();
                tracing::debug!(?ask, "asked for what is held");
                ask.answer(memory).to_bytes().ok()
            }
            Err(GiveBackError::Unknown) => None,
            Err(error) => {
                tracing::warn!(%error, "a question for what is held cannot be answered");
                None
            }
        }
    }

    /// Keeps ready what shows that owners let this machine in: a record restored from a backup that is older than that does not know it.
    pub(super) async fn show_papers(&mut self) -> Result<(), AgentError> {
        let Some(memory) = &self.memory else { return Ok(()) };
        let Some(name) = memory.machine() else { return Ok(()) };
        let own = memory.held(&ObjectKey::new(GroupKind::new(stead_model::GROUP, "Machine"), "", name));
        let made_of = own.map(|held| (held.sequence, memory.roots().newest().version));
        if made_of == self.shown {
            return Ok(());
        }
        self.shown = made_of;
        let papers = Credential::of(memory).and_then(|papers| papers.to_bytes().ok()).map(Bytes::from);
        if let (Some(papers), Some(join)) = (papers, &mut self.config.join) {
            join.delegated = Some(papers);
            let join = join.clone();
            self.connection.set_join(join).await.map_err(|_| AgentError::Ended("the connection"))?;
        }
        Ok(())
    }
}
