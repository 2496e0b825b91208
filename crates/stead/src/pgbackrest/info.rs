//! What pgBackRest says that it has: `pgbackrest info --output=json`.

use jiff::Timestamp;
use serde::Deserialize;

/// A stanza.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Info {
    #[serde(default)]
    pub(super) archive: Vec<Archive>,
    #[serde(default)]
    pub(super) backup: Vec<Backup>,
    pub(super) status: Status,
}

/// How it is, as pgBackRest counts it: 0 is well, 2 is without a backup.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Status {
    pub(super) code: u32,
    pub(super) message: String,
}

/// The log of one server.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Archive {
    pub(super) id: String,
}

/// A base backup.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Backup {
    pub(super) label: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) timestamp: Seconds,
    pub(super) info: Sizes,
    pub(super) archive: Needs,
    #[serde(default)]
    pub(super) error: Option<bool>,
}

/// When it began and ended, in seconds since 1970.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Seconds {
    pub(super) start: i64,
    pub(super) stop: i64,
}

/// The size of the database, and what is new in the repository.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Sizes {
    pub(super) size: u64,
    pub(super) repository: InRepository,
}

/// Bytes in the repository.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct InRepository {
    pub(super) delta: u64,
}

/// The segments without which it cannot be restored.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Needs {
    pub(super) start: Option<String>,
    pub(super) stop: Option<String>,
}

/// The status of a stanza that is not there.
const NO_STANZA: [u32; 2] = [1, 3];

impl Info {
    pub(super) fn parse(text: &str, stanza: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
            #[serde(flatten)]
            info: Info,
        }
        let all: Vec<Named> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let found = all.into_iter().find(|one| one.name == stanza).map(|one| one.info);
        Ok(found.unwrap_or_else(|| Self { status: Status { code: 1, message: "missing stanza".to_owned() }, ..Self::default() }))
    }

    pub(super) fn has_stanza(&self) -> bool {
        !NO_STANZA.contains(&self.status.code)
    }

    /// Backups that are whole as far as pgBackRest knows, oldest first.
    pub(super) fn good(&self) -> impl DoubleEndedIterator<Item = &Backup> {
        self.backup.iter().filter(|backup| backup.error != Some(true))
    }

    /// The earliest moment that can be restored: the end of the oldest backup.
    pub(super) fn earliest(&self) -> Option<Timestamp> {
        // It tells times by the second, and takes no backup for a moment of the second in which that ended.
        let second = jiff::SignedDuration::from_secs(1);
        self.good().next().map(|backup| backup.ended().checked_add(second).unwrap_or(Timestamp::MAX))
    }
}

impl Backup {
    pub(super) fn ended(&self) -> Timestamp {
        Timestamp::from_second(self.timestamp.stop).unwrap_or(Timestamp::MAX)
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
