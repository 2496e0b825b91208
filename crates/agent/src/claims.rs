//! From a Profile to what it claims of this machine.

use bytes::Bytes;
use stead_model::{COMMAND_TIMEOUT_SECONDS_DEFAULT, Command, Directory, File, Link, ProfileSpec};
use stead_unit::UnitId;

use crate::host::{HostPath, HostPathError};
use crate::units::{Claim, Claimed, CommandDesired, CommandUnit, DirectoryDesired, FileDesired, LinkDesired, ProfileClaims};

/// Permissions of a file where the profile says nothing.
const FILE_MODE_DEFAULT: u32 = 0o644;
/// Permissions of a directory where the profile says nothing.
const DIRECTORY_MODE_DEFAULT: u32 = 0o755;

/// Why a profile cannot be turned into claims. What was admitted was validated, so this is seen only where a coordinator let it through.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// A path that no machine has.
    #[error(transparent)]
    Path(#[from] HostPathError),
    /// Permissions that are none.
    #[error("{path}: the mode {mode:?} is not three or four octal digits")]
    Mode {
        /// The path.
        path: String,
        /// The mode.
        mode: String,
    },
    /// Content that is none.
    #[error("{path}: contentBase64 is not base64")]
    Content {
        /// The path.
        path: String,
    },
}

/// What a profile claims, under the name that reports use: `Profile/web@3`.
///
/// # Errors
///
/// [`ClaimError`] says what no machine can be.
pub fn claims(profile: &str, sequence: u64, spec: &ProfileSpec) -> Result<ProfileClaims, ClaimError> {
    let mut claims = Vec::new();
    for file in &spec.files {
        claims.push(Claimed { claim: Claim::File(file_desired(file)?), after: Vec::new() });
    }
    for directory in &spec.directories {
        claims.push(Claimed { claim: Claim::Directory(directory_desired(directory)?), after: Vec::new() });
    }
    for Link { path, target } in &spec.links {
        let claim = Claim::Link(LinkDesired { path: HostPath::parse(path)?, target: target.clone() });
        claims.push(Claimed { claim, after: Vec::new() });
    }
    let places: Vec<UnitId> = claims.iter().map(|claimed| claimed.claim.id()).collect();
    for command in &spec.commands {
        claims
            .push(Claimed { claim: Claim::Command(command_desired(profile, command)), after: after(profile, command, &places) });
    }
    Ok(ProfileClaims { profile: profile.to_owned(), by: by(profile, sequence), claims })
}

/// How a report names a wish of a profile.
pub(crate) fn by(profile: &str, sequence: u64) -> String {
    format!("Profile/{profile}@{sequence}")
}

/// The object and the sequence that a report names.
pub(crate) fn parse_by(by: &str) -> Option<(&str, u64)> {
    let (object, sequence) = by.rsplit_once('@')?;
    Some((object, sequence.parse().ok()?))
}

fn file_desired(file: &File) -> Result<FileDesired, ClaimError> {
    let content = file.content_bytes().ok_or_else(|| ClaimError::Content { path: file.path.clone() })?;
    Ok(FileDesired {
        path: HostPath::parse(&file.path)?,
        content: Bytes::from(content),
        mode: mode(&file.path, file.mode.as_deref(), FILE_MODE_DEFAULT)?,
        owner: file.owner.clone(),
        group: file.group.clone(),
    })
}

fn directory_desired(directory: &Directory) -> Result<DirectoryDesired, ClaimError> {
    Ok(DirectoryDesired {
        path: HostPath::parse(&directory.path)?,
        mode: mode(&directory.path, directory.mode.as_deref(), DIRECTORY_MODE_DEFAULT)?,
        owner: directory.owner.clone(),
        group: directory.group.clone(),
    })
}

fn command_desired(profile: &str, command: &Command) -> CommandDesired {
    CommandDesired {
        name: format!("{profile}/{}", command.name),
        check: command.check.clone(),
        run: command.run.clone(),
        undo: command.undo.clone(),
        timeout_seconds: command.timeout_seconds.unwrap_or(COMMAND_TIMEOUT_SECONDS_DEFAULT),
        directory: None,
    }
}

/// A command comes after what it names; one that names nothing comes after every file, directory and link of its profile.
fn after(profile: &str, command: &Command, places: &[UnitId]) -> Vec<UnitId> {
    if command.after.is_empty() {
        return places.to_vec();
    }
    let unit = |name: &String| match name.strip_prefix("command:") {
        Some(other) => Some(UnitId::new(CommandUnit::KIND, &format!("{profile}/{other}"))),
        None => places.iter().find(|place| place.subject() == name).cloned(),
    };
    command.after.iter().filter_map(unit).collect()
}

fn mode(path: &str, mode: Option<&str>, default: u32) -> Result<u32, ClaimError> {
    let Some(text) = mode else { return Ok(default) };
    u32::from_str_radix(text, 8).map_err(|_| ClaimError::Mode { path: path.to_owned(), mode: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_becomes_claims() {
        let spec: ProfileSpec = serde_json::from_value(serde_json::json!({
            "selector": {},
            "files": [{"path": "/etc/motd", "content": "hello\n", "mode": "0600", "owner": "root"}],
            "directories": [{"path": "/srv/www"}],
            "links": [{"path": "/srv/latest", "target": "www"}],
            "commands": [
                {"name": "one", "check": ["false"], "run": ["true"]},
                {"name": "two", "check": ["false"], "run": ["true"], "after": ["/etc/motd", "command:one"], "timeoutSeconds": 9}
            ]
        }))
        .unwrap();
        let claims = claims("web", 3, &spec).unwrap();
        assert_eq!(claims.by, "Profile/web@3");
        assert_eq!(parse_by(&claims.by), Some(("Profile/web", 3)));
        let ids: Vec<String> = claims.claims.iter().map(|claimed| claimed.claim.id().to_string()).collect();
        assert_eq!(ids, ["file:/etc/motd", "directory:/srv/www", "link:/srv/latest", "command:web/one", "command:web/two"]);
        assert_eq!(claims.claims[3].after.len(), 3, "a command comes after every place");
        let after: Vec<String> = claims.claims[4].after.iter().map(ToString::to_string).collect();
        assert_eq!(after, ["file:/etc/motd", "command:web/one"]);
    }
}
