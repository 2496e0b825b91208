//! A disk as a model: a log that is written and fsync'd, and what a crash leaves of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// How a disk behaves. Whoever simulates one brings its faults; they may be drawn from a seed.
pub trait Disk: Send + Sync + 'static {
    /// What becomes of the next record that is written and fsync'd.
    fn write(&self) -> Written;

    /// The power is lost, or the log is looked at after a failure, while so many records, in order, were not safely on disk: how many of
    /// them are there all the same. The one after those may be torn; it is as good as not there.
    fn survivors(&self, unsafe_records: usize) -> usize;
}

/// What becomes of a record that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// How long it takes, on tokio's clock.
    pub takes: Duration,
    /// How it ends.
    pub end: WriteEnd,
}

/// How a write ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteEnd {
    /// It is on disk, and all before it.
    Synced,
    /// The disk says so, and has it in a cache that loses power.
    Lied,
    /// The fsync failed: the record may be on disk or not.
    Failed,
    /// There is no room; nothing was written.
    Full,
}

/// A disk that takes no time and keeps its word.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoundDisk;

impl Disk for SoundDisk {
    fn write(&self) -> Written {
        Written { takes: Duration::ZERO, end: WriteEnd::Synced }
    }

    fn survivors(&self, _unsafe_records: usize) -> usize {
        0
    }
}

/// Why a record is not on disk, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFailure {
    /// Nothing was written.
    Full,
    /// It may be there; [`DiskLog::settle`] finds out.
    Unsure,
}

/// A log on a disk. What is written to it are the states that follow each other, each whole: what a log of differences would be
/// replayed to. States should be cheap to clone.
pub struct DiskLog<S> {
    disk: Arc<dyn Disk>,
    states: Mutex<States<S>>,
    /// How often the power was lost.
    crashes: watch::Sender<u64>,
}

struct States<S> {
    /// What no crash takes away.
    durable: S,
    /// What the disk has acknowledged, and does not have.
    lied: Vec<S>,
    /// What is being written, or was given up half-way.
    open: Option<S>,
}

impl<S: Clone> DiskLog<S> {
    /// A log that begins with a state.
    pub fn new(disk: Arc<dyn Disk>, state: S) -> Self {
        Self { disk, states: Mutex::new(States { durable: state, lied: Vec::new(), open: None }), crashes: watch::Sender::new(0) }
    }

    /// Writes the next state. One writer at a time. A future that is dropped leaves the state where it was: on its way.
    ///
    /// # Errors
    ///
    /// [`LogFailure`].
    pub async fn write(&self, state: S) -> Result<(), LogFailure> {
        let Written { takes, end } = self.disk.write();
        if end != WriteEnd::Full {
            self.states().open = Some(state);
        }
        if !takes.is_zero() {
            let mut crashes = self.crashes.subscribe();
            tokio::select! {
                biased;
                // What became of it was decided when the power was lost.
                _ = crashes.changed() => return Err(LogFailure::Unsure),
                () = tokio::time::sleep(takes) => {}
            }
        }
        let mut states = self.states();
        match end {
            WriteEnd::Full => Err(LogFailure::Full),
            WriteEnd::Failed => Err(LogFailure::Unsure),
            WriteEnd::Lied => {
                let written = states.open.take();
                states.lied.extend(written);
                Ok(())
            }
            WriteEnd::Synced => {
                states.lied.clear();
                if let Some(written) = states.open.take() {
                    states.durable = written;
                }
                Ok(())
            }
        }
    }

    /// Finds out what became of a state that nobody could speak for: the newest one, where that is news. It is safely on disk then.
    pub fn settle(&self) -> Option<S> {
        let mut states = self.states();
        let open = states.open.take()?;
        let there = self.disk.survivors(1) > 0;
        if there {
            // The disk was made to answer for all of it.
            states.lied.clear();
            states.durable = open.clone();
        }
        there.then_some(open)
    }

    /// The power is lost. Gives what is left, and how many states are gone that the disk had acknowledged.
    pub fn crash(&self) -> (S, usize) {
        self.crashes.send_modify(|crashes| *crashes = crashes.saturating_add(1));
        let mut states = self.states();
        let open = states.open.take();
        let acknowledged = states.lied.len();
        let unsafe_states: Vec<S> = states.lied.drain(..).chain(open).collect();
        let kept = if unsafe_states.is_empty() { 0 } else { self.disk.survivors(unsafe_states.len()).min(unsafe_states.len()) };
        if let Some(last) = kept.checked_sub(1).and_then(|last| unsafe_states.get(last)) {
            states.durable = last.clone();
        }
        (states.durable.clone(), acknowledged.saturating_sub(kept))
    }

    fn states(&self) -> MutexGuard<'_, States<S>> {
        // Every change of it leaves states that some disk could have.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
