//! What happened in a simulation: a digest of all of it, the faults that really occurred, and what was wrong.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A datagram was lost; what it carried came later.
    Drop,
    /// A datagram took much longer than others.
    Delay,
    /// A datagram was overtaken by one that was sent after it.
    Reorder,
    /// A datagram came twice.
    Duplicate,
    /// A path was cut for a while.
    Partition,
    /// A connection ended because its path was cut for too long.
    ConnectionLost,
    /// A coordinator was killed.
    CrashCoordinator,
    /// An agent was killed.
    CrashAgent,
    /// Somebody was killed in the middle of a write.
    CrashInWrite,
    /// What was being written when the power went was torn, or not there.
    TornWrite,
    /// What was being written when the power went was there, though nobody was told.
    UntoldWrite,
    /// A disk said that it had fsync'd, and had not.
    FsyncLied,
    /// Power was lost with such an fsync's data.
    FsyncLost,
    /// An fsync failed.
    FsyncFailed,
    /// A disk was full.
    DiskFull,
    /// A disk took long.
    SlowDisk,
    /// A clock jumped.
    ClockStep,
    /// A unit's act failed.
    UnitFailed,
    /// A lying coordinator left out a change.
    LieWithheld,
    /// It made up a change.
    LieForged,
    /// It altered a change.
    LieAltered,
    /// It sent an older state again.
    LieReplayed,
    /// It sent changes in another order.
    LieReordered,
    /// It left objects out of a full state.
    LieOmitted,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Drop,
        Self::Delay,
        Self::Reorder,
        Self::Duplicate,
        Self::Partition,
        Self::ConnectionLost,
        Self::CrashCoordinator,
        Self::CrashAgent,
        Self::CrashInWrite,
        Self::TornWrite,
        Self::UntoldWrite,
        Self::FsyncLied,
        Self::FsyncLost,
        Self::FsyncFailed,
        Self::DiskFull,
        Self::SlowDisk,
        Self::ClockStep,
        Self::UnitFailed,
        Self::LieWithheld,
        Self::LieForged,
        Self::LieAltered,
        Self::LieReplayed,
        Self::LieReordered,
        Self::LieOmitted,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}

/// How often each kind of fault occurred.
pub type Counts = BTreeMap<Fault, u64>;

/// What happened, as it happens. Cheap to clone; all clones are the same trace.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    start: Instant,
    digest: Sha256,
    counts: Counts,
    violations: Vec<String>,
    /// The last lines, where they are kept.
    lines: Option<Vec<String>>,
}

impl Trace {
    /// An empty trace that begins now. `keep_lines` keeps it as text, too.
    pub fn new(keep_lines: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            start: Instant::now(),
            digest: Sha256::new(),
            counts: Counts::new(),
            violations: Vec::new(),
            lines: keep_lines.then(Vec::new),
        })))
    }

    /// Something happened.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        self.note_with(what, &[]);
    }

    /// Something happened, with bytes that belong to it.
    pub fn note_with(&self, what: fmt::Arguments<'_>, bytes: &[u8]) {
        let mut inner = self.inner();
        let mut line = format!("{:>9} ", inner.start.elapsed().as_millis());
        // Writing into a string does not fail.
        let _ = line.write_fmt(what);
        inner.digest.update(line.as_bytes());
        inner.digest.update(bytes);
        inner.digest.update([0]);
        if let Some(lines) = &mut inner.lines {
            lines.push(line);
        }
    }

    /// A fault occurred.
    pub fn fault(&self, fault: Fault) {
        let count = &mut self.inner().counts;
        let count = count.entry(fault).or_default();
        *count = count.saturating_add(1);
    }

    /// Something is wrong that must never be.
    pub fn violation(&self, what: String) {
        self.note(format_args!("VIOLATION {what}"));
        self.inner().violations.push(what);
    }

    /// What was wrong, up to now.
    pub fn violations(&self) -> Vec<String> {
        self.inner().violations.clone()
    }

    /// The faults, up to now.
    pub fn counts(&self) -> Counts {
        self.inner().counts.clone()
    }

    /// The lines, up to now.
    pub fn lines(&self) -> Vec<String> {
        self.inner().lines.clone().unwrap_or_default()
    }

    /// The digest of all that happened, up to now, in hexadecimal.
    pub fn digest(&self) -> String {
        let digest = self.inner().digest.clone().finalize();
        digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
