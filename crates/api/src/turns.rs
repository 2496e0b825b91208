//! Turns at work that takes a while: a few at once, and between the clients that wait, one after the other.
//!
//! A client that asks for a hundred large lists is given a turn as often as one that asks for a single one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Who works, and who waits.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<Waiting>>);

struct Waiting {
    free: usize,
    /// The clients that wait, each once, in the order of their turns.
    order: VecDeque<Arc<str>>,
    /// What each of them waits with, first come first served.
    queues: HashMap<Arc<str>, VecDeque<oneshot::Sender<Turn>>>,
}

/// One turn; ends when dropped.
pub(crate) struct Turn(Option<Turns>);

impl Turns {
    /// So many at once.
    pub(crate) fn new(at_once: usize) -> Self {
        Self(Arc::new(Mutex::new(Waiting { free: at_once, order: VecDeque::new(), queues: HashMap::new() })))
    }

    /// Waits for a client's turn. Whoever stops waiting loses nothing but its place.
    pub(crate) async fn take(&self, client: &str) -> Turn {
        let waiting = {
            let mut state = self.state();
            if state.free > 0 {
                state.free = state.free.saturating_sub(1);
                return Turn(Some(self.clone()));
            }
            let (sender, receiver) = oneshot::channel();
            let client: Arc<str> = client.into();
            let queue = state.queues.entry(Arc::clone(&client)).or_default();
            queue.push_back(sender);
            if queue.len() == 1 {
                state.order.push_back(client);
            }
            receiver
        };
        // The sender is dropped only with all turns, which live as long as this.
        waiting.await.unwrap_or(Turn(None))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever is next; where nobody is, the turn is free.
    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut state = self.state();
        while let Some(client) = state.order.pop_front() {
            let Some(queue) = state.queues.get_mut(&client) else { continue };
            let next = queue.pop_front();
            if queue.is_empty() {
                state.queues.remove(&client);
            } else {
                state.order.push_back(client);
            }
            if next.is_some() {
                return next;
            }
        }
        state.free = state.free.saturating_add(1);
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        while let Some(next) = turns.next() {
            match next.send(Self(Some(turns.clone()))) {
                Ok(()) => return,
                // It no longer waits: the turn goes on from hand to hand here, rather than by dropping it.
                Err(mut unused) => drop(unused.0.take()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn clients_take_turns_however_much_each_asks_for() {
        let turns = Turns::new(1);
        let mut held = turns.take("flood").await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        // The flood stands in line first, with all it has.
        for client in ["flood", "flood", "flood", "flood", "a", "b", "a"] {
            let (turns, order) = (turns.clone(), Arc::clone(&order));
            let mut wait = Box::pin(async move {
                let turn = turns.take(client).await;
                order.lock().unwrap().push(client);
                turn
            });
            assert!(wait.as_mut().now_or_never().is_none());
            waiting.push(wait);
        }
        while !waiting.is_empty() {
            drop(held);
            let mut next = None;
            let mut rest = Vec::new();
            for mut wait in waiting {
                match wait.as_mut().now_or_never() {
                    Some(turn) => assert!(next.replace(turn).is_none(), "two at once"),
                    None => rest.push(wait),
                }
            }
            (held, waiting) = (next.expect("nobody got the turn"), rest);
        }
        assert_eq!(*order.lock().unwrap(), ["flood", "a", "b", "flood", "a", "flood", "flood"]);
        drop(held);
        assert_eq!(turns.state().free, 1);
        assert!(turns.state().queues.is_empty());
    }

    #[tokio::test]
    async fn those_who_stop_waiting_are_passed_over() {
        let turns = Turns::new(2);
        let held = [turns.take("x").await, turns.take("x").await];
        let mut gone: Vec<_> = (0..10_000).map(|_| Box::pin(turns.take("gone"))).collect();
        for wait in &mut gone {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        let mut stays = Box::pin(turns.take("stays"));
        assert!(stays.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        drop(stays.await);
        assert_eq!(turns.state().free, 2);
        assert!(turns.state().queues.is_empty() && turns.state().order.is_empty());
    }
}
