//! The name of a unit: which kind of thing, and which one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Names one unit: its kind (`file`) and its subject (`/etc/motd`), written `file:/etc/motd`.
///
/// The subject is the thing itself. Two units with one subject and different kinds are about the same thing,
/// so the converger never works on both at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitId {
    kind: Arc<str>,
    subject: Arc<str>,
}

/// Why a text is not the name of a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a unit's name: it is written KIND:SUBJECT, as in \"file:/etc/motd\"")]
pub struct UnitIdError {
    text: String,
}

impl UnitId {
    /// The unit of this kind and subject. A kind has no colon in it.
    #[must_use]
    pub fn new(kind: &str, subject: &str) -> Self {
        debug_assert!(!kind.contains(':'), "a unit kind has no colon");
        Self { kind: kind.into(), subject: subject.into() }
    }

    /// The kind: `file`, `command`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What the unit is about: a path, a name.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    pub(crate) fn subject_shared(&self) -> Arc<str> {
        Arc::clone(&self.subject)
    }
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.subject)
    }
}

impl FromStr for UnitId {
    type Err = UnitIdError;

    fn from_str(text: &str) -> Result<Self, UnitIdError> {
        match text.split_once(':') {
            Some((kind, subject)) if !kind.is_empty() && !subject.is_empty() => Ok(Self::new(kind, subject)),
            _ => Err(UnitIdError { text: text.to_owned() }),
        }
    }
}

impl TryFrom<String> for UnitId {
    type Error = UnitIdError;

    fn try_from(text: String) -> Result<Self, UnitIdError> {
        text.parse()
    }
}

impl From<UnitId> for String {
    fn from(id: UnitId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for (text, kind, subject) in [("file:/etc/motd", "file", "/etc/motd"), ("command:web:start", "command", "web:start")] {
            let id: UnitId = text.parse().unwrap();
            assert_eq!((id.kind(), id.subject()), (kind, subject));
            assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "file", ":x", "file:"] {
            assert!(text.parse::<UnitId>().is_err(), "{text:?}");
        }
    }
}
