//! From the claims of all profiles, and what earlier processes left, to the wishes of the converger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stead_unit::{AnyUnit, Goal, UnitId, Wish};

use super::conflicts::{Claim, Conflict, ProfileClaims, conflicts};
use super::leftover::LeftoverPlace;
use super::place::{Place, PlaceUnit};
use super::{CommandUnit, DirectoryDesired, SavedError, Workshop};
use crate::host::HostPath;

/// What the claims of all profiles come to.
#[derive(Debug)]
pub struct Wishes {
    /// One wish a unit, to be checked into a `WishSet`. Those that contradict each other are held.
    pub wishes: Vec<Wish>,
    /// The contradictions, for each profile's status.
    pub conflicts: BTreeSet<Conflict>,
}

/// What carries wishes out on a machine: [`Workshop`] on a real one; a simulation brings a machine that is a model.
pub trait Craft: Send + Sync + 'static {
    /// The unit that does what a claim asks for.
    fn unit(&self, claim: &Claim) -> Arc<dyn AnyUnit>;

    /// The units of which something is saved, by this process or an earlier one; what can't be read is told beside.
    ///
    /// # Errors
    ///
    /// The saved records can't be listed.
    fn saved(&self) -> Result<(Vec<UnitId>, Vec<SavedError>), SavedError>;

    /// The unit that puts back what is saved of one that nobody wishes for any more.
    fn leftover(&self, id: UnitId) -> Arc<dyn AnyUnit>;
}

impl dyn Craft {
    /// The wishes that these claims come to.
    #[must_use]
    pub fn wishes(&self, profiles: &[ProfileClaims]) -> Wishes {
        let conflicts = conflicts(profiles);
        let mut reasons: BTreeMap<&UnitId, BTreeSet<String>> = BTreeMap::new();
        for conflict in &conflicts {
            reasons.entry(&conflict.unit).or_default().insert(conflict.reason());
        }
        let directories: BTreeSet<UnitId> = claimed(profiles).map(|(_, it)| it.claim.id()).filter(is_directory).collect();
        let mut wishes: BTreeMap<UnitId, Wish> = BTreeMap::new();
        for (profile, claimed) in claimed(profiles) {
            let id = claimed.claim.id();
            let after = claimed.after.iter().cloned().chain(holder(claimed.claim.path(), &directories));
            let wish = wishes.entry(id.clone()).or_insert_with(|| Wish {
                unit: self.unit(&claimed.claim),
                goal: match reasons.get(&id) {
                    Some(reasons) => Goal::Held { reason: reasons.iter().cloned().collect::<Vec<_>>().join("; ") },
                    None => Goal::Present,
                },
                by: Vec::new(),
                after: Vec::new(),
            });
            wish.by.push(profile.by.clone());
            wish.after.extend(after);
        }
        for wish in wishes.values_mut() {
            wish.by.sort();
            wish.by.dedup();
            wish.after.sort();
            wish.after.dedup();
        }
        Wishes { wishes: wishes.into_values().collect(), conflicts }
    }

    /// Wishes for the removal of everything that was saved by an earlier process and is not in `wished`. To be added to the first set
    /// of wishes after a start; what can't be read is told beside.
    ///
    /// # Errors
    ///
    /// The saved records can't be listed.
    pub fn leftovers(&self, wished: &BTreeSet<UnitId>) -> Result<(Vec<Wish>, Vec<SavedError>), SavedError> {
        let (found, faults) = self.saved()?;
        let units: Vec<UnitId> = found.into_iter().filter(|id| !wished.contains(id)).collect();
        let directories: BTreeSet<UnitId> = units.iter().filter(|id| is_directory(id)).cloned().collect();
        let wish = |id: UnitId| {
            let after = holder(place_of(&id).as_ref(), &directories).into_iter().collect();
            Wish { unit: self.leftover(id), goal: Goal::Absent, by: Vec::new(), after }
        };
        Ok((units.into_iter().map(wish).collect(), faults))
    }
}

/// The path that a unit is about, where it is about one.
fn place_of(id: &UnitId) -> Option<HostPath> {
    (id.kind() != CommandUnit::KIND).then(|| HostPath::parse(id.subject()).ok()).flatten()
}

impl Craft for Arc<Workshop> {
    fn unit(&self, claim: &Claim) -> Arc<dyn AnyUnit> {
        let workshop = Arc::clone(self);
        match claim.clone() {
            Claim::File(file) => Arc::new(PlaceUnit::new(file, workshop)),
            Claim::Directory(directory) => Arc::new(PlaceUnit::new(directory, workshop)),
            Claim::Link(link) => Arc::new(PlaceUnit::new(link, workshop)),
            Claim::Command(command) => Arc::new(CommandUnit::new(command, workshop)),
        }
    }

    fn saved(&self) -> Result<(Vec<UnitId>, Vec<SavedError>), SavedError> {
        self.saved.list()
    }

    fn leftover(&self, id: UnitId) -> Arc<dyn AnyUnit> {
        match place_of(&id) {
            Some(path) => Arc::new(LeftoverPlace::new(id, path, Arc::clone(self))),
            None => Arc::new(CommandUnit::leftover(id, Arc::clone(self))),
        }
    }
}

impl Workshop {
    /// As [`Craft`] has it.
    #[must_use]
    pub fn wishes(self: &Arc<Self>, profiles: &[ProfileClaims]) -> Wishes {
        (self as &dyn Craft).wishes(profiles)
    }

    /// As [`Craft`] has it.
    ///
    /// # Errors
    ///
    /// The saved records can't be listed.
    pub fn leftovers(self: &Arc<Self>, wished: &BTreeSet<UnitId>) -> Result<(Vec<Wish>, Vec<SavedError>), SavedError> {
        (self as &dyn Craft).leftovers(wished)
    }
}

fn claimed(profiles: &[ProfileClaims]) -> impl Iterator<Item = (&ProfileClaims, &super::Claimed)> {
    profiles.iter().flat_map(|profile| profile.claims.iter().map(move |claimed| (profile, claimed)))
}

fn is_directory(id: &UnitId) -> bool {
    id.kind() == DirectoryDesired::KIND
}

/// The nearest directory among these that holds the path.
fn holder(path: Option<&HostPath>, directories: &BTreeSet<UnitId>) -> Option<UnitId> {
    let above = path.into_iter().flat_map(HostPath::ancestors).map(|above| UnitId::new(DirectoryDesired::KIND, above));
    above.into_iter().find(|id| directories.contains(id))
}
