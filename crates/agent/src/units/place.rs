//! What file, directory and link share: a path, what is there, what is remembered, and the steps that change it.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;
use stead_model::Digest;
use stead_unit::{Direction, Removal, Unit, UnitId};
use tokio_util::sync::CancellationToken;

use super::saved::Memory;
use super::{UnitError, Workshop, on_disk, withdrawal};
use crate::host::{Folder, HostPath, Ids, NameError, Thing};

/// A wish for something at a path.
pub trait Place: Hash + Clone + fmt::Debug + Send + Sync + 'static {
    /// The kind of unit: `file`.
    const KIND: &'static str;

    /// Where.
    fn path(&self) -> &HostPath;

    /// The owner and the group it names; nothing for what has no owner.
    fn owners(&self) -> Option<(Option<&str>, Option<&str>)>;

    /// What is to be done.
    ///
    /// # Errors
    ///
    /// Something is in the way, or the owner is missing.
    fn plan(&self, current: &Current) -> Result<Vec<Step>, UnitError>;
}

/// What is at a path.
#[derive(Debug, Clone)]
pub struct Current {
    /// The thing.
    pub thing: Thing,
    /// Whether a directory is empty; true for everything else.
    pub empty: bool,
    /// What the unit remembers.
    pub memory: Option<Memory>,
    /// The numbers of the owner wished for, where one is.
    pub ids: Option<Result<Ids, NameError>>,
}

impl Current {
    /// The numbers of the owner wished for.
    pub(super) fn owner(&self) -> Result<Ids, UnitError> {
        match &self.ids {
            Some(Ok(ids)) => Ok(*ids),
            Some(Err(missing)) => Err(missing.clone().into()),
            None => Ok(Ids { uid: 0, gid: 0 }),
        }
    }
}

/// One change at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Puts a file there.
    Write {
        /// Where.
        path: HostPath,
        /// What.
        content: Bytes,
        /// What it will be then: always a file.
        becomes: Thing,
    },
    /// Puts a link there.
    Point {
        /// Where.
        path: HostPath,
        /// What it points at.
        target: String,
    },
    /// Makes a directory there.
    Make {
        /// Where.
        path: HostPath,
        /// Its permissions.
        mode: u32,
        /// Its owner.
        ids: Ids,
    },
    /// Changes mode and owner of the directory there.
    Own {
        /// Where.
        path: HostPath,
        /// Its permissions.
        mode: u32,
        /// Its owner.
        ids: Ids,
    },
    /// Puts back what was there.
    PutBack {
        /// Where.
        path: HostPath,
        /// What was there.
        original: Thing,
    },
    /// Leaves what a person made.
    Keep {
        /// Where.
        path: HostPath,
        /// Why.
        reason: String,
    },
    /// Drops what was saved.
    Forget {
        /// Where.
        path: HostPath,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, becomes: Thing::File { digest, bytes, mode, uid, gid }, .. } => {
                write!(f, "write {path} ({bytes} bytes, {digest}, mode {mode:04o}, owner {uid}:{gid})")
            }
            Self::Write { path, .. } => write!(f, "write {path}"),
            Self::Point { path, target } => write!(f, "link {path} to {target}"),
            Self::Make { path, mode, ids } => {
                write!(f, "make directory {path} (mode {mode:04o}, owner {}:{})", ids.uid, ids.gid)
            }
            Self::Own { path, mode, ids } => write!(f, "set {path} to mode {mode:04o}, owner {}:{}", ids.uid, ids.gid),
            Self::PutBack { path, original: Thing::Absent } => write!(f, "remove {path}"),
            Self::PutBack { path, original } => write!(f, "put {path} back as it was: {original}"),
            Self::Keep { path, reason } => write!(f, "leave {path}: {reason}"),
            Self::Forget { path } => write!(f, "forget what was at {path} before"),
        }
    }
}

/// A unit at a path.
#[derive(Debug)]
pub struct PlaceUnit<P> {
    id: UnitId,
    desired: P,
    workshop: Arc<Workshop>,
}

impl<P: Place> PlaceUnit<P> {
    /// The unit of this wish.
    #[must_use]
    pub fn new(desired: P, workshop: Arc<Workshop>) -> Self {
        Self { id: UnitId::new(P::KIND, desired.path().as_str()), desired, workshop }
    }
}

impl<P: Place> Unit for PlaceUnit<P> {
    type Desired = P;
    type Current = Current;
    type Step = Step;
    type Error = UnitError;

    fn id(&self) -> &UnitId {
        &self.id
    }

    fn desired(&self) -> &P {
        &self.desired
    }

    async fn observe(&self, direction: Direction) -> Result<Current, UnitError> {
        let (workshop, id, desired) = (Arc::clone(&self.workshop), self.id.clone(), self.desired.clone());
        on_disk(move || {
            let mut current = look(&workshop, &id, desired.path())?;
            current.ids = match desired.owners() {
                Some((owner, group)) if direction == Direction::Apply => Some(workshop.host.ids(owner, group)?),
                _ => None,
            };
            Ok(current)
        })
        .await
    }

    fn plan(desired: &P, current: &Current) -> Result<Vec<Step>, UnitError> {
        desired.plan(current)
    }

    fn plan_removal(desired: &P, current: &Current) -> Removal<Step> {
        withdrawal::plan(desired.path(), current)
    }

    async fn act(&self, step: &Step, _cancel: &CancellationToken) -> Result<(), UnitError> {
        let (workshop, id, step) = (Arc::clone(&self.workshop), self.id.clone(), step.clone());
        on_disk(move || act(&workshop, &id, &step)).await
    }
}

/// What is at a path, and what is remembered of it. Nothing, where the folder is missing.
pub(super) fn look(workshop: &Workshop, id: &UnitId, path: &HostPath) -> Result<Current, UnitError> {
    let (thing, empty) = match workshop.host.folder_of(path)? {
        Some(folder) => folder.look()?,
        None => (Thing::Absent, true),
    };
    Ok(Current { thing, empty, memory: workshop.saved.get(id)?, ids: None })
}

/// Does one step. Done twice, or cut short anywhere and done again, it ends the same.
pub(super) fn act(workshop: &Workshop, id: &UnitId, step: &Step) -> Result<(), UnitError> {
    match step {
        Step::Write { path, content, becomes } => {
            let folder = workshop.host.folder_needed(path)?;
            before(workshop, id, &folder, std::slice::from_ref(becomes))?;
            if let Thing::File { mode, uid, gid, .. } = becomes {
                folder.put_file(&mut content.as_ref(), *mode, Ids { uid: *uid, gid: *gid })?;
            }
        }
        Step::Point { path, target } => {
            let folder = workshop.host.folder_needed(path)?;
            before(workshop, id, &folder, &[Thing::Link { target: target.clone() }])?;
            folder.put_link(target)?;
        }
        Step::Make { path, mode, ids } => {
            let folder = workshop.host.folder_needed(path)?;
            before(workshop, id, &folder, &[directory(*mode, *ids)])?;
            folder.make_directory(*mode, *ids)?;
        }
        Step::Own { path, mode, ids } => {
            let folder = workshop.host.folder_needed(path)?;
            let between = between(&folder.look()?.0, *ids);
            let made: Vec<_> = between.into_iter().chain([directory(*mode, *ids)]).collect();
            before(workshop, id, &folder, &made)?;
            folder.own_directory(*mode, *ids)?;
        }
        Step::PutBack { path, original } => put_back(workshop, id, path, original)?,
        Step::Keep { reason, .. } => {
            if let Some(Memory::Place { original, written, .. }) = workshop.saved.get(id)? {
                workshop.saved.put(id, &Memory::Place { original, written, kept: Some(reason.clone()) })?;
            }
        }
        Step::Forget { path } => {
            if let Some(folder) = workshop.host.folder_of(path)? {
                folder.remove_draft()?;
            }
            workshop.saved.forget(id)?;
        }
    }
    Ok(())
}

fn directory(mode: u32, ids: Ids) -> Thing {
    Thing::Directory { mode, uid: ids.uid, gid: ids.gid }
}

/// What a directory is while its owner has been set and its mode has not: ours too, should we be killed right then.
fn between(now: &Thing, ids: Ids) -> Option<Thing> {
    match now {
        Thing::Directory { mode, .. } => Some(directory(*mode, ids)),
        _ => None,
    }
}

/// Before a change: saves what is there, if this is the first; and remembers what the change may leave.
fn before(workshop: &Workshop, id: &UnitId, folder: &Folder, becomes: &[Thing]) -> Result<(), UnitError> {
    let now = folder.look()?.0;
    let (original, mut written) = match workshop.saved.get(id)? {
        Some(Memory::Place { original, written, kept: None }) => (original, written),
        // A thing that was kept as a person made it is that person's: the next wish saves it anew.
        _ => (save(workshop, id, folder, &now)?, Vec::new()),
    };
    written.retain(|thing| *thing == now);
    written.extend(becomes.iter().filter(|thing| **thing != now).cloned());
    if becomes.contains(&now) && !written.contains(&now) {
        written.push(now);
    }
    Ok(workshop.saved.put(id, &Memory::Place { original, written, kept: None })?)
}

fn save(workshop: &Workshop, id: &UnitId, folder: &Folder, now: &Thing) -> Result<Thing, UnitError> {
    match now {
        // What was copied is what counts, should the file have changed since it was looked at.
        Thing::File { .. } => workshop.saved.put_content(id, |to| Ok(folder.read_through(to)?)),
        other => Ok(other.clone()),
    }
}

fn put_back(workshop: &Workshop, id: &UnitId, path: &HostPath, original: &Thing) -> Result<(), UnitError> {
    let folder = workshop.host.folder_needed(path)?;
    folder.remove_draft()?;
    match original {
        Thing::Absent => folder.remove()?,
        Thing::File { digest, mode, uid, gid, .. } => {
            let mut content = workshop.saved.content(id, *digest)?;
            folder.put_file(&mut content, *mode, Ids { uid: *uid, gid: *gid })?;
        }
        Thing::Link { target } => folder.put_link(target)?,
        Thing::Directory { mode, uid, gid } => {
            let ids = Ids { uid: *uid, gid: *gid };
            let made: Vec<_> = between(&folder.look()?.0, ids).into_iter().collect();
            before(workshop, id, &folder, &made)?;
            folder.own_directory(*mode, ids)?;
        }
        Thing::Other { what } => {
            return Err(UnitError::InTheWay { path: path.to_string(), what: what.clone() });
        }
    }
    Ok(workshop.saved.forget(id)?)
}

/// The thing that a file with this content is.
pub(super) fn file(digest: Digest, bytes: u64, mode: u32, ids: Ids) -> Thing {
    Thing::File { digest, bytes, mode, uid: ids.uid, gid: ids.gid }
}
