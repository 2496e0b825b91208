//! The unit kind `link`: a symbolic link at a path. What it points at need not be there.

use super::UnitError;
use super::place::{Current, Place, Step};
use crate::host::{HostPath, Thing};

/// A symbolic link that should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkDesired {
    /// Where.
    pub path: HostPath,
    /// What it points at.
    pub target: String,
}

impl Place for LinkDesired {
    const KIND: &'static str = "link";

    fn path(&self) -> &HostPath {
        &self.path
    }

    fn owners(&self) -> Option<(Option<&str>, Option<&str>)> {
        None
    }

    fn plan(&self, current: &Current) -> Result<Vec<Step>, UnitError> {
        match &current.thing {
            Thing::Link { target } if *target == self.target => Ok(Vec::new()),
            Thing::Absent | Thing::File { .. } | Thing::Link { .. } => {
                Ok(vec![Step::Point { path: self.path.clone(), target: self.target.clone() }])
            }
            other => Err(UnitError::InTheWay { path: self.path.to_string(), what: other.to_string() }),
        }
    }
}
