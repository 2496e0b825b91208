//! What comes from one machine, on its way into the record: what is wanted of it, asked for, judged and taken in.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use stead_admission::RecoveryError;
use stead_model::{Digest, ObjectKey};
use stead_store::Snapshot;
use stead_trust::{Bundle, HeldLine, Leaf, SignedRoot};

use super::asking::{Asking, AskingError};
use super::outcome::{Note, Outcome};
use crate::act::{Shared, sessions};

/// Names that one machine may hold: above what an honest one ever does.
pub const GIVE_BACK_LINES_MAX: usize = 65_536;
/// Statements of the record that are remembered, so that ten thousand machines with the same profile cost one look.
const STATEMENTS_KEPT_MAX: usize = 65_536;

/// The statements that the record's newest sequences come from, as far as somebody asked.
#[derive(Debug, Default)]
pub(crate) struct Statements(BTreeMap<ObjectKey, (u64, Digest)>);

/// What comes from one machine on its way into the record.
pub(super) struct Receiving<'a> {
    pub(super) shared: &'a Arc<Shared>,
    /// The machine's name.
    pub(super) name: &'a str,
    /// The record that it is asked for, by its incarnation.
    pub(super) record: &'a str,
    /// What has come and has not been noted yet.
    pub(super) outcome: Outcome,
}

impl Receiving<'_> {
    /// Asks for all that the record lacks, page by page.
    pub(super) async fn all(&mut self, asking: &Asking<'_>) -> Result<(), AskingError> {
        let (mut after, mut lines) = (None, 0_usize);
        loop {
            let page = asking.held(after.as_ref()).await?;
            if after.is_none() {
                self.roots(asking, page.root_version).await?;
            }
            lines = lines.saturating_add(page.lines.len());
            // Only forwards: a machine that names the same again and again gets no further.
            let last = page.lines.last().map(|line| line.key.clone()).filter(|last| Some(last) > after.as_ref());
            let wanted = self.wanted(page.lines).await?;
            self.bundles(asking, wanted).await?;
            let Some(last) = last.filter(|_| page.more && lines < GIVE_BACK_LINES_MAX) else { return Ok(()) };
            after = Some(last);
        }
    }

    /// Notes what has come until now: a coordinator that ends here leaves nothing unsaid. `unfinished` says why there may be more.
    pub(super) fn note(&mut self, unfinished: Option<String>) {
        let given = self.outcome.take(self.record, self.shared.now(), unfinished);
        sessions::tell(self.shared, |news| news.given_back(self.name, given));
    }

    async fn roots(&mut self, asking: &Asking<'_>, there: u64) -> Result<(), AskingError> {
        loop {
            let here = self.shared.admission.chain().newest().version;
            if there <= here {
                return Ok(());
            }
            let documents = asking.roots(here).await?;
            let roots: Vec<SignedRoot> = documents.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect();
            match self.shared.admission.recover_roots(&roots).await {
                // What a machine claims to hold and does not give is not waited for.
                Ok(0) => return Ok(()),
                Ok(taken) => drop(self.shared.give_back_metrics.roots.inc_by(taken)),
                Err(error) => return self.refused(&error, None),
            }
        }
    }

    /// What the record lacks, or has otherwise: told by numbers and digests, before anything is asked for or verified.
    async fn wanted(&self, lines: Vec<HeldLine>) -> Result<Vec<HeldLine>, AskingError> {
        let snapshot = self.shared.admission.store().snapshot();
        let sequence = |key: &ObjectKey| snapshot.sequence(key).map_or(0, |sequence| sequence.sequence);
        let (mut above, same): (Vec<_>, Vec<_>) = lines
            .into_iter()
            .filter(|line| line.sequence >= sequence(&line.key))
            .partition(|line| line.sequence > sequence(&line.key));
        let statements = self.statements(&snapshot, &same).await?;
        let differs = |line: &HeldLine| statements.get(&line.key).is_some_and(|digest| *digest.as_bytes() != line.statement);
        above.extend(same.into_iter().filter(differs));
        // Entries of one statement go together into the record.
        above.sort_by_key(|line| line.statement);
        Ok(above)
    }

    /// The statements of the record's newest sequences of these names.
    async fn statements(&self, snapshot: &Snapshot, lines: &[HeldLine]) -> Result<BTreeMap<ObjectKey, Digest>, AskingError> {
        let (mut found, mut missing) = (BTreeMap::new(), Vec::new());
        {
            let kept = self.shared.statements.lock().unwrap_or_else(PoisonError::into_inner);
            for line in lines {
                match kept.0.get(&line.key).filter(|(sequence, _)| *sequence == line.sequence) {
                    Some((_, digest)) => drop(found.insert(line.key.clone(), *digest)),
                    None if snapshot.sequence(&line.key).is_some() => missing.push(line.key.clone()),
                    None => {}
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let rows = self.shared.admission.store().newest_entries(missing).await;
        let rows = rows.map_err(|error| AskingError::Record(error.to_string()))?;
        let mut kept = self.shared.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0.len() > STATEMENTS_KEPT_MAX {
            kept.0.clear();
        }
        for (change, entry) in rows {
            let digest = Digest::of(&change.statement);
            kept.0.insert(entry.key.clone(), (entry.sequence, digest));
            found.insert(entry.key, digest);
        }
        Ok(found)
    }

    async fn bundles(&mut self, asking: &Asking<'_>, wanted: Vec<HeldLine>) -> Result<(), AskingError> {
        let mut rest: Vec<ObjectKey> = wanted.into_iter().map(|line| line.key).collect();
        while !rest.is_empty() {
            let asked: Vec<ObjectKey> = rest.iter().take(stead_trust::GIVE_BACK_NAMES_MAX).cloned().collect();
            let documents = asking.bundles(asked).await?;
            if documents.is_empty() {
                return Ok(());
            }
            rest.drain(..documents.len().min(rest.len()));
            self.take_in(documents).await?;
            if !self.outcome.is_empty() {
                self.note(Some("not all that it holds has come yet".to_owned()));
            }
        }
        Ok(())
    }

    async fn take_in(&mut self, documents: Vec<Vec<u8>>) -> Result<(), AskingError> {
        let mut bundles: Vec<Bundle> = Vec::new();
        for bytes in documents.iter().filter(|bytes| !bytes.is_empty()) {
            match Bundle::from_bytes(bytes) {
                Ok(bundle) => join(&mut bundles, bundle),
                Err(error) => {
                    self.shared.give_back_metrics.refused("Format");
                    self.outcome.list(Note { reason: "Format", message: &error.to_string(), ..Note::default() });
                }
            }
        }
        for bundle in bundles {
            self.outcome.statements = self.outcome.statements.saturating_add(1);
            self.shared.give_back_metrics.given.inc();
            self.take_in_one(bundle).await?;
        }
        Ok(())
    }

    /// One entry that does not hold must not keep out those beside it.
    async fn take_in_one(&mut self, bundle: Bundle) -> Result<(), AskingError> {
        let Err(error) = self.recover(&bundle).await else { return Ok(()) };
        if bundle.entries.len() <= 1 || matches!(error, RecoveryError::Record(_)) {
            return self.refused(&error, Some(&bundle));
        }
        for entry in &bundle.entries {
            let alone = Bundle { entries: vec![entry.clone()], ..bundle.clone() };
            if let Err(error) = self.recover(&alone).await {
                self.refused(&error, Some(&alone))?;
            }
        }
        Ok(())
    }

    async fn recover(&mut self, bundle: &Bundle) -> Result<(), RecoveryError> {
        let recovery = self.shared.admission.recover(bundle).await?;
        let metrics = &self.shared.give_back_metrics;
        let taken = recovery.taken.len() as u64;
        self.outcome.objects = self.outcome.objects.saturating_add(taken);
        metrics.imported.inc_by(taken);
        for clash in &recovery.conflicts {
            metrics.conflicts.inc();
            let message = format!(
                "sequence {} was signed anew in change {}, and this machine holds change {} with the same number, so that it will not take \
                 the new one; sign it again",
                clash.sequence,
                clash.record_change.to_ascii_lowercase(),
                recovery.change.to_ascii_lowercase()
            );
            self.outcome.list(Note {
                object: Some(&clash.key),
                change: &recovery.change,
                sequence: Some(clash.sequence),
                reason: "Conflict",
                message: &message,
            });
        }
        for clash in &recovery.overtaken {
            metrics.conflicts.inc();
            let message = format!(
                "sequence {} was signed anew in change {}, and sequence {} came back over it; sign it again if it is still wanted",
                clash.record_sequence,
                clash.record_change.to_ascii_lowercase(),
                clash.sequence
            );
            self.outcome.list(Note {
                object: Some(&clash.key),
                change: &recovery.change,
                sequence: Some(clash.sequence),
                reason: "Overtaken",
                message: &message,
            });
        }
        Ok(())
    }

    /// `bundle` is what did not hold, where it was one.
    fn refused(&mut self, error: &RecoveryError, bundle: Option<&Bundle>) -> Result<(), AskingError> {
        if let RecoveryError::Record(error) = error {
            return Err(AskingError::Record(error.to_string()));
        }
        self.shared.give_back_metrics.refused(error.reason());
        let statement = bundle.and_then(|bundle| stead_trust::ChangeStatement::from_document(&bundle.statement).ok());
        let leaves = bundle.into_iter().flat_map(|bundle| &bundle.entries).filter_map(|entry| Leaf::from_bytes(&entry.leaf).ok());
        let leaf = leaves.into_iter().find(|leaf| error.object() == Some(&leaf.key()));
        self.outcome.list(Note {
            object: error.object(),
            change: statement.as_ref().map_or("", |statement| statement.id.as_str()),
            sequence: leaf.map(|leaf| leaf.sequence),
            reason: error.reason(),
            message: &error.to_string(),
        });
        Ok(())
    }
}

/// Puts entries of one statement together.
fn join(bundles: &mut Vec<Bundle>, bundle: Bundle) {
    let same = |other: &&mut Bundle| {
        other.statement == bundle.statement && other.signatures == bundle.signatures && other.receipt == bundle.receipt
    };
    match bundles.iter_mut().find(same) {
        Some(other) => other.entries.extend(bundle.entries),
        None => bundles.push(bundle),
    }
}
