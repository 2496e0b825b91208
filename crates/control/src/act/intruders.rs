//! Keys that owners refused for good and that come all the same: counted, and told so rarely that they cannot fill the record.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stead_wire::{Hello, PeerKey, Refusal};

use super::{Shared, sessions};
use crate::identity;
use crate::metrics::ReasonLabels;

/// How often, in seconds, one machine's refused keys are told of.
const TOLD_PERIOD_SECONDS: i64 = 300;

/// When each machine's refused keys were last told of.
#[derive(Debug, Default)]
pub(crate) struct Intruders {
    told: BTreeMap<(String, Refusal), Timestamp>,
}

impl Intruders {
    /// Whether it is time to tell; it counts as told then.
    fn is_due(&mut self, name: &str, refusal: Refusal, now: Timestamp) -> bool {
        let last = self.told.entry((name.to_owned(), refusal)).or_insert(Timestamp::MIN);
        let due = now.as_second().saturating_sub(last.as_second()) >= TOLD_PERIOD_SECONDS;
        if due {
            *last = now;
        }
        due
    }
}

/// Notes that somebody came with a key of a machine that is refused for good.
pub(crate) fn note(shared: &Shared, name: &str, refusal: Refusal, peer: &PeerKey, hello: &Hello) {
    let (reason, label) = match refusal {
        Refusal::FormerKey => ("FormerKey", "a key that it had before"),
        _ => ("Decommissioned", "its key, and it is decommissioned"),
    };
    shared.metrics.refused_keys.get_or_create(&ReasonLabels { reason }).inc();
    if refusal == Refusal::FormerKey && !shared.has_come(name) {
        // The machine itself may not know yet that its new key counts; it comes with it next.
        return;
    }
    let now = shared.now();
    if !shared.intruders().is_due(name, refusal, now) {
        return;
    }
    let who = identity::side(&identity::presented(peer, hello, "", "", now));
    let message = format!("somebody presented {label}, and was refused: {who}");
    tracing::warn!(machine = name, reason, message, "a refused key");
    sessions::warn(shared, name, &format!("{reason}Presented"), message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_and_again_is_told_once_in_a_while() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut intruders = Intruders::default();
        let told = (0..1_000).filter(|second| intruders.is_due("a", Refusal::FormerKey, at(*second))).count();
        assert_eq!(told, 4);
        assert!(intruders.is_due("a", Refusal::Decommissioned, at(1)) && intruders.is_due("b", Refusal::FormerKey, at(1)));
    }
}
