//! A disk with faults from a seed, under the record and under each machine's memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stead_store::{Disk, WriteEnd, Written};
use tokio::sync::mpsc;

use crate::chance::Chance;
use crate::trace::{Fault, Trace};

/// How often what goes wrong on a disk, in thousandths of its writes.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFaults {
    /// It takes seconds.
    pub slow: u64,
    /// It says that it has fsync'd, and has not.
    pub lies: u64,
    /// Its fsync fails.
    pub fails: u64,
    /// It is full.
    pub full: u64,
    /// Whoever writes is killed meanwhile.
    pub kills: u64,
}

/// Somebody who can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A coordinator, by its number.
    Coordinator(usize),
    /// A machine's agent, by its number.
    Machine(usize),
}

/// The disk of one party.
pub struct FaultyDisk {
    name: String,
    trace: Trace,
    chance: Mutex<Chance>,
    faults: Mutex<DiskFaults>,
    party: Party,
    /// Told when whoever writes is to be killed.
    kill: mpsc::UnboundedSender<Party>,
    kills: AtomicBool,
    writes: AtomicU64,
}

impl FaultyDisk {
    /// A disk that has no faults yet. `kill` is told when whoever writes to it is to be killed in the middle of it.
    pub fn new(party: Party, trace: Trace, chance: Chance, kill: mpsc::UnboundedSender<Party>) -> Self {
        let name = format!("{party:?}");
        let (faults, kills) = (Mutex::default(), AtomicBool::new(false));
        Self { name, trace, chance: Mutex::new(chance), faults, party, kill, kills, writes: AtomicU64::new(0) }
    }

    /// From now on it has these faults.
    pub fn set(&self, faults: DiskFaults) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// How often it was written to.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for FaultyDisk {
    fn write(&self) -> Written {
        let faults = *self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chance = self.chance();
        self.writes.fetch_add(1, Ordering::Relaxed);
        let mut takes = Duration::from_micros(chance.between(200, 6_000));
        if chance.permille(faults.slow) {
            self.trace.fault(Fault::SlowDisk);
            takes = Duration::from_millis(chance.between(500, 8_000));
        }
        let end = if chance.permille(faults.full) {
            self.trace.fault(Fault::DiskFull);
            WriteEnd::Full
        } else if chance.permille(faults.fails) {
            self.trace.fault(Fault::FsyncFailed);
            WriteEnd::Failed
        } else if chance.permille(faults.lies) {
            self.trace.fault(Fault::FsyncLied);
            WriteEnd::Lied
        } else {
            WriteEnd::Synced
        };
        if end != WriteEnd::Full && chance.permille(faults.kills) {
            self.trace.fault(Fault::CrashInWrite);
            self.kills.store(true, Ordering::Relaxed);
            // Nobody listens any more where the simulation has ended.
            let _ = self.kill.send(self.party);
            // It never comes to the end of this.
            takes = Duration::from_secs(3_600);
        }
        self.trace.note(format_args!("{} writes: {takes:?} {end:?}", self.name));
        Written { takes, end }
    }

    fn survivors(&self, unsafe_records: usize) -> usize {
        let kept = self.chance().below((unsafe_records as u64).saturating_add(1));
        let kept = usize::try_from(kept).unwrap_or(0).min(unsafe_records);
        if self.kills.swap(false, Ordering::Relaxed) {
            self.trace.fault(if kept == unsafe_records { Fault::UntoldWrite } else { Fault::TornWrite });
        }
        self.trace.note(format_args!("{} keeps {kept} of {unsafe_records}", self.name));
        kept
    }
}
