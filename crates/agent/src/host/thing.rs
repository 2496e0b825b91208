//! What is at a path, as far as a unit looks at it.

use std::fmt;

use serde::{Deserialize, Serialize};
use stead_model::Digest;

/// What is at a path. Two equal things are the same to us; times, hard links, extended attributes and access lists are not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Thing {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        /// Of its content.
        digest: Digest,
        /// The length of its content.
        bytes: u64,
        /// Permissions, with the set-user, set-group and sticky bits.
        mode: u32,
        /// The owner's number.
        uid: u32,
        /// The group's number.
        gid: u32,
    },
    /// A directory.
    Directory {
        /// Permissions, with the set-user, set-group and sticky bits.
        mode: u32,
        /// The owner's number.
        uid: u32,
        /// The group's number.
        gid: u32,
    },
    /// A symbolic link.
    Link {
        /// What it says, byte for byte; bytes that are no UTF-8 make it [`Thing::Other`].
        target: String,
    },
    /// Something that no unit makes or replaces.
    Other {
        /// What it is, in words.
        what: String,
    },
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("nothing"),
            Self::File { digest, bytes, mode, uid, gid } => {
                write!(f, "a file ({bytes} bytes, {digest}, mode {mode:04o}, owner {uid}:{gid})")
            }
            Self::Directory { mode, uid, gid } => write!(f, "a directory (mode {mode:04o}, owner {uid}:{gid})"),
            Self::Link { target } => write!(f, "a link to {target}"),
            Self::Other { what } => f.write_str(what),
        }
    }
}
