//! What runs on a machine.

mod host;
mod units;

pub use host::{Folder, Gate, Host, HostError, HostPath, HostPathError, Ids, NameError, OpenGate, Thing};
pub use units::{
    Claim, Claimed, CommandDesired, CommandUnit, Conflict, DirectoryDesired, FileDesired, LinkDesired, Memory, Place, PlaceUnit,
    ProcessError, ProfileClaims, Saved, SavedError, UnitError, Wishes, Workshop, conflicts,
};
