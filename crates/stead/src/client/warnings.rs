//! What a coordinator warns of beside its answers.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use reqwest::header::{HeaderMap, WARNING};

/// Warnings that came and were not said yet, and those that were said: each is said once.
#[derive(Debug, Default)]
pub(super) struct Warnings(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    unsaid: Vec<String>,
    said: BTreeSet<String>,
}

impl Warnings {
    pub(super) fn hear(&self, warnings: Vec<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unsaid.extend(warnings);
    }

    /// Those that are to be said now.
    pub(super) fn take(&self) -> Vec<String> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unsaid = std::mem::take(&mut heard.unsaid);
        unsaid.into_iter().filter(|warning| heard.said.insert(warning.clone())).collect()
    }

    /// Forgets what was not said. Says whether there was anything.
    pub(super) fn forget(&self) -> bool {
        !std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).unsaid).is_empty()
    }
}

/// The warnings of an answer.
pub(super) fn of(headers: &HeaderMap) -> Vec<String> {
    headers.get_all(WARNING).iter().filter_map(stead_api::warning::read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_said_once() {
        let warnings = Warnings::default();
        let hear = |words: &[&str]| warnings.hear(words.iter().map(ToString::to_string).collect());
        hear(&["a", "b", "a"]);
        assert_eq!(warnings.take(), ["a", "b"]);
        hear(&["a", "c"]);
        assert_eq!(warnings.take(), ["c"]);
        hear(&["d"]);
        assert!(warnings.forget() && !warnings.forget());
        assert_eq!(warnings.take(), Vec::<String>::new());
    }
}
