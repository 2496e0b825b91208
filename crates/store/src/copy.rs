//! A whole record from one database into another, empty one, whatever the engines.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use stead_model::Revision;

use crate::digest::{RecordDigest, digest, next_chunk};
use crate::engine::{Engine, EngineError, Import, Reading};
use crate::rows::{Batch, Meta};

/// Why a record was not copied, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Coordinators are at work.
    #[error("{sessions} sessions of coordinators are connected to {which}; stop the coordinators first")]
    InUse {
        /// Which of the two.
        which: &'static str,
        /// How many sessions there are.
        sessions: u64,
    },
    /// There is something in the target.
    #[error("the target holds a record already (revision {revision}, {roots} versions of a trust root); give an empty database")]
    NotEmpty {
        /// Its revision.
        revision: Revision,
        /// The versions of a trust root in it.
        roots: usize,
    },
    /// What was written is not what was read.
    #[error(
        "the copy is not the same as the source ({from} and {to}); {}",
        difference_text(*.moved)
    )]
    Differs {
        /// The source's digest.
        from: Box<RecordDigest>,
        /// The target's.
        to: Box<RecordDigest>,
        /// Whether the source has moved on since it was copied.
        moved: bool,
    },
    /// One of the two failed. Nothing is in the target then.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

const fn difference_text(moved: bool) -> &'static str {
    if moved {
        "something has written to the source meanwhile: stop it, empty the target, and copy again"
    } else {
        "do not use the copy, and report this"
    }
}

/// Tells how far a copy has come: the table, and how many of its rows are copied.
pub type CopyProgress<'p> = &'p mut (dyn FnMut(&'static str, u64) + Send);

/// Copies a whole record into an empty database, in one transaction and in bounded memory, and then reads both ends through: gives
/// back the digest that both have.
///
/// # Errors
///
/// [`CopyError`]; but for [`CopyError::Differs`] the target is as empty as it was.
pub async fn copy(from: &dyn Engine, to: &dyn Engine, progress: CopyProgress<'_>) -> Result<RecordDigest, CopyError> {
    for (which, engine) in [("the source", from), ("the target", to)] {
        let sessions = engine.others().await?;
        if sessions > 0 {
            return Err(CopyError::InUse { which, sessions });
        }
    }
    ensure_empty(to).await?;
    let mut reading = from.reading().await?;
    let copied = copy_reading(reading.as_mut(), to.import().await?, progress).await?.last;
    reading.end().await;
    progress("digest of the source", 0);
    let from = digest(from).await?;
    progress("digest of the target", 0);
    let to = digest(to).await?;
    if from == to {
        return Ok(to);
    }
    let moved = from.revision != copied;
    Err(CopyError::Differs { from: Box::new(from), to: Box::new(to), moved })
}

async fn ensure_empty(to: &dyn Engine) -> Result<(), CopyError> {
    let mut reading = to.reading().await?;
    let (revision, roots) = (reading.meta().await?.last, reading.roots_after(0).await?.len());
    reading.end().await;
    if revision == Revision(0) && roots == 0 { Ok(()) } else { Err(CopyError::NotEmpty { revision, roots }) }
}

/// Copies the record as one reading sees it, in bounded memory, and gives back what that is as a whole.
///
/// # Errors
///
/// [`EngineError`]; nothing is filled in then.
pub async fn copy_reading<'e>(
    reading: &mut dyn Reading,
    import: Box<dyn Import + 'e>,
    progress: CopyProgress<'_>,
) -> Result<Meta, EngineError> {
    let meta = reading.meta().await?;
    let mut copying = Copying { import, progress };
    copying
        .table(
            "objects",
            reading.objects(),
            |stored| stored.json().len(),
            |objects| {
                let objects = objects.into_iter().map(|stored| (stored.key(), Some(Arc::new(stored)))).collect();
                Batch { objects, ..Batch::default() }
            },
        )
        .await?;
    let size = |row: &crate::rows::HistoryRow| row.before.as_ref().map_or(0, |before| before.json().len());
    copying.table("history", reading.history_after(Revision(0)), size, |history| Batch { history, ..Batch::default() }).await?;
    let size = |change: &crate::rows::Change| change.statement.len().saturating_add(change.signatures.len());
    copying.table("changes", reading.changes(), size, |changes| Batch { changes, ..Batch::default() }).await?;
    let size = |entry: &crate::rows::Entry| entry.leaf.len().saturating_add(entry.object.as_ref().map_or(0, Vec::len));
    copying.table("entries", reading.entries(), size, |entries| Batch { entries, ..Batch::default() }).await?;
    copying
        .table("sequences", reading.sequences_after(Revision(0)), |_| 0, |sequences| Batch { sequences, ..Batch::default() })
        .await?;
    let roots = reading.roots_after(0).await?;
    copying.import.add(&Batch { roots, ..Batch::default() }).await?;
    copying.import.finish(&meta).await?;
    Ok(meta)
}

struct Copying<'e, 'p> {
    import: Box<dyn Import + 'e>,
    progress: CopyProgress<'p>,
}

impl Copying<'_, '_> {
    async fn table<T>(
        &mut self,
        table: &'static str,
        rows: BoxStream<'_, Result<T, EngineError>>,
        size: impl Fn(&T) -> usize,
        batch: impl Fn(Vec<T>) -> Batch,
    ) -> Result<(), EngineError> {
        let (mut rows, mut copied) = (rows.fuse(), 0_u64);
        loop {
            (self.progress)(table, copied);
            let chunk = next_chunk(&mut rows, &size).await?;
            if chunk.is_empty() {
                return Ok(());
            }
            copied = copied.saturating_add(chunk.len() as u64);
            self.import.add(&batch(chunk)).await?;
        }
    }
}
