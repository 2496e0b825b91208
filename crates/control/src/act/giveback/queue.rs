//! Whose turn it is to be asked: first come, first asked, so that a machine that never comes to an end keeps nobody else out; and after
//! a failure only after a pause, and after others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stead_wire::PeerKey;

/// How long, in seconds, a machine that stays connected and did not give back all is left alone at first: a slow link recovers.
pub(super) const PAUSE_SECONDS_MIN: u64 = 30;
/// The longest of these pauses, in seconds: one that answers rubbish for ever costs a few questions an hour.
pub(super) const PAUSE_SECONDS_MAX: u64 = 3_600;

/// Machines that wait. Time is counted in seconds by whoever has a clock.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    order: VecDeque<PeerKey>,
    waiting: BTreeSet<PeerKey>,
    failed: BTreeMap<PeerKey, Failed>,
}

/// A machine that did not give back all when it was asked.
#[derive(Debug)]
struct Failed {
    /// How long it was left alone the last time, in seconds.
    pause_seconds: u64,
    /// When it is asked again; none while it waits, or is asked.
    until: Option<u64>,
}

impl Queue {
    /// A machine is to be asked as soon as it is its turn.
    pub(super) fn push(&mut self, peer: PeerKey) {
        if let Some(failed) = self.failed.get_mut(&peer) {
            failed.until = None;
        }
        if self.waiting.insert(peer) {
            self.order.push_back(peer);
        }
    }

    /// The next one, but for those that are being asked.
    pub(super) fn next(&mut self, busy: &BTreeSet<PeerKey>) -> Option<PeerKey> {
        let place = self.order.iter().position(|peer| !busy.contains(peer))?;
        let peer = self.order.remove(place)?;
        self.waiting.remove(&peer);
        Some(peer)
    }

    /// It did not give back all: it is asked again after a pause, a longer one each time. Gives the pause in seconds.
    pub(super) fn failed(&mut self, peer: PeerKey, now: u64) -> u64 {
        let before = self.failed.get(&peer).map_or(0, |failed| failed.pause_seconds);
        let pause_seconds = before.saturating_mul(2).clamp(PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX);
        // One that came back meanwhile has its turn already.
        let until = (!self.waiting.contains(&peer)).then(|| now.saturating_add(pause_seconds));
        self.failed.insert(peer, Failed { pause_seconds, until });
        pause_seconds
    }

    /// It has given back all, or has left.
    pub(super) fn settled(&mut self, peer: &PeerKey) {
        self.failed.remove(peer);
    }

    /// Those whose pause is over wait again.
    pub(super) fn wake(&mut self, now: u64) {
        let over = |failed: &Failed| failed.until.is_some_and(|until| until <= now);
        let due: Vec<PeerKey> = self.failed.iter().filter(|(_, failed)| over(failed)).map(|(peer, _)| *peer).collect();
        due.into_iter().for_each(|peer| self.push(peer));
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> PeerKey {
        format!("{number:02x}").repeat(32).parse().unwrap()
    }

    #[test]
    fn who_comes_first_is_asked_first_and_who_fails_comes_after_the_others() {
        let (mut queue, mut busy) = (Queue::default(), BTreeSet::new());
        for number in [9, 1, 5, 9] {
            queue.push(peer(number));
        }
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.next(&busy), Some(peer(9)));
        busy.insert(peer(9));
        queue.push(peer(9));
        assert_eq!(queue.next(&busy), Some(peer(1)), "the one that is being asked is passed over");
        assert_eq!(queue.next(&busy), Some(peer(5)));
        assert_eq!(queue.next(&busy), None);
        busy.clear();
        assert_eq!(queue.next(&busy), Some(peer(9)), "and not forgotten");
    }

    #[test]
    fn pauses_grow_up_to_the_longest_and_end_when_the_machine_is_settled() {
        let (mut queue, nobody) = (Queue::default(), BTreeSet::new());
        assert_eq!(queue.failed(peer(1), 100), PAUSE_SECONDS_MIN);
        queue.wake(100 + PAUSE_SECONDS_MIN - 1);
        assert_eq!(queue.next(&nobody), None);
        queue.wake(100 + PAUSE_SECONDS_MIN);
        assert_eq!(queue.next(&nobody), Some(peer(1)));
        queue.wake(u64::MAX);
        assert_eq!(queue.next(&nobody), None, "it is being asked");
        let pauses: Vec<u64> = (0..20).map(|_| queue.failed(peer(1), 0)).collect();
        assert_eq!((pauses[0], pauses[19]), (2 * PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX));
        queue.settled(&peer(1));
        queue.wake(u64::MAX);
        assert_eq!(queue.next(&nobody), None);
        // One that comes by itself does not wait for the end of its pause.
        queue.failed(peer(1), 0);
        queue.push(peer(1));
        assert_eq!(queue.next(&nobody), Some(peer(1)));
    }
}
