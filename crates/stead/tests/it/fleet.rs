//! Whole fleets out of the real binary: coordinator and agents as processes, the owner's commands, and the machines' files.

mod altered_record;
mod campaign;
mod campaign_rounds;
mod coordinator_starts;
mod diff;
mod duplicate_key;
mod export;
mod first_starts;
mod full_disk;
mod harness;
mod history;
mod host_keys;
mod kubectl;
mod liveness;
mod postgres;
mod preconditions;
mod process;
mod prune;
mod rotation;
mod status;
mod undo;
mod withdrawal;
