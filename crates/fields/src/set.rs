//! A set of fields: a tree of steps, where each node says whether it is a member itself.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::path::Step;

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    nodes: BTreeMap<Step, Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    member: bool,
    below: FieldSet,
}

impl FieldSet {
    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        // A node without members below is never kept.
        self.nodes.is_empty()
    }

    /// How many fields are in it.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.values().map(|node| usize::from(node.member) + node.below.len()).sum()
    }

    /// Puts one field in. The object as a whole is no field.
    pub(crate) fn insert(&mut self, path: &[Step]) {
        let Some((first, rest)) = path.split_first() else { return };
        let node = match self.nodes.get_mut(first) {
            Some(node) => node,
            None => self.nodes.entry(first.clone()).or_default(),
        };
        if rest.is_empty() {
            node.member = true;
        } else {
            node.below.insert(rest);
        }
    }

    /// Whether this very field is in it.
    pub(crate) fn has(&self, step: &Step) -> bool {
        self.nodes.get(step).is_some_and(|node| node.member)
    }

    /// What is in it below a step.
    pub(crate) fn below(&self, step: &Step) -> Option<&Self> {
        self.nodes.get(step).map(|node| &node.below).filter(|below| !below.is_empty())
    }

    /// The steps at the top, each with whether it is a member, and what is below.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Step, bool, &Self)> {
        self.nodes.iter().map(|(step, node)| (step, node.member, &node.below))
    }

    /// A set with one more top step, which is a member or leads to some; an empty one is left out. Says whether the step is new.
    pub(crate) fn put(&mut self, step: Step, member: bool, below: Self) -> bool {
        match self.nodes.entry(step) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                if member || !below.is_empty() {
                    place.insert(Node { member, below });
                }
                true
            }
        }
    }

    /// All fields of both.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.add(other);
        union
    }

    /// Puts all fields of another set in.
    pub(crate) fn add(&mut self, other: &Self) {
        for (step, theirs) in &other.nodes {
            match self.nodes.get_mut(step) {
                Some(own) => {
                    own.member |= theirs.member;
                    own.below.add(&theirs.below);
                }
                None => {
                    self.nodes.insert(step.clone(), theirs.clone());
                }
            }
        }
    }

    /// The fields that are in both.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |own, theirs| own && theirs, |own, theirs| theirs.map(|theirs| own.intersection(theirs)))
    }

    /// The fields that are not in the other.
    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.combine(
            other,
            |own, theirs| own && !theirs,
            |own, theirs| Some(theirs.map_or_else(|| own.clone(), |theirs| own.difference(theirs))),
        )
    }

    fn combine(
        &self,
        other: &Self,
        member: impl Fn(bool, bool) -> bool,
        below: impl Fn(&Self, Option<&Self>) -> Option<Self>,
    ) -> Self {
        let mut combined = Self::default();
        for (step, own) in &self.nodes {
            let theirs = other.nodes.get(step);
            let member = member(own.member, theirs.is_some_and(|theirs| theirs.member));
            let below = below(&own.below, theirs.map(|theirs| &theirs.below)).unwrap_or_default();
            combined.put(step.clone(), member, below);
        }
        combined
    }

    /// The paths of all fields: at each level the members first, then what is below them, as Kubernetes' refusals list them.
    pub(crate) fn paths(&self) -> Vec<Vec<Step>> {
        let (mut paths, mut path) = (Vec::new(), Vec::new());
        self.collect_paths(&mut path, &mut paths);
        paths
    }

    fn collect_paths(&self, path: &mut Vec<Step>, paths: &mut Vec<Vec<Step>>) {
        for (step, _) in self.nodes.iter().filter(|(_, node)| node.member) {
            path.push(step.clone());
            paths.push(path.clone());
            path.pop();
        }
        for (step, node) in &self.nodes {
            path.push(step.clone());
            node.below.collect_paths(path, paths);
            path.pop();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Few steps, so that sets meet.
    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            "[abc]".prop_map(Step::Field),
            "[ab]".prop_map(|text| format!(r#"k:{{"name":"{text}"}}"#).parse().unwrap()),
            "[ab]".prop_map(|text| format!(r#"v:"{text}""#).parse().unwrap()),
            (0_u64..2).prop_map(Step::Index),
        ]
    }

    fn any_paths() -> impl Strategy<Value = BTreeSet<Vec<Step>>> {
        proptest::collection::btree_set(proptest::collection::vec(any_step(), 1..4), 0..12)
    }

    pub(crate) fn any_set() -> impl Strategy<Value = FieldSet> {
        any_paths().prop_map(|paths| of(&paths))
    }

    fn of<'a>(paths: impl IntoIterator<Item = &'a Vec<Step>>) -> FieldSet {
        let mut set = FieldSet::default();
        for path in paths {
            set.insert(path);
        }
        set
    }

    proptest! {
        /// The tree does what a plain set of paths does.
        #[test]
        fn it_is_a_set_of_paths(a in any_paths(), b in any_paths()) {
            let (left, right) = (of(&a), of(&b));
            prop_assert_eq!(left.paths().into_iter().collect::<BTreeSet<_>>(), a.clone());
            prop_assert_eq!(left.len(), a.len());
            prop_assert_eq!(left.is_empty(), a.is_empty());
            prop_assert_eq!(left.union(&right), of(a.union(&b)));
            prop_assert_eq!(left.intersection(&right), of(a.intersection(&b)));
            prop_assert_eq!(left.difference(&right), of(a.difference(&b)));
        }
    }
}
