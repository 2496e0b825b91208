//! The kinds, one module each.

pub(crate) mod change;
pub(crate) mod enrollment;
pub(crate) mod event;
pub(crate) mod lease;
pub(crate) mod machine;
pub(crate) mod machine_path;
pub(crate) mod namespace;
pub(crate) mod profile;
pub(crate) mod proposal;
pub(crate) mod review;
pub(crate) mod trust_root;
