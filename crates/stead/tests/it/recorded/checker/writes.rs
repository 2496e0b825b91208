//! What writers were told, held against the record.

use super::super::history::Write;
use super::{Call, Happened, History, Key, Operation, Outcome, Property, Record, Step, Violation, wrong};

impl Record<'_> {
    pub(super) fn check_writes(&self, history: &History, found: &mut Vec<Violation>) {
        for (key, steps) in &self.objects {
            for step in steps {
                let Some(writer) = step.writer else { continue };
                let seen = self.seen.before(writer.begun);
                if step.revision() <= seen {
                    let what = format!("{key:?} at {} by {writer:?}, which began when {seen} had been seen", step.revision());
                    wrong(found, Property::RevisionsFollowTime, what);
                }
            }
        }
        for operation in &history.operations {
            if let Call::Write { kind, name, .. } = &operation.call {
                self.check_write(&(*kind, name.clone()), operation, found);
            }
        }
    }

    fn check_write(&self, key: &Key, operation: &Operation, found: &mut Vec<Violation>) {
        match &operation.outcome {
            Outcome::Written(object) => {
                let step = self.steps(key).iter().find(|step| step.revision() == object.revision);
                match step.filter(|step| step.is_by(operation)) {
                    None => wrong(found, Property::NothingAcknowledgedIsLost, format!("{operation:?}")),
                    Some(step) if step.state() != Some(object) => {
                        wrong(found, Property::ReadsAreTrue, format!("{operation:?}; the record has {:?}", step.event));
                    }
                    Some(_) => {}
                }
            }
            Outcome::Admitted { revision } => {
                let made = |step: &Step<'_>| step.revision() == *revision && step.is_by(operation);
                if !self.steps(key).iter().any(made) {
                    wrong(found, Property::NothingAcknowledgedIsLost, format!("{operation:?}"));
                }
            }
            Outcome::Deleted { uid } => {
                let made = |step: &Step<'_>| step.event.happened == Happened::Deleted && step.event.object.uid == *uid;
                if !self.steps(key).iter().any(made) {
                    wrong(found, Property::NothingAcknowledgedIsLost, format!("{operation:?}"));
                }
            }
            Outcome::Refused { code, .. } if !self.is_founded(key, operation, *code) => {
                let there = self.at(key, self.seen.before(operation.begun));
                wrong(found, Property::RefusalsAreFounded, format!("{operation:?}; there was {there:?}"));
            }
            Outcome::Found(_) | Outcome::Missing | Outcome::Listed { .. } => {
                wrong(found, Property::ReadsAreTrue, format!("no answer to a write: {operation:?}"));
            }
            Outcome::Refused { .. } | Outcome::Unknown { .. } => {}
        }
    }

    /// Whether a write may have been refused like this at some moment while it went on.
    fn is_founded(&self, key: &Key, operation: &Operation, code: u16) -> bool {
        let Call::Write { write, .. } = &operation.call else { return false };
        let seen = self.seen.before(operation.begun);
        match (write, code) {
            // It was not reached, or the database is away.
            (_, 0 | 503) => true,
            (Write::Create, 409) => self.possible(key, true, seen, operation.ended),
            (Write::Put { .. } | Write::Patch | Write::Delete { .. }, 404) => self.possible(key, false, seen, operation.ended),
            (Write::Put { on: Some(on) } | Write::Delete { on: Some(on) }, 409) => {
                self.steps(key)[self.count(key, *on)..].iter().any(|step| step.possible_by(operation.ended))
            }
            // The sequence is taken: by the owner's own earlier Change, of which nothing was known.
            (Write::Signed, 409) => true,
            _ => false,
        }
    }
}
