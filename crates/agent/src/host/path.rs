//! A path on a machine: absolute, without `.`, `..` and empty parts.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest path, in bytes: Linux's PATH_MAX with its final NUL left out.
const PATH_BYTES_MAX: usize = 4095;
/// The longest part of a path, in bytes: NAME_MAX of every Linux file system.
const PART_BYTES_MAX: usize = 255;

/// An absolute, normal path below a machine's root; never the root itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPath(Arc<str>);

/// Why a text is no path on a machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not taken as a path, because {why}: give an absolute path such as \"/etc/motd\"")]
pub struct HostPathError {
    path: String,
    why: &'static str,
}

impl HostPath {
    /// Checks a path.
    ///
    /// # Errors
    ///
    /// It is relative, the root, too long, or has `.`, `..`, an empty part or a NUL in it.
    pub fn parse(text: &str) -> Result<Self, HostPathError> {
        match fault(text) {
            None => Ok(Self(text.into())),
            Some(why) => Err(HostPathError { path: text.to_owned(), why }),
        }
    }

    /// The path, with its leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as seen from the root: without its leading slash.
    pub(crate) fn inner(&self) -> &str {
        self.0.trim_start_matches('/')
    }

    /// The folder as seen from the root (empty for the root itself), and the name in it.
    pub(crate) fn split(&self) -> (&str, &str) {
        self.inner().rsplit_once('/').unwrap_or(("", self.inner()))
    }

    /// The folders that hold this path, nearest first, without the root.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = &str> {
        // The next folder ends where the last slash of the path before is; the one after the first slash is the root.
        self.as_str().rmatch_indices('/').filter_map(|(end, _)| self.as_str().get(..end)).filter(|path| !path.is_empty())
    }
}

fn fault(text: &str) -> Option<&'static str> {
    let Some(inner) = text.strip_prefix('/') else { return Some("it does not start with a slash") };
    if inner.is_empty() {
        return Some("it is the root itself");
    }
    if text.len() > PATH_BYTES_MAX {
        return Some("it is longer than 4095 bytes");
    }
    inner.split('/').find_map(|part| match part {
        "" => Some("a part of it is empty"),
        "." | ".." => Some("it has `.` or `..` in it"),
        part if part.contains('\0') => Some("it has a NUL in it"),
        part if part.len() > PART_BYTES_MAX => Some("a part of it is longer than 255 bytes"),
        _ => None,
    })
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for HostPath {
    type Error = HostPathError;

    fn try_from(text: String) -> Result<Self, HostPathError> {
        Self::parse(&text)
    }
}

impl From<HostPath> for String {
    fn from(path: HostPath) -> Self {
        path.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_normal_paths_are_taken() {
        let long = format!("/{}", "a".repeat(256));
        let deep = "/a".repeat(2048);
        for text in ["", "/", "etc", "./etc", "/etc/", "//etc", "/etc//motd", "/etc/../x", "/..", "/.", "/a\0b", &long, &deep] {
            assert!(HostPath::parse(text).is_err(), "{text:?}");
        }
        for text in ["/a", "/etc/motd", "/...", "/a b/ü"] {
            assert_eq!(HostPath::parse(text).map(|path| path.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn the_folders_of_a_path_come_nearest_first() {
        let path = HostPath::parse("/a/b/c").unwrap();
        assert_eq!(path.ancestors().collect::<Vec<_>>(), ["/a/b", "/a"]);
        assert_eq!(path.split(), ("a/b", "c"));
        assert_eq!(HostPath::parse("/a").unwrap().split(), ("", "a"));
    }
}
