//! The fleet as the planners see it: machines with their keys and labels, profiles with their selectors. Pure; built from objects.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::{FACT_LABEL_PREFIX, Machine, MachineSpec, Profile, Selector};

/// A machine as planning needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineView {
    /// Its key in hexadecimal digits.
    pub key: String,
    /// Its owner-signed labels.
    pub labels: BTreeMap<String, String>,
    /// After how many seconds of silence it is marked.
    pub silent_after_seconds: u32,
    /// Whether it is out of service for ever.
    pub decommissioned: bool,
    /// The keys that it had before.
    pub former_keys: Vec<String>,
}

/// What a key is to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStanding<N> {
    /// Nobody's.
    Stranger,
    /// That of the machine of this name.
    Member(N),
    /// That of a machine which is out of service for ever.
    Decommissioned(N),
    /// One that a machine had before.
    Former(N),
}

impl<N> KeyStanding<N> {
    /// The same of another form of the name.
    pub fn map_name<M>(self, map: impl FnOnce(N) -> M) -> KeyStanding<M> {
        match self {
            Self::Stranger => KeyStanding::Stranger,
            Self::Member(name) => KeyStanding::Member(map(name)),
            Self::Decommissioned(name) => KeyStanding::Decommissioned(map(name)),
            Self::Former(name) => KeyStanding::Former(map(name)),
        }
    }
}

/// Machines and profiles by name, with the index from keys to machines.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    machines: BTreeMap<String, MachineView>,
    /// Those that are out of service for ever: nothing is planned for them, and their keys are known.
    out: BTreeMap<String, MachineView>,
    /// Former keys, with the names of the machines that had them.
    former: BTreeMap<String, BTreeSet<String>>,
    by_key: BTreeMap<String, BTreeSet<String>>,
    profiles: BTreeMap<String, Selector>,
}

impl Fleet {
    /// Takes in a machine's newest state.
    pub fn put_machine(&mut self, machine: &Machine) {
        let name = machine.metadata.name.clone();
        self.remove_machine(&name);
        let MachineSpec { key, former_keys, decommissioned, .. } = &machine.spec;
        self.by_key.entry(key.clone()).or_default().insert(name.clone());
        for former in former_keys {
            self.former.entry(former.clone()).or_default().insert(name.clone());
        }
        let view = MachineView {
            key: key.clone(),
            labels: machine.metadata.labels.clone(),
            silent_after_seconds: machine.spec.silent_after_seconds(),
            decommissioned: decommissioned.is_some(),
            former_keys: former_keys.clone(),
        };
        if view.decommissioned { &mut self.out } else { &mut self.machines }.insert(name, view);
    }

    /// Forgets a machine.
    pub fn remove_machine(&mut self, name: &str) {
        let Some(view) = self.machines.remove(name).or_else(|| self.out.remove(name)) else { return };
        forget(&mut self.by_key, &view.key, name);
        for former in &view.former_keys {
            forget(&mut self.former, former, name);
        }
    }

    /// Takes in a profile's newest state.
    pub fn put_profile(&mut self, profile: &Profile) {
        self.profiles.insert(profile.metadata.name.clone(), profile.spec.selector.clone());
    }

    /// Forgets a profile.
    pub fn remove_profile(&mut self, name: &str) {
        self.profiles.remove(name);
    }

    /// The machine of that name.
    pub fn machine(&self, name: &str) -> Option<&MachineView> {
        self.machines.get(name).or_else(|| self.out.get(name))
    }

    /// What a key is to the fleet. One that is refused anywhere is refused, whatever else it may be.
    pub fn standing(&self, key: &str) -> KeyStanding<&str> {
        let names = self.by_key.get(key);
        if let Some(name) = names.into_iter().flatten().find(|name| self.out.contains_key(*name)) {
            return KeyStanding::Decommissioned(name);
        }
        if let Some(name) = self.former.get(key).and_then(|names| names.first()) {
            return KeyStanding::Former(name);
        }
        names.and_then(|names| names.first()).map_or(KeyStanding::Stranger, |name| KeyStanding::Member(name))
    }

    /// The machines because of which keys are refused: those out of service, and those with former keys.
    pub fn refusing(&self) -> impl Iterator<Item = &str> {
        let rotated = self.machines.iter().filter(|(_, view)| !view.former_keys.is_empty());
        self.out.iter().chain(rotated).map(|(name, _)| name.as_str())
    }

    /// Every machine that is in service.
    pub fn machines(&self) -> impl Iterator<Item = (&str, &MachineView)> {
        self.machines.iter().map(|(name, view)| (name.as_str(), view))
    }

    /// The name of the machine with that key. Where owners gave one key to two names, the first by name counts.
    pub fn name_of_key(&self, key: &str) -> Option<&str> {
        self.by_key.get(key)?.first().map(String::as_str)
    }

    /// The profiles that may be meant for a machine: all whose selector its labels fit. Labels made of facts are known only to the
    /// machine, so a selector that looks at one counts as fitting here, and the machine decides.
    pub fn profiles_for(&self, labels: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
        self.profiles.iter().filter(|(_, selector)| may_match(selector, labels)).map(|(name, _)| name.as_str())
    }

    /// The profiles that may be meant for a machine of that name.
    pub fn profiles_of(&self, machine: &str) -> impl Iterator<Item = &str> {
        let labels = self.machines.get(machine).map(|view| &view.labels);
        let meant = move |selector: &Selector| labels.is_some_and(|labels| may_match(selector, labels));
        self.profiles.iter().filter(move |(_, selector)| meant(selector)).map(|(name, _)| name.as_str())
    }

    /// The machines that a selector may mean.
    pub fn machines_matching(&self, selector: &Selector) -> impl Iterator<Item = &str> {
        self.machines.iter().filter(move |(_, view)| may_match(selector, &view.labels)).map(|(name, _)| name.as_str())
    }

    /// The machines for which a profile may be meant.
    pub fn machines_for(&self, profile: &str) -> impl Iterator<Item = &str> {
        let selector = self.profiles.get(profile);
        self.machines
            .iter()
            .filter(move |(_, view)| selector.is_some_and(|selector| may_match(selector, &view.labels)))
            .map(|(name, _)| name.as_str())
    }
}

fn forget(names: &mut BTreeMap<String, BTreeSet<String>>, key: &str, name: &str) {
    if let Some(those) = names.get_mut(key) {
        those.remove(name);
        if those.is_empty() {
            names.remove(key);
        }
    }
}

fn may_match(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    if !selector.keys().any(|key| key.starts_with(FACT_LABEL_PREFIX)) {
        return selector.matches(labels);
    }
    let mut known = selector.clone();
    known.match_labels.retain(|key, _| !key.starts_with(FACT_LABEL_PREFIX));
    known.match_expressions.retain(|requirement| !requirement.key.starts_with(FACT_LABEL_PREFIX));
    known.matches(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::ObjectMeta;

    fn machine(name: &str, key: &str, labels: &[(&str, &str)]) -> Machine {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let metadata = ObjectMeta { name: name.to_owned(), labels, ..ObjectMeta::default() };
        Machine { metadata, spec: MachineSpec { key: key.to_owned(), ..MachineSpec::default() }, status: None }
    }

    fn profile(name: &str, selector: &str) -> Profile {
        let mut profile = Profile::default();
        profile.metadata.name = name.to_owned();
        profile.spec.selector = selector.parse().unwrap();
        profile
    }

    #[test]
    fn a_key_that_is_refused_stays_so_whatever_else_it_may_be() {
        let mut fleet = Fleet::default();
        fleet.put_machine(&machine("a", "k1", &[]));
        let mut rotated = machine("a", "k2", &[]);
        rotated.spec.former_keys = vec!["k1".to_owned()];
        fleet.put_machine(&rotated);
        assert_eq!((fleet.standing("k1"), fleet.standing("k2")), (KeyStanding::Former("a"), KeyStanding::Member("a")));
        fleet.put_machine(&machine("b", "k1", &[]));
        assert_eq!(fleet.standing("k1"), KeyStanding::Former("a"), "whoever gave it to another machine");
        fleet.put_profile(&profile("all", ""));
        rotated.spec.decommissioned = Some(stead_model::Decommissioned::default());
        fleet.put_machine(&rotated);
        assert_eq!((fleet.standing("k1"), fleet.standing("k2")), (KeyStanding::Former("a"), KeyStanding::Decommissioned("a")));
        assert_eq!(fleet.machines().map(|(name, _)| name).collect::<Vec<_>>(), ["b"]);
        assert_eq!(fleet.machines_for("all").collect::<Vec<_>>(), ["b"], "nothing is planned for it");
        assert_eq!(fleet.refusing().collect::<Vec<_>>(), ["a"]);
        fleet.remove_machine("a");
        assert_eq!(fleet.standing("k2"), KeyStanding::Stranger);
    }

    #[test]
    fn selectors_pick_machines_and_keys_find_them() {
        let mut fleet = Fleet::default();
        fleet.put_machine(&machine("a", "k1", &[("role", "web")]));
        fleet.put_machine(&machine("b", "k2", &[("role", "db")]));
        fleet.put_profile(&profile("web", "role=web"));
        fleet.put_profile(&profile("all", ""));
        fleet.put_profile(&profile("arm", "role=db,facts.stead.dev/arch=aarch64"));
        assert_eq!(fleet.machines_for("web").collect::<Vec<_>>(), ["a"]);
        assert_eq!(fleet.machines_for("arm").collect::<Vec<_>>(), ["b"]);
        assert_eq!(fleet.profiles_for(&fleet.machine("b").unwrap().labels).collect::<Vec<_>>(), ["all", "arm"]);
        assert_eq!(fleet.name_of_key("k2"), Some("b"));
        fleet.put_machine(&machine("b", "k3", &[]));
        assert_eq!((fleet.name_of_key("k2"), fleet.name_of_key("k3")), (None, Some("b")));
        fleet.remove_profile("all");
        assert_eq!(fleet.profiles_for(&BTreeMap::new()).count(), 0);
    }
}
