//! Where the configuration and the caches are, and the defaults that depend on the machine.

use std::path::{Path, PathBuf};

use super::table::Setting;
use crate::failure::{Failure, FailureKind};

/// The user's home folder.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// A path in which `~/` stands for the home folder: files and `STEAD_*` are not expanded by a shell.
pub(crate) fn expand(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), home()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

/// The configuration file, and whether it must be there because somebody named it.
pub(super) fn config_file(flag: Option<&PathBuf>) -> Result<(PathBuf, bool), Failure> {
    if let Some(path) = flag {
        return Ok((path.clone(), true));
    }
    if let Some(path) = std::env::var_os("STEAD_CONFIG").filter(|path| !path.is_empty()) {
        return Ok((PathBuf::from(path), true));
    }
    let folder = base("XDG_CONFIG_HOME", ".config").join("stead");
    let (toml, json) = (folder.join("config.toml"), folder.join("config.json"));
    if toml.exists() && json.exists() {
        let message = format!("there are two configuration files, {} and {}", toml.display(), json.display());
        return Err(Failure::new(FailureKind::Config, message).hint("Move one of them away, or name one with --config."));
    }
    Ok((if json.exists() { json } else { toml }, false))
}

/// A base folder of the XDG specification. A relative one is ignored, as that specification says.
fn base(variable: &str, below_home: &str) -> PathBuf {
    let given = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    given.unwrap_or_else(|| home().unwrap_or_else(|| PathBuf::from(".")).join(below_home))
}

/// The default of a setting on this machine.
pub(super) fn default_of(setting: &Setting) -> Vec<String> {
    let text = |path: &Path| vec![path.to_string_lossy().into_owned()];
    match setting.name {
        "outbox_dir" => text(&base("XDG_STATE_HOME", ".local/state").join("stead")),
        "cache_dir" => text(&base("XDG_CACHE_HOME", ".cache").join("stead")),
        "key" => {
            let file = home().map(|home| home.join(".ssh/id_ed25519")).filter(|path| path.exists());
            file.map_or_else(|| vec!["agent".to_owned()], |path| text(&path))
        }
        // The name that every program with OpenTelemetry in it listens to.
        "otlp_endpoint" => std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|url| !url.is_empty()).into_iter().collect(),
        _ if setting.default.is_empty() => Vec::new(),
        _ => vec![setting.default.to_owned()],
    }
}
