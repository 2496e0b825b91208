//! What pgBackRest says that it has: `pgbackrest info --output=json`.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Deserialize;

/// A stanza.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Info {
    /// The logs that it has, the newest last.
    #[serde(default)]
    pub(crate) archive: Vec<Archive>,
    /// Its backups, oldest first.
    #[serde(default)]
    pub backup: Vec<Backup>,
    /// How it is.
    pub status: Status,
}

/// How it is, as pgBackRest counts it: 0 is well, 2 is without a backup.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Status {
    /// As pgBackRest counts it.
    pub code: u32,
    /// In pgBackRest's words.
    pub message: String,
}

/// The log of one server.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Archive {
    pub(crate) id: String,
}

/// A base backup.
#[derive(Clone, Debug, Deserialize)]
pub struct Backup {
    /// pgBackRest's name of it.
    pub label: String,
    /// `full`, `diff` or `incr`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was taken.
    pub timestamp: Seconds,
    /// How large it is.
    pub info: Sizes,
    /// What it needs of the log.
    pub archive: Needs,
    /// Where its tablespaces were; only where it was asked for by its name.
    #[serde(default)]
    pub(crate) tablespace: Option<Vec<Tablespace>>,
    /// Whether pages had wrong checksums.
    #[serde(default)]
    pub error: Option<bool>,
}

/// A tablespace, in a folder beside the data.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Tablespace {
    pub(crate) destination: PathBuf,
}

/// When it began and ended, in seconds since 1970.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Seconds {
    /// When it began.
    pub start: i64,
    /// When it ended.
    pub stop: i64,
}

/// The size of the database, and what is new in the repository.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Sizes {
    /// Of the database.
    pub size: u64,
    /// Of what is new.
    pub repository: InRepository,
}

/// Bytes in the repository.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct InRepository {
    /// That were new with this backup.
    pub delta: u64,
}

/// The segments without which it cannot be restored.
#[derive(Clone, Debug, Deserialize)]
pub struct Needs {
    /// The first.
    pub start: Option<String>,
    /// The last.
    pub stop: Option<String>,
}

/// The status of a stanza that is not there.
const NO_STANZA: [u32; 2] = [1, 3];

impl Info {
    pub(crate) fn parse(text: &str, stanza: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
            #[serde(flatten)]
            info: Info,
        }
        let all: Vec<Named> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let found = all.into_iter().find(|one| one.name == stanza).map(|one| one.info);
        Ok(found.unwrap_or_else(Self::none))
    }

    /// Of a stanza that is not there.
    pub(crate) fn none() -> Self {
        Self { status: Status { code: 1, message: "missing stanza".to_owned() }, ..Self::default() }
    }

    pub(crate) fn has_stanza(&self) -> bool {
        !NO_STANZA.contains(&self.status.code)
    }

    /// The folders of all tablespaces that are named.
    pub(crate) fn tablespaces(self) -> Vec<PathBuf> {
        let named = self.backup.into_iter().filter_map(|backup| backup.tablespace);
        named.flatten().map(|tablespace| tablespace.destination).collect()
    }

    /// Backups that are whole as far as pgBackRest knows, oldest first.
    pub fn good(&self) -> impl DoubleEndedIterator<Item = &Backup> {
        self.backup.iter().filter(|backup| backup.is_whole())
    }

    /// The earliest moment that can be restored: the end of the oldest backup.
    pub fn earliest(&self) -> Option<Timestamp> {
        // It tells times by the second, and takes no backup for a moment of the second in which that ended.
        let second = jiff::SignedDuration::from_secs(1);
        self.good().next().map(|backup| backup.ended().checked_add(second).unwrap_or(Timestamp::MAX))
    }
}

impl Backup {
    /// When it ended.
    pub fn ended(&self) -> Timestamp {
        Timestamp::from_second(self.timestamp.stop).unwrap_or(Timestamp::MAX)
    }

    /// When it began.
    pub fn begun(&self) -> Timestamp {
        Timestamp::from_second(self.timestamp.start).unwrap_or(Timestamp::MIN)
    }

    /// Whether it is whole, as far as pgBackRest knows.
    pub fn is_whole(&self) -> bool {
        self.error != Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbackrest_says_is_understood() {
        let text = r#"[{"archive": [{"database": {"id": 1, "repo-key": 1}, "id": "15-1", "max": "000000010000000000000004", "min": "000000010000000000000002"}],
            "backup": [{"archive": {"start": "000000010000000000000003", "stop": "000000010000000000000004"}, "error": false,
                "info": {"delta": 22992577, "repository": {"delta": 2810353, "size": 2810353}, "size": 22992577},
                "label": "20261124-140152F", "timestamp": {"start": 1795528912, "stop": 1795528916}, "type": "full"}],
            "name": "stead", "status": {"code": 0, "message": "ok"}}]"#;
        let info = Info::parse(text, "stead").unwrap();
        assert!(info.has_stanza());
        assert_eq!(info.earliest().unwrap().to_string(), "2026-11-24T14:01:57Z");
        assert!(!Info::parse(text, "other").unwrap().has_stanza());
        assert!(!Info::parse("[]", "stead").unwrap().has_stanza());
        let none = r#"[{"backup": [], "db": [], "name": "stead", "status": {"code": 1, "message": "missing stanza path"}}]"#;
        assert!(!Info::parse(none, "stead").unwrap().has_stanza());
        assert!(Info::parse("no json", "stead").is_err());
    }
}
