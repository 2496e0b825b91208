//! What runs on a machine: it keeps itself as its owners signed it.
//!
//! # Goals
//!
//! - What it is told is verified by `trust`, written to disk, and only then carried out; with no network it goes on from its memory.
//! - Every wish is a unit that is observed, planned, acted on and observed again, for ever, each by itself.
//! - What a unit replaces is saved before its first act, and put back when the wish goes away.
//! - The machine says what it did: status, events, and acknowledgements that it signs.
//!
//! # Non-goals
//!
//! It decides nothing about other machines, listens on no port, and never applies what `trust` has not passed.
//!
//! # How the pieces interact
//!
//! [`run`] ties them together: `stead-wire` brings a state, the intake judges it and writes it to the [`MemoryStore`], the claims of the
//! profiles that mean this machine become wishes, the converger of `stead-unit` works on them with the unit kinds of this crate, and its
//! report goes back up as status.

mod agent;
mod claims;
mod fact_labels;
mod facts;
mod host;
mod keys;
mod memory;
mod metrics;
mod outbox;
mod stale;
mod status;
mod units;
mod updates;
mod vitals;
mod watched;

pub use agent::{AgentError, AgentOptions, Ended, Identity, Measure, Parts, RandomSource, Told, World, run, run_on};
pub use claims::{ClaimError, claims};
pub use fact_labels::fact_labels;
pub use facts::{LISTED_MAX, gather, machine_id, own_digest};
pub use host::{Folder, Gate, Host, HostError, HostPath, HostPathError, Ids, NameError, OpenGate, Thing};
pub use keys::{GivenKey, Keys, KeysAtHand};
pub use memory::{Keeper, MemoryStore, MemoryStoreError, News, Standing};
pub use metrics::{ActLabels, AgentMetrics, CheckLabels, KindLabels, OutcomeLabels, UnitLabels};
pub use outbox::{HeldBack, ItemKind, OUTBOX_BYTES_MAX, OUTBOX_ITEMS_MAX, Pushed};
pub use status::UNITS_LISTED_MAX;
pub use units::{
    Claim, Claimed, CommandDesired, CommandUnit, Conflict, Craft, DirectoryDesired, FileDesired, LinkDesired, Memory, Place,
    PlaceUnit, ProcessError, ProfileClaims, Saved, SavedError, UnitError, Wishes, Workshop, conflicts,
};
pub use vitals::measure;
