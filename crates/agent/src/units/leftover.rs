//! A unit that an earlier process left and nobody wishes for any more: all that is known of it is what was saved.

use std::sync::Arc;

use stead_unit::{Direction, Removal, Unit, UnitId};
use tokio_util::sync::CancellationToken;

use super::place::{self, Current, Step};
use super::{UnitError, Workshop, on_disk, withdrawal};
use crate::host::HostPath;

/// A path that is to be put back. Only ever wished for as absent.
#[derive(Debug)]
pub(super) struct LeftoverPlace {
    id: UnitId,
    path: HostPath,
    workshop: Arc<Workshop>,
}

impl LeftoverPlace {
    pub(super) fn new(id: UnitId, path: HostPath, workshop: Arc<Workshop>) -> Self {
        Self { id, path, workshop }
    }
}

impl Unit for LeftoverPlace {
    type Desired = HostPath;
    type Current = Current;
    type Step = Step;
    type Error = UnitError;

    fn id(&self) -> &UnitId {
        &self.id
    }

    fn desired(&self) -> &HostPath {
        &self.path
    }

    async fn observe(&self, _direction: Direction) -> Result<Current, UnitError> {
        let (workshop, id, path) = (Arc::clone(&self.workshop), self.id.clone(), self.path.clone());
        on_disk(move || place::look(&workshop, &id, &path)).await
    }

    fn plan(_path: &HostPath, _current: &Current) -> Result<Vec<Step>, UnitError> {
        Ok(Vec::new())
    }

    fn plan_removal(path: &HostPath, current: &Current) -> Removal<Step> {
        withdrawal::plan(path, current)
    }

    async fn act(&self, step: &Step, _cancel: &CancellationToken) -> Result<(), UnitError> {
        let (workshop, id, step) = (Arc::clone(&self.workshop), self.id.clone(), step.clone());
        on_disk(move || place::act(&workshop, &id, &step)).await
    }
}
