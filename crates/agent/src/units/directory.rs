//! The unit kind `directory`: mode and owner of a directory. What is in it is the business of others.

use super::UnitError;
use super::place::{Current, Place, Step};
use crate::host::{HostPath, Thing};

/// A directory that should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DirectoryDesired {
    /// Where.
    pub path: HostPath,
    /// Its permissions.
    pub mode: u32,
    /// Its owner, by name or number; without one, who the agent runs as.
    pub owner: Option<String>,
    /// Its group, by name or number; without one, that of the agent.
    pub group: Option<String>,
}

impl Place for DirectoryDesired {
    const KIND: &'static str = "directory";

    fn path(&self) -> &HostPath {
        &self.path
    }

    fn owners(&self) -> Option<(Option<&str>, Option<&str>)> {
        Some((self.owner.as_deref(), self.group.as_deref()))
    }

    fn plan(&self, current: &Current) -> Result<Vec<Step>, UnitError> {
        let (path, mode, ids) = (self.path.clone(), self.mode, current.owner()?);
        match &current.thing {
            Thing::Absent => Ok(vec![Step::Make { path, mode, ids }]),
            thing @ Thing::Directory { .. } => {
                let right = Thing::Directory { mode, uid: ids.uid, gid: ids.gid };
                Ok(if *thing == right { Vec::new() } else { vec![Step::Own { path, mode, ids }] })
            }
            other => Err(UnitError::InTheWay { path: path.to_string(), what: other.to_string() }),
        }
    }
}
