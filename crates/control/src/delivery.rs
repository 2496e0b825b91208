//! Delivery: what a machine is to be sent. `plan` is pure; who sends it is `coordinator`.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::{GroupKind, ObjectKey};

use crate::fleet::{Fleet, MachineView};

/// The kind of machines.
pub fn machine_kind() -> GroupKind {
    GroupKind::new(stead_model::GROUP, "Machine")
}

/// The kind of profiles.
pub fn profile_kind() -> GroupKind {
    GroupKind::new(stead_model::GROUP, "Profile")
}

/// What a machine holds: the highest sequence of each name that it was sent.
pub type Held = BTreeMap<ObjectKey, u64>;

/// The objects whose newest statement a machine lacks: its own Machine, every profile that may be meant for it, and everything it
/// holds an older statement of, whatever became of it since (a machine takes nothing away but by a signed word).
pub fn plan(
    name: &str,
    machine: &MachineView,
    fleet: &Fleet,
    held: &Held,
    sequence_of: impl Fn(&ObjectKey) -> Option<u64>,
) -> Vec<ObjectKey> {
    let own = ObjectKey::new(machine_kind(), "", name);
    let profiles = fleet.profiles_for(&machine.labels).map(|profile| ObjectKey::new(profile_kind(), "", profile));
    let wanted: BTreeSet<ObjectKey> = std::iter::once(own).chain(profiles).chain(held.keys().cloned()).collect();
    wanted.into_iter().filter(|key| sequence_of(key).is_some_and(|newest| newest > held.get(key).copied().unwrap_or(0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::{Machine, Profile};

    fn key(kind: &str, name: &str) -> ObjectKey {
        ObjectKey::new(GroupKind::new(stead_model::GROUP, kind), "", name)
    }

    fn fleet() -> Fleet {
        let mut fleet = Fleet::default();
        let mut machine = Machine::default();
        machine.metadata.name = "a".to_owned();
        machine.metadata.labels.insert("role".to_owned(), "web".to_owned());
        fleet.put_machine(&machine);
        for (name, selector) in [("web", "role=web"), ("db", "role=db")] {
            let mut profile = Profile::default();
            profile.metadata.name = name.to_owned();
            profile.spec.selector = selector.parse().unwrap();
            fleet.put_profile(&profile);
        }
        fleet
    }

    #[test]
    fn what_is_lacking_is_sent_and_nothing_else() {
        let sequences: BTreeMap<ObjectKey, u64> =
            [(key("Machine", "a"), 2), (key("Profile", "web"), 3), (key("Profile", "db"), 5), (key("Profile", "gone"), 4)].into();
        type Case<'a> = (&'a [(ObjectKey, u64)], Vec<ObjectKey>);
        let cases: &[Case<'_>] = &[
            (&[], vec![key("Machine", "a"), key("Profile", "web")]),
            (&[(key("Machine", "a"), 2), (key("Profile", "web"), 3)], vec![]),
            (&[(key("Machine", "a"), 2), (key("Profile", "web"), 2)], vec![key("Profile", "web")]),
            // A profile that no longer matches, or is deleted, is followed for ever by whoever holds it.
            (
                &[(key("Machine", "a"), 2), (key("Profile", "web"), 3), (key("Profile", "db"), 4), (key("Profile", "gone"), 3)],
                vec![key("Profile", "db"), key("Profile", "gone")],
            ),
            // A machine that holds more than the record knows (a restored record) is sent nothing older.
            (&[(key("Machine", "a"), 9), (key("Profile", "web"), 9)], vec![]),
        ];
        let fleet = fleet();
        let machine = fleet.machine("a").unwrap();
        for (held, expected) in cases {
            let held: Held = held.iter().cloned().collect();
            assert_eq!(plan("a", machine, &fleet, &held, |key| sequences.get(key).copied()), *expected, "{held:?}");
        }
    }
}
