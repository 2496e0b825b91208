//! Lanes for what a client has sent to it and takes long: some a client, the rest of what it asks for waits behind them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The lanes of every client that has something in one.
pub(crate) struct Lanes {
    per_client_max: usize,
    clients: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// One lane in use; free again when dropped.
pub(crate) struct Lane {
    _lane: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    /// So many lanes a client.
    pub(crate) fn new(per_client_max: usize) -> Self {
        Self { per_client_max, clients: Mutex::default() }
    }

    /// Waits for a lane of a client's own; first come, first served.
    pub(crate) async fn enter(&self, client: &str) -> Lane {
        let lanes = {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            match clients.get(client).and_then(Weak::upgrade) {
                Some(lanes) => lanes,
                None => {
                    clients.retain(|_, lanes| lanes.strong_count() > 0);
                    let lanes = Arc::new(Semaphore::new(self.per_client_max));
                    clients.insert(client.to_owned(), Arc::downgrade(&lanes));
                    lanes
                }
            }
        };
        // Nobody closes them.
        Lane { _lane: lanes.acquire_owned().await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_client_waits_behind_itself_alone() {
        let lanes = Lanes::new(2);
        let (first, _second) = (lanes.enter("a").await, lanes.enter("a").await);
        let mut third = Box::pin(lanes.enter("a"));
        assert!(third.as_mut().now_or_never().is_none());
        assert!(lanes.enter("b").now_or_never().is_some());
        drop(first);
        assert!(third.now_or_never().is_some());
        drop(_second);
        assert!(lanes.enter("c").now_or_never().is_some());
        assert_eq!(lanes.clients.lock().unwrap().len(), 1);
    }
}
