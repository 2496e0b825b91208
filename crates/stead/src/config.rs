//! The settings: what was typed, then the environment, then the file, then the default; and where each value comes from.

mod file;
mod flags;
mod kubeconfig;
mod location;
mod table;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use stead_model::Digest;

pub(crate) use self::file::write_values;
pub(crate) use self::flags::SettingFlags;
use self::kubeconfig::Authority;
pub(crate) use self::location::{expand, home};
pub(crate) use self::table::{SETTINGS, Setting};
use crate::failure::{Failure, FailureKind};
use crate::output::Format;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Environment(&'static str),
    File(PathBuf),
    Kubeconfig(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(formatter, "flag --{flag}"),
            Self::Environment(variable) => write!(formatter, "environment {variable}"),
            Self::File(path) => write!(formatter, "file {}", path.display()),
            Self::Kubeconfig(path) => write!(formatter, "kubeconfig {}", path.display()),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// A setting's values (only `key` and `server` may have several) and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) values: Vec<String>,
    pub(crate) origin: Origin,
}

/// Every setting, resolved and checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    file: PathBuf,
    resolved: BTreeMap<&'static str, Resolved>,
}

/// Why a setting that was not set in the file is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {message}")]
struct WrongValue {
    origin: Origin,
    message: String,
}

impl Settings {
    /// Puts the layers together.
    pub(crate) fn load(flags: &SettingFlags) -> Result<Self, Failure> {
        let (file, must_exist) = location::config_file(flags.config_file())?;
        let mut from_file = file::read(&file, must_exist).map_err(|error| Failure::of(FailureKind::Config, error))?;
        let mut resolved = BTreeMap::new();
        for setting in &SETTINGS {
            let found = if let Some(values) = flags.values(setting.name) {
                Resolved { values: values.to_vec(), origin: Origin::Flag(setting.flag) }
            } else if let Some(value) = environment(setting)? {
                Resolved { values: vec![value], origin: Origin::Environment(setting.env) }
            } else if let Some(values) = from_file.remove(setting.name) {
                Resolved { values, origin: Origin::File(file.clone()) }
            } else {
                Resolved { values: location::default_of(setting), origin: Origin::Default }
            };
            for value in &found.values {
                setting
                    .value_type
                    .check(value)
                    .map_err(|message| Failure::of(FailureKind::Config, WrongValue { origin: found.origin.clone(), message }))?;
            }
            resolved.insert(setting.name, found);
        }
        let mut settings = Self { file, resolved };
        if crate::plugin::is_plugin() {
            settings.follow_kubectl()?;
        }
        Ok(settings)
    }

    /// As kubectl's plugin: server and certificate are those of the current context, unless somebody said otherwise just now.
    fn follow_kubectl(&mut self) -> Result<(), Failure> {
        let said = |name: &str| {
            matches!(self.resolved.get(name), Some(Resolved { origin: Origin::Flag(_) | Origin::Environment(_), .. }))
        };
        if said("server") {
            return Ok(());
        }
        let Some(cluster) = kubeconfig::current()? else { return Ok(()) };
        let authority = match cluster.authority {
            Authority::System => Vec::new(),
            Authority::File(path) => vec![path.to_string_lossy().into_owned()],
            Authority::Pem(pem) => {
                // Named after what is in it, so that several clusters do not take each other's.
                let path = self.cache_dir().join(format!("authority-{}.pem", Digest::of(&pem).to_string().replace(':', "-")));
                crate::private_file::write(&path, &pem).map_err(|error| Failure::of(FailureKind::Config, error))?;
                vec![path.to_string_lossy().into_owned()]
            }
        };
        let origin = Origin::Kubeconfig(cluster.file);
        if !said("ca_file") {
            self.resolved.insert("ca_file", Resolved { values: authority, origin: origin.clone() });
        }
        self.resolved.insert("server", Resolved { values: vec![cluster.server], origin });
        Ok(())
    }

    /// The configuration file, whether it is there or not.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// A setting with its origin, as `config show` prints it.
    pub(crate) fn resolved(&self, name: &str) -> Option<&Resolved> {
        self.resolved.get(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.resolved.get(name)?.values.first().map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The first coordinator's URL without a slash at its end.
    pub(crate) fn server(&self) -> Result<&str, Failure> {
        let missing = || {
            Failure::new(FailureKind::Config, "no coordinator is set")
                .hint("Run `stead login --server https://HOST:PORT --ca-file FILE` once, or set STEAD_SERVER.")
        };
        self.text("server").map(|server| server.trim_end_matches('/')).ok_or_else(missing)
    }

    /// Every coordinator's URL, in the order in which they are asked; never empty.
    pub(crate) fn servers(&self) -> Result<Vec<String>, Failure> {
        self.server()?;
        let values = self.resolved.get("server").map_or(&[][..], |resolved| &resolved.values);
        Ok(values.iter().map(|server| server.trim_end_matches('/').to_owned()).filter(|server| !server.is_empty()).collect())
    }

    pub(crate) fn ca_file(&self) -> Option<PathBuf> {
        self.text("ca_file").map(location::expand)
    }

    pub(crate) fn fleet(&self) -> Option<Digest> {
        self.text("fleet").and_then(|text| text.parse().ok())
    }

    /// The same settings with the fleet that a login found.
    pub(crate) fn with_fleet(&self, fleet: Digest) -> Self {
        let mut settings = self.clone();
        let resolved = Resolved { values: vec![fleet.to_string()], origin: Origin::File(self.file.clone()) };
        settings.resolved.insert("fleet", resolved);
        settings
    }

    /// The keys that sign, in the order in which they were given.
    pub(crate) fn keys(&self) -> &[String] {
        self.resolved.get("key").map_or(&[], |resolved| &resolved.values)
    }

    /// Whether somebody named a key, or the default stands.
    pub(crate) fn key_is_default(&self) -> bool {
        self.resolved.get("key").is_none_or(|resolved| resolved.origin == Origin::Default)
    }

    pub(crate) fn passphrase_file(&self) -> Option<PathBuf> {
        self.text("passphrase_file").map(location::expand)
    }

    pub(crate) fn output(&self) -> Format {
        self.text("output").and_then(Format::from_word).unwrap_or_default()
    }

    pub(crate) fn log_level(&self) -> &str {
        self.text("log_level").unwrap_or("warn")
    }

    pub(crate) fn log_json(&self) -> bool {
        self.text("log_format") == Some("json")
    }

    /// Where traces are sent, if anywhere.
    pub(crate) fn otlp_endpoint(&self) -> Option<&str> {
        self.text("otlp_endpoint")
    }

    /// The folder for what may be lost: tokens.
    pub(crate) fn cache_dir(&self) -> PathBuf {
        location::expand(self.text("cache_dir").unwrap_or_default())
    }

    /// The folder for changes that wait for a coordinator.
    pub(crate) fn outbox_dir(&self) -> PathBuf {
        location::expand(self.text("outbox_dir").unwrap_or_default())
    }

    /// The folder for what may not be lost: a coordinator's record, an agent's memory.
    pub(crate) fn state_dir(&self) -> PathBuf {
        location::expand(self.text("state_dir").unwrap_or_default())
    }

    /// The record, where one is named.
    pub(crate) fn store(&self) -> Option<&str> {
        self.text("store")
    }

    /// Whether the record's name was typed, so that it stands in the list of processes.
    pub(crate) fn store_was_typed(&self) -> bool {
        matches!(self.resolved.get("store"), Some(Resolved { origin: Origin::Flag(_), .. }))
    }

    pub(crate) fn store_password_file(&self) -> Option<PathBuf> {
        self.text("store_password_file").map(location::expand)
    }

    pub(crate) fn request_timeout_seconds(&self) -> u64 {
        /// What the table's default says, for a value that cannot be missing.
        const FALLBACK_SECONDS: u64 = 30;
        self.text("request_timeout_seconds").and_then(|text| text.parse().ok()).unwrap_or(FALLBACK_SECONDS)
    }
}

fn environment(setting: &Setting) -> Result<Option<String>, Failure> {
    match std::env::var(setting.env) {
        // An empty variable means "not set", as shells make it hard to unset one for a single command.
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => {
            let origin = Origin::Environment(setting.env);
            Err(Failure::of(FailureKind::Config, WrongValue { origin, message: error.to_string() }))
        }
    }
}
