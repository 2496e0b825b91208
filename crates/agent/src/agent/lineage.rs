//! The line of this machine's starts, by which a copy of its disk is told from it.

use jiff::Timestamp;
use stead_wire::{LINEAGE_MAX, LineageStep};

use crate::memory::{self, Keeper};

/// Where the starts are kept among the memory's settings.
const STARTS_SETTING: &str = "starts";

/// Begins a start: it is on disk before anybody hears of it. One that cannot be written is not told of, for the next start would not know
/// it, and would look like another machine.
pub(super) async fn begin(store: &impl Keeper, now: Timestamp, mark: u64) -> Vec<LineageStep> {
    let kept: Vec<(u64, u64)> = match memory::setting(store, STARTS_SETTING).await {
        Ok(kept) => kept.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "the starts of this machine cannot be read");
            return Vec::new();
        }
    };
    let starts = next(kept, u64::try_from(now.as_millisecond()).unwrap_or_default(), mark);
    if let Err(error) = memory::set_setting(store, STARTS_SETTING, &starts).await {
        tracing::warn!(%error, "this start could not be written down; a copy of this machine is harder to find until it can");
        return Vec::new();
    }
    starts.into_iter().map(|(number, mark)| LineageStep { number, mark }).collect()
}

/// The number is the moment, so that a memory that is made anew goes on above an earlier one of the same machine; and above the one
/// before in any case.
fn next(mut starts: Vec<(u64, u64)>, unix_milliseconds: u64, mark: u64) -> Vec<(u64, u64)> {
    let above = starts.last().map_or(1, |(number, _)| number.saturating_add(1));
    starts.push((unix_milliseconds.max(above), mark));
    let surplus = starts.len().saturating_sub(LINEAGE_MAX);
    starts.drain(..surplus);
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_go_up_whatever_the_clock_says() {
        let mut starts = Vec::new();
        for (clock, expected) in [(100, 100), (50, 101), (0, 102), (500, 500)] {
            starts = next(starts, clock, 7);
            assert_eq!(starts.last(), Some(&(expected, 7)));
        }
        for clock in 0..20 {
            starts = next(starts, clock, 8);
        }
        assert_eq!(starts.len(), LINEAGE_MAX);
    }
}
