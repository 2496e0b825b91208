//! What setting up has to do on a server, in words: a pure function of what was found there.

use std::fmt;

use crate::cluster::Facts;
use crate::info::Info;

/// Connections for standbys and base backups of other tools: what PostgreSQL itself sets. Fewer than two leave no room for a standby.
const WAL_SENDERS: u32 = 10;
const WAL_SENDERS_MIN: u32 = 2;

/// How long what is written may wait for its segment to be full, where nobody has said: a server that is lost with its disk has then
/// lost a minute. A segment that was ended early takes some KiB in the repository.
const ARCHIVE_TIMEOUT: &str = "60s";

/// One step. Each can be done again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write pgBackRest's configuration, which is not there, or other than it should be.
    Write {
        /// Whether it is there, and other.
        there: bool,
    },
    /// Set one of the server's settings.
    Set {
        /// Its name.
        name: &'static str,
        /// What it is.
        from: String,
        /// What it will be.
        to: String,
    },
    /// Let the server read its settings.
    Reload,
    /// Restart it: these wait for that.
    Restart {
        /// The settings that wait for it.
        for_what: String,
    },
    /// Make the stanza.
    Create,
    /// Let pgBackRest see whether a segment of the log gets into the repository.
    Check,
    /// Take the first backup.
    Backup,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { there: false } => formatter.write_str("write pgBackRest's configuration"),
            Self::Write { there: true } => {
                formatter.write_str("write pgBackRest's configuration anew: it is another than what is asked for")
            }
            Self::Set { name, from, to } if from.is_empty() => write!(formatter, "set {name} to '{to}'"),
            Self::Set { name, from, to } => write!(formatter, "set {name} to '{to}', from '{from}'"),
            Self::Reload => formatter.write_str("let the server read its settings"),
            Self::Restart { for_what } => write!(formatter, "restart the server, for {for_what}"),
            Self::Create => formatter.write_str("make the stanza in the repository"),
            Self::Check => formatter.write_str("check that the log gets into the repository"),
            Self::Backup => formatter.write_str("take the first full backup"),
        }
    }
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A standby archives nothing.
    #[error("the server is a standby: set up backups where the primary runs")]
    Standby,
    /// Somebody else's archive_command.
    #[error("the server has the archive_command '{0}', which somebody else has set, and stead replaces no archive but its own")]
    Command(String),
    /// Somebody else's archive_library.
    #[error("the server has the archive_library '{0}', which somebody else has set, and with it no archive_command is used")]
    Library(String),
    /// A setting that no file changes.
    #[error("{0} stands on the server's command line, where no file changes it; take it away there, and restart the server")]
    Typed(String),
    /// A server that is too old.
    #[error("the server is of version {0}, and has to be 15 or newer")]
    Old(u32),
}

/// The oldest server whose record this is.
const VERSION_MIN: u32 = 150_000;

/// What is to be done to the server's settings, so that it archives with this command.
pub(crate) fn server(facts: &Facts, command: &str, replace: bool) -> Result<Vec<Step>, Refusal> {
    if facts.standby {
        return Err(Refusal::Standby);
    }
    if facts.version < VERSION_MIN {
        return Err(Refusal::Old(facts.version));
    }
    let found = facts.archive_command.as_str();
    if !facts.archive_library.is_empty() && !replace {
        return Err(Refusal::Library(facts.archive_library.clone()));
    }
    if !found.is_empty() && found != command && !replace {
        return Err(Refusal::Command(found.to_owned()));
    }
    let mut steps = Vec::new();
    let mut set = |name: &'static str, from: &str, to: &str| {
        steps.push(Step::Set { name, from: from.to_owned(), to: to.to_owned() });
    };
    let mut restart = Vec::new();
    let written = facts.wal_level_written.as_deref().unwrap_or(&facts.wal_level);
    if written == "minimal" {
        set("wal_level", written, "replica");
    }
    if facts.wal_level == "minimal" {
        restart.push("wal_level");
    }
    let written = facts.max_wal_senders_written.unwrap_or(facts.max_wal_senders);
    if written < WAL_SENDERS_MIN {
        set("max_wal_senders", &written.to_string(), &WAL_SENDERS.to_string());
    }
    if facts.max_wal_senders < WAL_SENDERS_MIN {
        restart.push("max_wal_senders");
    }
    if !facts.archive_library.is_empty() {
        set("archive_library", &facts.archive_library, "");
    }
    if found != command {
        set("archive_command", found, command);
    }
    if facts.archive_timeout.trim_end_matches(char::is_alphabetic) == "0" {
        set("archive_timeout", &facts.archive_timeout, ARCHIVE_TIMEOUT);
    }
    let written = facts.archive_mode_written.as_deref().unwrap_or(&facts.archive_mode);
    if written == "off" {
        set("archive_mode", written, "on");
    }
    if facts.archive_mode == "off" {
        restart.push("archive_mode");
    }
    let names: Vec<&str> =
        steps.iter().filter_map(|step| if let Step::Set { name, .. } = step { Some(*name) } else { None }).collect();
    if let Some(typed) = names.iter().chain(&restart).find(|name| facts.typed.iter().any(|typed| typed == *name)) {
        return Err(Refusal::Typed((*typed).to_owned()));
    }
    if !steps.is_empty() {
        steps.push(Step::Reload);
    }
    if !restart.is_empty() {
        steps.push(Step::Restart { for_what: restart.join(", ") });
    }
    Ok(steps)
}

/// What is to be done in the repository, once the server archives.
pub(crate) fn repository(info: &Info) -> Vec<Step> {
    let mut steps = Vec::new();
    if !info.has_stanza() {
        steps.push(Step::Create);
    }
    if info.good().next().is_none() {
        steps.extend([Step::Check, Step::Backup]);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "pgbackrest archive-push %p";

    fn facts(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = Facts {
            data: "/data".into(),
            server_config: "/data/postgresql.conf".into(),
            port: 5432,
            version: 150_004,
            archive_mode: "off".to_owned(),
            archive_mode_written: None,
            archive_command: String::new(),
            archive_library: String::new(),
            archive_timeout: "300".to_owned(),
            wal_level: "replica".to_owned(),
            wal_level_written: None,
            max_wal_senders: 10,
            max_wal_senders_written: None,
            typed: Vec::new(),
            wal_segment_bytes: 16 << 20,
            standby: false,
            superuser: true,
            started: "2026-01-01".to_owned(),
        };
        change(&mut facts);
        facts
    }

    fn words(facts: &Facts, replace: bool) -> Vec<String> {
        server(facts, OURS, replace).unwrap().iter().map(Step::to_string).collect()
    }

    #[test]
    fn what_is_as_it_should_be_is_left() {
        let set_up = facts(|facts| {
            facts.archive_mode = "on".to_owned();
            facts.archive_command = OURS.to_owned();
        });
        assert!(words(&set_up, false).is_empty());
        let always = facts(|facts| {
            facts.archive_mode = "always".to_owned();
            facts.wal_level = "logical".to_owned();
            facts.archive_command = OURS.to_owned();
        });
        assert!(words(&always, false).is_empty());
    }

    #[test]
    fn a_server_that_archives_nothing_is_set_and_restarted_once() {
        let expected = [
            "set archive_command to 'pgbackrest archive-push %p'",
            "set archive_mode to 'on', from 'off'",
            "let the server read its settings",
            "restart the server, for archive_mode",
        ];
        assert_eq!(words(&facts(|_| {}), false), expected);
        // It was set, and waits for the restart.
        let waiting = facts(|facts| {
            facts.archive_command = OURS.to_owned();
            facts.archive_mode_written = Some("on".to_owned());
        });
        assert_eq!(words(&waiting, false), ["restart the server, for archive_mode"]);
        let waits_for_ever = facts(|facts| facts.archive_timeout = "0".to_owned());
        assert_eq!(words(&waits_for_ever, false)[1], "set archive_timeout to '60s', from '0'");
        let minimal = facts(|facts| {
            facts.wal_level = "minimal".to_owned();
            facts.max_wal_senders = 0;
        });
        let words = words(&minimal, false);
        assert!(words.contains(&"set wal_level to 'replica', from 'minimal'".to_owned()), "{words:?}");
        assert_eq!(words.last().unwrap(), "restart the server, for wal_level, max_wal_senders, archive_mode");
    }

    #[test]
    fn what_somebody_else_has_set_is_not_replaced_unasked() {
        let foreign = facts(|facts| facts.archive_command = "cp %p /mnt/wal/%f".to_owned());
        assert_eq!(server(&foreign, OURS, false), Err(Refusal::Command("cp %p /mnt/wal/%f".to_owned())));
        assert_eq!(words(&foreign, true)[0], "set archive_command to 'pgbackrest archive-push %p', from 'cp %p /mnt/wal/%f'");
        let library = facts(|facts| facts.archive_library = "basic_archive".to_owned());
        assert_eq!(server(&library, OURS, false), Err(Refusal::Library("basic_archive".to_owned())));
        assert_eq!(words(&library, true)[0], "set archive_library to '', from 'basic_archive'");
        let typed = facts(|facts| facts.typed = vec!["archive_mode".to_owned()]);
        assert_eq!(server(&typed, OURS, true), Err(Refusal::Typed("archive_mode".to_owned())));
        assert_eq!(server(&facts(|facts| facts.standby = true), OURS, true), Err(Refusal::Standby));
        assert_eq!(server(&facts(|facts| facts.version = 140_010), OURS, true), Err(Refusal::Old(140_010)));
    }

    #[test]
    fn a_repository_gets_what_it_lacks() {
        let with = |code, backups: &str| {
            let text = format!(r#"[{{"name": "s", "status": {{"code": {code}, "message": ""}}, "backup": [{backups}]}}]"#);
            repository(&Info::parse(&text, "s").unwrap())
        };
        let backup = |error| {
            format!(
                r#"{{"label": "a", "type": "full", "error": {error}, "timestamp": {{"start": 1, "stop": 2}}, "archive": {{"start": null,
                    "stop": null}}, "info": {{"size": 1, "repository": {{"delta": 1}}}}}}"#
            )
        };
        assert_eq!(with(1, ""), [Step::Create, Step::Check, Step::Backup]);
        assert_eq!(with(2, ""), [Step::Check, Step::Backup]);
        assert_eq!(with(0, &backup(true)), [Step::Check, Step::Backup]);
        assert_eq!(with(0, &backup(false)), []);
    }
}
