//! What the machine hears of its owners: their freshness statement, kept on disk, and what it says where there is none in time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_trust::{FRESHNESS_LATER, SignedFreshness};
use stead_wire::Transport;
use tokio::time::Instant;

use super::{Agent, AgentError};
use crate::memory::{self, Keeper};
use crate::stale::{self, Freshness, Known};

/// Where the statement is kept among the memory's settings.
const FRESHNESS_SETTING: &str = "freshness";

/// The newest statement that held when it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Heard {
    signed: SignedFreshness,
    time: Timestamp,
    root_version: u64,
}

/// Since when it is known what time it is at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    time: Timestamp,
    at: Instant,
}

impl<K: Keeper, T: Transport> Agent<K, T> {
    /// Takes what was heard before from the disk. A word of somebody who is no owner any more stays what it was: it was theirs to give.
    pub(super) async fn remember_freshness(&mut self) -> Result<(), AgentError> {
        self.fresh = memory::setting(&self.store, FRESHNESS_SETTING).await?;
        Ok(())
    }

    /// Takes an owner's word; none where the bytes are something else. Says what became of it, for whoever passed it on.
    pub(super) async fn hear_of_owners(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let signed = match SignedFreshness::from_bytes(body) {
            Ok(None) => return None,
            Ok(Some(signed)) => signed,
            Err(error) => return Some(error.to_string().into_bytes()),
        };
        // It has no trust root yet, which comes first.
        let Some(memory) = self.memory.as_ref() else { return Some(FRESHNESS_LATER.to_vec()) };
        let fresh = match signed.verify(memory.fleet(), memory.roots().newest()) {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::warn!(%error, "a word of the owners was refused");
                self.metrics.freshness_refused.inc();
                return Some(error.to_string().into_bytes());
            }
        };
        if self.fresh.as_ref().is_some_and(|heard| heard.time >= fresh.time) {
            return Some(b"known".to_vec());
        }
        let heard = Heard { signed, time: fresh.time, root_version: fresh.root_version };
        if let Err(error) = memory::set_setting(&self.store, FRESHNESS_SETTING, &heard).await {
            tracing::warn!(%error, "the owners' word could not be kept; the next session brings it again");
            return Some(b"not kept".to_vec());
        }
        tracing::info!(time = %heard.time, "the owners are there");
        self.fresh = Some(heard);
        self.floor = None;
        // A connection that has stopped is noticed by the loop.
        let _ = self.tell_status().await;
        Some(b"taken".to_vec())
    }

    /// What the machine says of it now.
    pub(super) fn judge_freshness(&mut self) -> Option<Freshness> {
        let memory = self.memory.as_ref()?;
        let root = memory.roots().newest();
        let (told_at, root_version_told) = self.fresh.as_ref().map_or((root.time, 0), |heard| (heard.time, heard.root_version));
        let least = memory.now().max(told_at);
        // Restarted whenever something newer was verified; until then, time goes on from it.
        let floor = match self.floor.filter(|floor| floor.time == least) {
            Some(floor) => floor,
            None => *self.floor.insert(Floor { time: least, at: Instant::now() }),
        };
        Some(stale::judge(&Known {
            freshness_days: root.expiry.freshness_days,
            fresh_at: told_at.max(root.time),
            root_version_told,
            root_version: root.version,
            clock: self.world.now(),
            floor: floor.time,
            since_floor: floor.at.elapsed(),
            clock_offset_milliseconds: self.clock_offset_milliseconds,
        }))
    }
}
