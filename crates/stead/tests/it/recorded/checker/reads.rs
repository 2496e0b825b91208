//! Gets and lists, held against the record.

use super::super::history::Asked;
use super::{Call, History, Key, Kind, Operation, Outcome, Property, Record, Version, Violation, wrong};

impl Record<'_> {
    pub(super) fn check_reads(&self, history: &History, found: &mut Vec<Violation>) {
        for operation in &history.operations {
            match &operation.call {
                Call::Get { kind, name, since } => self.check_get(&(*kind, name.clone()), *since, operation, found),
                Call::List { kind, asked, limit } => self.check_list(*kind, *asked, *limit > 0, operation, found),
                Call::Write { .. } => {}
            }
        }
    }

    fn check_get(&self, key: &Key, since: Option<u64>, operation: &Operation, found: &mut Vec<Violation>) {
        let shown = self.floor(operation.coordinator, operation.begun);
        let floor = shown.max(since.unwrap_or(0));
        match &operation.outcome {
            Outcome::Found(object) => {
                let steps = self.steps(key);
                let Some(index) = steps.iter().position(|step| step.state() == Some(object)) else {
                    return wrong(found, Property::ReadsAreTrue, format!("{operation:?}"));
                };
                if let Some(next) = steps.get(index + 1).filter(|next| next.revision() <= floor) {
                    let what = format!("{operation:?}, when {floor} should be shown and {:?} was later", next.event);
                    wrong(found, Property::ReadsAreFresh, what);
                }
            }
            Outcome::Missing if !self.possible(key, false, floor, operation.ended) => {
                let there = self.at(key, floor);
                wrong(found, Property::ReadsAreFresh, format!("{operation:?}, when {floor} should be shown, with {there:?}"));
            }
            Outcome::Missing => {}
            outcome => check_refusal(outcome, since, shown, false, operation, found),
        }
    }

    fn check_list(&self, kind: Kind, asked: Asked, paged: bool, operation: &Operation, found: &mut Vec<Violation>) {
        let shown = self.floor(operation.coordinator, operation.begun);
        let (floor, ceiling) = match asked {
            Asked::Any => (shown, u64::MAX),
            Asked::NotOlderThan(revision) => (shown.max(revision), u64::MAX),
            Asked::Exact(revision) => (revision, revision),
        };
        match &operation.outcome {
            Outcome::Listed { pages, objects } => {
                let revision = pages.first().unwrap_or(&0);
                if pages.iter().any(|page| page != revision) {
                    wrong(found, Property::ListsAreWhole, format!("pages of several revisions: {operation:?}"));
                }
                if !(floor..=ceiling).contains(revision) {
                    let what = format!("{operation:?}: a list at {revision}, when {floor} should be shown");
                    wrong(found, Property::ReadsAreFresh, what);
                }
                self.check_whole(kind, *revision, objects, &format!("{operation:?}"), found);
            }
            outcome => {
                let since = (floor > shown).then_some(floor);
                // Pages come from the memory of the coordinator that made the first one, and so do lists of an older revision.
                check_refusal(outcome, since, shown, paged || matches!(asked, Asked::Exact(_)), operation, found);
            }
        }
    }

    /// Whether these are all objects of a kind at a revision.
    pub(super) fn check_whole(&self, kind: Kind, revision: u64, objects: &[Version], told: &str, found: &mut Vec<Violation>) {
        let mut objects: Vec<&Version> = objects.iter().collect();
        objects.sort_by(|one, other| one.name.cmp(&other.name));
        let all = self.all_at(kind, revision);
        if objects != all {
            wrong(found, Property::ListsAreWhole, format!("{told}: at {revision} there was {all:?}"));
        }
    }
}

/// A read is refused only where the coordinator is not reached, has not come as far as is asked for, or no longer keeps what is asked for.
fn check_refusal(
    outcome: &Outcome,
    since: Option<u64>,
    shown: u64,
    may_expire: bool,
    operation: &Operation,
    found: &mut Vec<Violation>,
) {
    let founded = match outcome {
        Outcome::Unknown { .. } | Outcome::Refused { code: 0, .. } => true,
        Outcome::Refused { code: 504, .. } => since.is_some_and(|since| since > shown),
        Outcome::Refused { code: 410, .. } => may_expire,
        _ => false,
    };
    if !founded {
        wrong(found, Property::RefusalsAreFounded, format!("{operation:?}, when {shown} was shown"));
    }
}
