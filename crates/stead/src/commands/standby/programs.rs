//! PostgreSQL's own programs, run as the user that owns the data.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Failure, FailureKind};

/// Where Debian keeps PostgreSQL, one folder a version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Where the programs are, and as whom they run.
#[derive(Debug)]
pub(super) struct Programs {
    folder: PathBuf,
    pub(super) user: Option<(u32, u32)>,
    pub(super) pass_file: Option<PathBuf>,
}

impl Programs {
    /// The programs of a version of PostgreSQL, in a folder where one is named.
    pub(super) fn find(folder: Option<&Path>, major: Option<u32>, user: Option<(u32, u32)>) -> Result<Self, Failure> {
        let folder = match (folder, major) {
            (Some(folder), _) => folder.to_owned(),
            (None, Some(major)) => Path::new(VERSIONS).join(major.to_string()).join("bin"),
            (None, None) => return Err(Failure::user("no server says which version it has; give --bin-dir")),
        };
        if !folder.join("pg_ctl").exists() {
            return Err(Failure::new(FailureKind::Config, format!("{} has no pg_ctl", folder.display()))
                .hint("Install PostgreSQL in the primary's version, or give --bin-dir."));
        }
        Ok(Self { folder, user, pass_file: None })
    }

    /// The same, as the owner of a data directory.
    pub(super) fn for_owner_of(mut self, data_dir: &Path) -> Result<Self, Failure> {
        let found = std::fs::metadata(data_dir);
        let found = found.map_err(|error| Failure::new(FailureKind::Config, format!("{}: {error}", data_dir.display())))?;
        self.user = is_root().then(|| (found.uid(), found.gid()));
        Ok(self)
    }

    /// Runs one to its end; what it prints is given back.
    pub(super) fn run(&self, program: &str, words: &[&str]) -> Result<String, Failure> {
        let mut command = Command::new(self.folder.join(program));
        command.args(words).env("LC_ALL", "C");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        if let Some(file) = &self.pass_file {
            command.env("PGPASSFILE", file);
        }
        finish(command, program)
    }

    /// What a data directory says of itself.
    pub(super) fn control_data(&self, data_dir: &Path) -> Result<ControlData, Failure> {
        let said = self.run("pg_controldata", &["-D", &data_dir.to_string_lossy()])?;
        let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Ok(ControlData {
            state: value("Database cluster state:").unwrap_or_default().to_owned(),
            system: value("Database system identifier:").and_then(|text| text.parse::<u64>().ok()).map(u64::cast_signed),
            timeline: value("Latest checkpoint's TimeLineID:").and_then(|text| text.parse().ok()),
            checkpoint: value("Latest checkpoint location:").and_then(position),
        })
    }

    /// Where a server that has been stopped in good order wrote its last word.
    pub(super) fn last_checkpoint(&self, data_dir: &Path) -> Result<u64, Failure> {
        let found = self.control_data(data_dir)?;
        if found.state != "shut down" {
            return Err(Failure::refused(format!("{} was not shut down in good order", data_dir.display())));
        }
        found.checkpoint.ok_or_else(|| Failure::internal("pg_controldata does not say where the last checkpoint is"))
    }
}

/// What `pg_controldata` says.
pub(super) struct ControlData {
    pub(super) state: String,
    pub(super) system: Option<i64>,
    pub(super) timeline: Option<u32>,
    checkpoint: Option<u64>,
}

/// Runs a program to its end; what it prints is given back.
pub(super) fn finish(mut command: Command, program: &str) -> Result<String, Failure> {
    // A server that is started must not hold on to what this command prints to.
    let log = tempfile()?;
    let again = log.try_clone().map_err(|error| Failure::internal(error.to_string()))?;
    let errors = log.try_clone().map_err(|error| Failure::internal(error.to_string()))?;
    let ended = command.current_dir("/").stdin(Stdio::null()).stdout(again).stderr(errors).status();
    let ended = ended.map_err(|error| Failure::new(FailureKind::Config, format!("{program}: {error}")))?;
    let said = read(log);
    if ended.success() {
        return Ok(said);
    }
    Err(Failure::new(FailureKind::Config, format!("{program} failed: {}", said.trim())))
}

/// A log position as PostgreSQL writes it: two hexadecimal halves.
fn position(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(u64::from_str_radix(high, 16).ok()? << 32 | u64::from_str_radix(low, 16).ok()?)
}

/// A file without a name.
fn tempfile() -> Result<std::fs::File, Failure> {
    let path = std::env::temp_dir().join(format!("stead-standby-{}", std::process::id()));
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let file = file.map_err(|error| Failure::new(FailureKind::Config, format!("{}: {error}", path.display())))?;
    std::fs::remove_file(&path).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(file)
}

fn read(mut file: std::fs::File) -> String {
    use std::io::{Read as _, Seek as _};
    let mut text = Vec::new();
    // What cannot be read is not shown; how the program ended is known all the same.
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

pub(super) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The number of a system user and of its group.
pub(super) fn system_user(name: &str) -> Result<(u32, u32), Failure> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| match fields.as_slice() {
        [found, _, user, group, ..] if *found == name => Some((user.parse().ok()?, group.parse().ok()?)),
        _ => None,
    });
    found.ok_or_else(|| Failure::user(format!("there is no system user {name}; name PostgreSQL's with --system-user")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_position_is_a_number() {
        assert_eq!(position("1/A0"), Some((1 << 32) + 0xa0));
        assert_eq!(position("x"), None);
    }
}
