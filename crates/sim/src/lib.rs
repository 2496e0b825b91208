//! A simulated fleet from a seed: coordinators, machines and an owner on one thread, in virtual time, with everything that goes wrong.
//!
//! # Goals
//!
//! - What decides in the binary decides here: `stead-store`, `stead-admission`, `stead-control`, `stead-wire`, `stead-agent`,
//!   `stead-trust` and `stead-unit` run as they are, drivers and all. What is a model is what they stand on: clock, disk, network, and
//!   a machine's files.
//! - The same seed does the same, byte for byte: [`Outcome::digest`] proves it.
//! - A seed that fails says what was wrong, and is run again with its number.
//!
//! # Non-goals
//!
//! It does not simulate iroh, SQLite, PostgreSQL or a file system; those are tested for real. It decides nothing.
//!
//! # How the pieces interact
//!
//! [`play`] makes a fleet of a seed, and lets a driver do to it what the seed says: changes are signed and submitted, paths are cut, parties are
//! killed and started again. A killed party's tasks are dropped, and what it left behind is cut off from disk and network; its disk
//! keeps what it had. The [`Ledger`] knows what owners signed and what was acknowledged; the models ask it whenever a machine writes or
//! acts. After the faults all has to converge, and nothing acknowledged may be missing.

mod chance;
mod coordinator;
mod disk;
mod host;
mod ledger;
mod liar;
mod machine;
mod memory;
mod net;
mod owner;
mod scenario;
mod time;
mod trace;
mod verdict;

pub use chance::Chance;
pub use coordinator::CoordinatorParty;
pub use disk::{DiskFaults, FaultyDisk, Party};
pub use host::{ModelHost, Shape};
pub use ledger::Ledger;
pub use liar::Liar;
pub use machine::MachineParty;
pub use memory::{MachineDisk, ModelMemory};
pub use net::{Net, SimConnection, SimTransport, Weather};
pub use owner::Owner;
pub use scenario::{Outcome, Plan, play};
pub use time::PartyClock;
pub use trace::{Counts, Fault, Trace};
