//! Where this workspace is, and the folders under it that xtask uses.

use std::path::{Path, PathBuf};

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// What xtask installs lives here, beside what cargo builds; removing it costs a download.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// Cargo's target folder, as cargo itself would choose it.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}
