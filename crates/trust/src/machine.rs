//! What a machine keeps and how it judges: nothing reaches its units that has not passed here.

mod judge;
mod memory;
mod refusal;

pub use judge::{AcceptedEntry, judge};
pub(crate) use memory::machine_kind;
pub use memory::{
    Adoption, EntryRow, HeldEntry, JoinError, MachineMemory, MemoryError, MemoryRow, RootRow, StatementRow, adopt_roots,
};
pub use refusal::{Check, Refusal};
