//! Whose wishes contradict each other: a pure decision over the claims of all profiles.

use std::collections::{BTreeMap, BTreeSet};

use stead_unit::UnitId;

use super::command::CommandDesired;
use super::directory::DirectoryDesired;
use super::file::FileDesired;
use super::link::LinkDesired;
use super::place::Place;
use crate::host::HostPath;

/// What one profile wishes of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileClaims {
    /// The profile's name.
    pub profile: String,
    /// The wish as the report is to name it: `Profile/web@3`.
    pub by: String,
    /// What it claims.
    pub claims: Vec<Claimed>,
}

/// One claim of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The claim.
    pub claim: Claim,
    /// The units that must be there first, besides the directories that hold it, which are added by themselves.
    pub after: Vec<UnitId>,
}

/// Something that a profile wishes for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Claim {
    /// A file.
    File(FileDesired),
    /// A directory.
    Directory(DirectoryDesired),
    /// A link.
    Link(LinkDesired),
    /// A command.
    Command(CommandDesired),
}

impl Claim {
    /// The unit it makes.
    #[must_use]
    pub fn id(&self) -> UnitId {
        match self {
            Self::File(file) => UnitId::new(FileDesired::KIND, file.path.as_str()),
            Self::Directory(directory) => UnitId::new(DirectoryDesired::KIND, directory.path.as_str()),
            Self::Link(link) => UnitId::new(LinkDesired::KIND, link.path.as_str()),
            Self::Command(command) => UnitId::new(super::CommandUnit::KIND, &command.name),
        }
    }

    /// The path it claims.
    #[must_use]
    pub fn path(&self) -> Option<&HostPath> {
        match self {
            Self::File(file) => Some(&file.path),
            Self::Directory(directory) => Some(&directory.path),
            Self::Link(link) => Some(&link.path),
            Self::Command(_) => None,
        }
    }
}

/// One side of a contradiction: this profile's claim of this unit can't be met beside the other's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// Whose claim.
    pub profile: String,
    /// The unit it claims.
    pub unit: UnitId,
    /// Who contradicts it.
    pub other_profile: String,
    /// The unit that one claims.
    pub other_unit: UnitId,
}

impl Conflict {
    /// The contradiction in words.
    #[must_use]
    pub fn reason(&self) -> String {
        let Self { profile, unit, other_profile, other_unit } = self;
        if unit == other_unit {
            return format!(
                "profiles {profile} and {other_profile} both claim {unit}, and not alike; take it out of one of them"
            );
        }
        format!("profile {profile} claims {unit}, and profile {other_profile} claims {other_unit}; take one of them away")
    }
}

/// Finds every contradiction, told from both sides.
///
/// Two claims of one path contradict each other, and so do a file or link and anything below it. One exception: directories
/// that are equal in every attribute are shared between profiles, and go when the last profile lets go of them; else no
/// two profiles could put files in one directory that neither may rely on. Commands are named by their profile and never meet.
/// Paths are compared as they are written: two paths that a link on the machine makes one are not found here.
#[must_use]
pub fn conflicts(profiles: &[ProfileClaims]) -> BTreeSet<Conflict> {
    let mut by_path: BTreeMap<&str, Vec<(&str, &Claim)>> = BTreeMap::new();
    for profile in profiles {
        for Claimed { claim, .. } in &profile.claims {
            if let Some(path) = claim.path() {
                by_path.entry(path.as_str()).or_default().push((&profile.profile, claim));
            }
        }
    }
    let mut found = BTreeSet::new();
    for claims in by_path.values() {
        for (index, claim) in claims.iter().enumerate() {
            for other in claims.iter().skip(index + 1).filter(|other| !shared(claim, other)) {
                tell(&mut found, claim, other);
            }
            for above in claim.1.path().into_iter().flat_map(HostPath::ancestors) {
                for other in by_path.get(above).into_iter().flatten().filter(|(_, other)| !matches!(other, Claim::Directory(_))) {
                    tell(&mut found, claim, other);
                }
            }
        }
    }
    found
}

fn shared((profile, claim): &(&str, &Claim), (other_profile, other): &(&str, &Claim)) -> bool {
    profile != other_profile && matches!(claim, Claim::Directory(_)) && claim == other
}

fn tell(found: &mut BTreeSet<Conflict>, one: &(&str, &Claim), other: &(&str, &Claim)) {
    for ((profile, claim), (other_profile, other_claim)) in [(one, other), (other, one)] {
        found.insert(Conflict {
            profile: (*profile).to_owned(),
            unit: claim.id(),
            other_profile: (*other_profile).to_owned(),
            other_unit: other_claim.id(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> HostPath {
        HostPath::parse(text).unwrap()
    }

    /// `f:/a` a file, `l:/a` a link, `d:/a` a directory, `D:/a` one with another mode, `c:x` a command.
    fn claim(text: &str) -> Claim {
        let (kind, rest) = text.split_once(':').unwrap();
        let directory = |mode| DirectoryDesired { path: path(rest), mode, owner: None, group: None };
        match kind {
            "f" => Claim::File(FileDesired { path: path(rest), content: "x".into(), mode: 0o644, owner: None, group: None }),
            "l" => Claim::Link(LinkDesired { path: path(rest), target: "x".into() }),
            "d" => Claim::Directory(directory(0o755)),
            "D" => Claim::Directory(directory(0o700)),
            _ => {
                let (check, run) = (vec!["true".to_owned()], vec!["true".to_owned()]);
                Claim::Command(CommandDesired { name: rest.into(), check, run, undo: None, timeout_seconds: 1, directory: None })
            }
        }
    }

    fn found(profiles: &[(&str, &[&str])]) -> Vec<String> {
        let claims = |list: &[&str]| list.iter().map(|text| Claimed { claim: claim(text), after: Vec::new() }).collect();
        let profiles: Vec<_> = profiles
            .iter()
            .map(|(name, list)| ProfileClaims { profile: (*name).into(), by: format!("Profile/{name}@1"), claims: claims(list) })
            .collect();
        conflicts(&profiles)
            .iter()
            .map(|it| format!("{} {} | {} {}", it.profile, it.unit, it.other_profile, it.other_unit))
            .collect()
    }

    #[test]
    fn claims_that_contradict_each_other_are_told_on_both_sides() {
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            (&["f:/a"], &["f:/b"], &[]),
            (&["f:/a"], &["f:/a"], &["p file:/a | q file:/a", "q file:/a | p file:/a"]),
            (&["f:/a"], &["l:/a"], &["p file:/a | q link:/a", "q link:/a | p file:/a"]),
            (&["f:/a"], &["f:/a/b"], &["p file:/a | q file:/a/b", "q file:/a/b | p file:/a"]),
            (&["l:/a"], &["d:/a/b/c"], &["p link:/a | q directory:/a/b/c", "q directory:/a/b/c | p link:/a"]),
            (&["d:/a"], &["f:/a/b"], &[]),
            (&["d:/a"], &["d:/a"], &[]),
            (&["d:/a"], &["D:/a"], &["p directory:/a | q directory:/a", "q directory:/a | p directory:/a"]),
            (&["f:/a"], &["f:/ab", "f:/a.b"], &[]),
            (&["c:x"], &["c:x"], &[]),
            (&["f:/a", "f:/a/b"], &[], &["p file:/a | p file:/a/b", "p file:/a/b | p file:/a"]),
        ];
        for (p, q, expected) in cases {
            assert_eq!(found(&[("p", p), ("q", q)]), *expected, "{p:?} {q:?}");
        }
    }

    #[test]
    fn three_profiles_are_told_pair_by_pair_and_others_are_left_alone() {
        let told = found(&[("p", &["f:/a", "f:/x"]), ("q", &["f:/a", "f:/y"]), ("r", &["f:/a"])]);
        assert_eq!(told.len(), 6);
        assert!(told.iter().all(|words| !words.contains("/x") && !words.contains("/y")));
    }
}
