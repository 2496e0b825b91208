//! What came of asking a machine, from one note to the next, and how notes of one machine go together.

use stead_model::{GivenBack, MachineStatus, NotGivenBack, ObjectKey};

/// What is listed of one machine at most.
pub const NOT_GIVEN_BACK_MAX: usize = 32;
/// The longest message that is kept, in characters.
const MESSAGE_CHARACTERS_MAX: usize = 512;

/// What one machine gave back since it was last noted.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) statements: u64,
    pub(super) objects: u64,
    listed: Vec<NotGivenBack>,
    omitted: u64,
}

/// Something that owners have to look at.
#[derive(Default)]
pub(super) struct Note<'a> {
    pub(super) object: Option<&'a ObjectKey>,
    pub(super) change: &'a str,
    pub(super) sequence: Option<u64>,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

impl Outcome {
    pub(super) fn list(&mut self, note: Note<'_>) {
        let Note { object, change, sequence, reason, message } = note;
        self.add(NotGivenBack {
            object: object.map(ToString::to_string).unwrap_or_default(),
            change: change.to_ascii_lowercase(),
            sequence,
            reason: reason.to_owned(),
            message: message.chars().take(MESSAGE_CHARACTERS_MAX).collect(),
        });
    }

    fn add(&mut self, one: NotGivenBack) {
        if self.listed.contains(&one) {
            return;
        }
        if self.listed.len() >= NOT_GIVEN_BACK_MAX {
            self.omitted = self.omitted.saturating_add(1);
            return;
        }
        self.listed.push(one);
    }

    /// Whether there is nothing to note.
    pub(super) fn is_empty(&self) -> bool {
        self.objects == 0 && self.listed.is_empty()
    }

    /// A note of it; what comes from now on is another one.
    pub(super) fn take(&mut self, record: &str, now: jiff::Timestamp, unfinished: Option<String>) -> GivenBack {
        let Self { statements, objects, listed, omitted } = std::mem::take(self);
        GivenBack { record: record.to_owned(), time: now, unfinished, statements, objects, not_taken: listed, omitted }
    }
}

/// Two notes of one machine, as one: what was given to another record counts no more.
pub(crate) fn followed_by(older: Option<GivenBack>, newer: GivenBack) -> GivenBack {
    let Some(older) = older.filter(|older| older.record == newer.record) else { return newer };
    let mut all = Outcome { listed: older.not_taken, ..Outcome::default() };
    newer.not_taken.into_iter().for_each(|one| all.add(one));
    GivenBack {
        statements: older.statements.saturating_add(newer.statements),
        objects: older.objects.saturating_add(newer.objects),
        not_taken: all.listed,
        // A machine that is asked again names the same again: what found no room before is not counted twice.
        omitted: older.omitted.max(newer.omitted).max(all.omitted),
        ..newer
    }
}

/// What is told of a machine when it has given back what it holds.
pub(crate) fn told(given: &GivenBack, before: Option<&MachineStatus>) -> Vec<(String, String)> {
    let known = before.and_then(|status| status.given_back.as_ref()).map_or(&[][..], |given| given.not_taken.as_slice());
    let new = given.not_taken.iter().filter(|one| !known.contains(one));
    let line = |one: &NotGivenBack| {
        let message = if one.object.is_empty() { one.message.clone() } else { format!("{}: {}", one.object, one.message) };
        (format!("GiveBack{}", one.reason), message)
    };
    new.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(record: &str, objects: u64, names: &[&str], unfinished: Option<&str>) -> GivenBack {
        let mut outcome = Outcome { objects, statements: objects, ..Outcome::default() };
        for name in names {
            outcome.list(Note { change: name, reason: "Role", message: "no owner signed it", ..Note::default() });
        }
        outcome.take(record, jiff::Timestamp::UNIX_EPOCH, unfinished.map(str::to_owned))
    }

    #[test]
    fn notes_of_one_record_add_up_and_those_of_another_are_forgotten() {
        let first = note("r1", 3, &["a", "b"], Some("it left"));
        let both = followed_by(Some(first.clone()), note("r1", 2, &["b", "c"], None));
        assert_eq!((both.objects, both.statements, both.is_whole("r1")), (5, 5, true));
        assert_eq!(both.not_taken.iter().map(|one| one.change.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        let other = note("r2", 1, &[], Some("it left"));
        assert_eq!(followed_by(Some(first), other.clone()), other);
        assert!(!other.is_whole("r2") && !both.is_whole("r2"));
    }

    #[test]
    fn a_machine_fills_no_more_than_its_list() {
        let names: Vec<String> = (0..NOT_GIVEN_BACK_MAX + 5).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let full = note("r1", 0, &names, Some("it left"));
        assert_eq!((full.not_taken.len(), full.omitted), (NOT_GIVEN_BACK_MAX, 5));
        let again = followed_by(Some(full.clone()), note("r1", 0, &names, None));
        assert_eq!((again.not_taken, again.omitted), (full.not_taken, 5));
    }
}
