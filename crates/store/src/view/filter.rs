//! A label selector made ready to be held against many objects.

use stead_model::{Operator, Selector};

use super::kind::{KindView, Postings};
use crate::stored::{Stored, join};

/// A label selector, compiled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
    /// The one label that an object must have, where there is just one.
    label: Option<String>,
}

impl Requirement {
    fn new(key: &str, operator: Operator, values: Vec<String>) -> Self {
        let label = match (operator, values.as_slice()) {
            (Operator::In, [value]) => Some(join(key, value)),
            _ => None,
        };
        Self { key: key.to_owned(), operator, values, label }
    }

    fn matches(&self, stored: &Stored) -> bool {
        if let Some(label) = &self.label {
            return stored.shared_labels().iter().any(|have| have.is(label));
        }
        let value = stored.label(&self.key);
        let one_of = |value: &str| self.values.iter().any(|wanted| wanted == value);
        match self.operator {
            Operator::In => value.is_some_and(one_of),
            Operator::NotIn => !value.is_some_and(one_of),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// How the label index narrows a search.
pub(super) enum Narrowed<'a> {
    /// Not at all.
    No,
    /// Nothing matches.
    Nothing,
    /// To these names, among which everything else of the filter must still be checked unless `exact`.
    To { postings: &'a Postings, exact: bool },
}

impl Filter {
    pub(crate) fn new(selector: &Selector) -> Self {
        let labels = selector.match_labels.iter().map(|(key, value)| Requirement::new(key, Operator::In, vec![value.clone()]));
        let expressions = selector
            .match_expressions
            .iter()
            .map(|requirement| Requirement::new(&requirement.key, requirement.operator, requirement.values.clone()));
        Self { requirements: labels.chain(expressions).collect() }
    }

    pub(crate) fn matches(&self, stored: &Stored) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(stored))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The shortest list of names that the filter's labels leave.
    pub(super) fn narrow<'a>(&self, view: &'a KindView) -> Narrowed<'a> {
        let mut shortest: Option<&Postings> = None;
        for label in self.requirements.iter().filter_map(|requirement| requirement.label.as_ref()) {
            let Some(postings) = view.postings(label) else { return Narrowed::Nothing };
            if shortest.is_none_or(|shortest| postings.len() < shortest.len()) {
                shortest = Some(postings);
            }
        }
        let exact = self.requirements.len() == 1;
        shortest.map_or(Narrowed::No, |postings| Narrowed::To { postings, exact })
    }
}
