//! How much one client may do at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    Read,
    Write,
    Watch,
    /// A large signed Change, from whomever.
    LargeSubmission,
}

type Counts = Mutex<HashMap<(Class, String), usize>>;

/// Counts what each client has going on. Only clients with something going on are in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Counts>);

/// One thing going on; ends when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    counts: Arc<Counts>,
    place: (Class, String),
}

impl Gate {
    /// Lets a client in, unless it has as much going on as it may.
    pub(crate) fn enter(&self, class: Class, client: &str, max: usize) -> Option<Permit> {
        let place = (class, client.to_owned());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(place.clone()).or_default();
        if *count >= max {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Permit { counts: Arc::clone(&self.0), place })
    }
}

impl Permit {
    /// Who was let in.
    pub(crate) fn client(&self) -> &str {
        &self.place.1
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.place) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_in_again_when_it_is_done() {
        let gate = Gate::default();
        let first = gate.enter(Class::Write, "a", 1).unwrap();
        assert!(gate.enter(Class::Write, "a", 1).is_none());
        assert!(gate.enter(Class::Read, "a", 1).is_some());
        assert!(gate.enter(Class::Write, "b", 1).is_some());
        drop(first);
        assert!(gate.enter(Class::Write, "a", 1).is_some());
        assert!(gate.0.lock().unwrap().is_empty());
    }
}
