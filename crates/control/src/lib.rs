//! What the coordinator decides. One module a controller, each a pure `plan`, and a thin part that acts.
//!
//! # Goals
//!
//! Which machine is sent what, which has fallen silent, who may join, what became of each profile: decided by pure functions of a
//! view of the fleet, so that each can be read, tested by table and shown.
//!
//! # Non-goals
//!
//! No SQL, no HTTP; no clock inside a `plan` (time is an argument).
//!
//! # How the pieces interact
//!
//! The coordinator's loop keeps a [`Fleet`] coherent by watching the record, hears from machines through `wire`, asks the plans, and
//! carries out what they say. Whatever it remembers can be rebuilt from the record and the machines.

pub mod acknowledgement;
mod act;
pub mod delivery;
pub mod election;
pub mod enrollment;
pub mod events;
mod fleet;
pub mod liveness;
mod metrics;
pub mod presence;
pub mod profile_status;
pub mod pulse;
mod tally;
pub mod vitals_history;

pub use act::{
    Control, ENROLLMENTS_PENDING_MAX, GIVE_BACK_LINES_MAX, GIVE_BACKS_AT_ONCE_MAX, Gate, NOT_GIVEN_BACK_MAX, PLAN_SECONDS_MAX,
};
pub use fleet::{Fleet, MachineView};
pub use metrics::{ControlMetrics, GiveBackMetrics, MarkLabels, OutcomeLabels, ReasonLabels};
pub use tally::{Tally, tally};
