//! The history in the database, for watches that memory has left behind: page by page, a few of them at once.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::engine::{Engine, EngineError};
use crate::rows::{Steps, StepsWanted};

/// Steps of one page: some milliseconds of the database's time.
pub const HISTORY_PAGE_STEPS_MAX: usize = 500;
/// Bytes of objects, before and after, at which a page ends before it has so many steps: what waits in memory for a slow watch.
pub const HISTORY_PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Pages that are read from the database at once; the next ones wait. Half of its connections are left for Changes and their entries.
pub const HISTORY_PAGES_AT_ONCE_MAX: usize = 2;

/// How much is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageLimits {
    pub(crate) steps_max: usize,
    pub(crate) bytes_max: usize,
}

impl PageLimits {
    /// A page has room for something, whatever was asked for: one without steps would pass for the end of the history.
    pub(crate) fn new(steps_max: usize, bytes_max: usize) -> Self {
        Self { steps_max: steps_max.max(1), bytes_max: bytes_max.max(1) }
    }
}

/// The history, as all watches of a store share it.
pub(crate) struct History {
    engine: Arc<dyn Engine>,
    pages: Semaphore,
    pub(crate) limits: PageLimits,
}

impl History {
    pub(crate) fn new(engine: Arc<dyn Engine>, limits: PageLimits) -> Self {
        Self { engine, pages: Semaphore::new(HISTORY_PAGES_AT_ONCE_MAX), limits }
    }

    /// A page, once it is its turn.
    pub(crate) async fn page(&self, wanted: &StepsWanted) -> Result<Steps, EngineError> {
        // Nobody closes it.
        let _turn = self.pages.acquire().await.map_err(|_| EngineError::Closed)?;
        self.engine.steps(wanted).await
    }
}
