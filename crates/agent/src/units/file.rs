//! The unit kind `file`: content, mode and owner at a path.

use bytes::Bytes;
use stead_model::Digest;

use super::UnitError;
use super::place::{Current, Place, Step, file};
use crate::host::{HostPath, Thing};

/// A file that should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileDesired {
    /// Where.
    pub path: HostPath,
    /// Its content.
    pub content: Bytes,
    /// Its permissions.
    pub mode: u32,
    /// Its owner, by name or number; without one, who the agent runs as.
    pub owner: Option<String>,
    /// Its group, by name or number; without one, that of the agent.
    pub group: Option<String>,
}

impl Place for FileDesired {
    const KIND: &'static str = "file";

    fn path(&self) -> &HostPath {
        &self.path
    }

    fn owners(&self) -> Option<(Option<&str>, Option<&str>)> {
        Some((self.owner.as_deref(), self.group.as_deref()))
    }

    /// A file that differs in anything is replaced whole: one way of doing it, and never half a change.
    fn plan(&self, current: &Current) -> Result<Vec<Step>, UnitError> {
        let becomes = file(Digest::of(&self.content), self.content.len() as u64, self.mode, current.owner()?);
        match &current.thing {
            thing if *thing == becomes => Ok(Vec::new()),
            Thing::Absent | Thing::File { .. } | Thing::Link { .. } => {
                Ok(vec![Step::Write { path: self.path.clone(), content: self.content.clone(), becomes }])
            }
            other => Err(UnitError::InTheWay { path: self.path.to_string(), what: other.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Ids;

    #[test]
    fn whatever_differs_is_written_and_what_is_no_file_is_left() {
        let ids = Ids { uid: 1, gid: 2 };
        let path = HostPath::parse("/etc/motd").unwrap();
        let wish = FileDesired { path, content: "hello".into(), mode: 0o640, owner: None, group: None };
        let digest = Digest::of(b"hello");
        let right = file(digest, 5, 0o640, ids);
        let cases = [
            (right.clone(), Some(0)),
            (Thing::Absent, Some(1)),
            (file(Digest::of(b"other"), 5, 0o640, ids), Some(1)),
            (file(digest, 5, 0o600, ids), Some(1)),
            (file(digest, 5, 0o640, Ids { uid: 0, gid: 2 }), Some(1)),
            (Thing::Link { target: "x".into() }, Some(1)),
            (Thing::Directory { mode: 0o755, uid: 1, gid: 2 }, None),
            (Thing::Other { what: "a pipe".into() }, None),
        ];
        for (thing, steps) in cases {
            let current = Current { thing: thing.clone(), empty: true, memory: None, ids: Some(Ok(ids)) };
            assert_eq!(wish.plan(&current).ok().map(|steps| steps.len()), steps, "{thing}");
        }
        let words = Step::Write { path: wish.path.clone(), content: wish.content.clone(), becomes: right }.to_string();
        assert_eq!(words, format!("write /etc/motd (5 bytes, {digest}, mode 0640, owner 1:2)"));
    }
}
