//! The newest Changes as objects: read from the database once, however many watch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use stead_model::Revision;
use tokio::sync::OnceCell;

use crate::status::ApiError;

/// Revisions of which it is known what Change they are, if any: those that watchers are just being told of.
const REVISIONS_MAX: usize = 256;

/// What Change a revision is, if any.
type Known = Option<Arc<Value>>;

/// The Changes of the newest revisions that anybody asked for.
#[derive(Default)]
pub(crate) struct RecentChanges(Mutex<BTreeMap<Revision, Arc<OnceCell<Known>>>>);

impl RecentChanges {
    /// The Change of a revision; `read` is called once, and again only where it failed.
    pub(crate) async fn at<F: Future<Output = Result<Known, ApiError>>>(
        &self,
        revision: Revision,
        read: impl FnOnce() -> F,
    ) -> Result<Known, ApiError> {
        let cell = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let cell = Arc::clone(known.entry(revision).or_default());
            while known.len() > REVISIONS_MAX {
                known.pop_first();
            }
            cell
        };
        cell.get_or_try_init(read).await.cloned()
    }
}
