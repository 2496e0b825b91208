//! The one table of settings: name, flag, environment variable, type, default and documentation.

use super::value::ValueType;

/// A setting.
pub(crate) struct Setting {
    /// Its name in the file.
    pub(crate) name: &'static str,
    /// Its flag, without the dashes.
    pub(crate) flag: &'static str,
    /// The letter of the flag, where it has one.
    pub(crate) short: Option<char>,
    /// Its environment variable.
    pub(crate) env: &'static str,
    /// What a value looks like.
    pub(crate) value_type: ValueType,
    /// Its default; empty where there is none or where it depends on the machine.
    pub(crate) default: &'static str,
    /// Whether it may have several values.
    pub(crate) several: bool,
    /// What it is for.
    pub(crate) doc: &'static str,
}

/// Every setting.
pub(crate) const SETTINGS: [Setting; 15] = [
    Setting {
        name: "server",
        flag: "server",
        short: Some('s'),
        env: "STEAD_SERVER",
        value_type: ValueType::Url,
        default: "",
        several: true,
        doc: "The coordinator's address, such as https://fleet.example.org:6443; several where there are several coordinators: the \
              first that answers is asked. `stead login` writes down all of the fleet's",
    },
    Setting {
        name: "ca_file",
        flag: "ca-file",
        short: None,
        env: "STEAD_CA_FILE",
        value_type: ValueType::Path,
        default: "",
        several: false,
        doc: "The certificate (PEM) that the coordinator must prove itself with; without one the system's list decides",
    },
    Setting {
        name: "fleet",
        flag: "fleet",
        short: None,
        env: "STEAD_FLEET",
        value_type: ValueType::Digest,
        default: "",
        several: false,
        doc: "The fleet's id, which a coordinator must belong to. `stead login` and `stead trust init` write it down",
    },
    Setting {
        name: "key",
        flag: "key",
        short: Some('k'),
        env: "STEAD_KEY",
        value_type: ValueType::Text,
        default: "",
        several: true,
        doc: "The SSH key that signs: a private key file, a .pub file or a SHA256 fingerprint of a key in ssh-agent, or `agent` \
              for the only key there. May be given several times where several must sign. Default: ~/.ssh/id_ed25519 if there \
              is one, else ssh-agent",
    },
    Setting {
        name: "passphrase_file",
        flag: "passphrase-file",
        short: None,
        env: "STEAD_PASSPHRASE_FILE",
        value_type: ValueType::Path,
        default: "",
        several: false,
        doc: "A file whose first line opens an encrypted key file; without one the terminal is asked",
    },
    Setting {
        name: "output",
        flag: "output",
        short: Some('o'),
        env: "STEAD_OUTPUT",
        value_type: ValueType::Choice(&["table", "wide", "json", "yaml", "name"]),
        default: "table",
        several: false,
        doc: "How objects are printed",
    },
    Setting {
        name: "log_level",
        flag: "log-level",
        short: None,
        env: "STEAD_LOG_LEVEL",
        value_type: ValueType::Filter,
        default: "warn",
        several: false,
        doc: "What is logged to standard error: error, warn, info, debug, trace, or a filter such as stead_wire=debug. A coordinator and \
              an agent say what they do (info) unless this is set",
    },
    Setting {
        name: "log_format",
        flag: "log-format",
        short: None,
        env: "STEAD_LOG_FORMAT",
        value_type: ValueType::Choice(&["text", "json"]),
        default: "text",
        several: false,
        doc: "How the log is written",
    },
    Setting {
        name: "otlp_endpoint",
        flag: "otlp-endpoint",
        short: None,
        env: "STEAD_OTLP_ENDPOINT",
        value_type: ValueType::Url,
        default: "",
        several: false,
        doc: "Where traces are sent: the address of an OpenTelemetry collector that takes OTLP over HTTP, such as \
              http://localhost:4318. Default: $OTEL_EXPORTER_OTLP_ENDPOINT; without either there are no traces",
    },
    Setting {
        name: "state_dir",
        flag: "state-dir",
        short: None,
        env: "STEAD_STATE_DIR",
        value_type: ValueType::Path,
        default: "/var/lib/stead",
        several: false,
        doc: "The folder in which a coordinator keeps its record and an agent its memory",
    },
    Setting {
        name: "store",
        flag: "store",
        short: None,
        env: "STEAD_STORE",
        value_type: ValueType::Text,
        default: "",
        several: false,
        doc: "The record: a file, or a PostgreSQL database as postgres://USER@HOST:PORT/DATABASE, which several coordinators may share. \
              Default: record.db in the state directory",
    },
    Setting {
        name: "store_password_file",
        flag: "store-password-file",
        short: None,
        env: "STEAD_STORE_PASSWORD_FILE",
        value_type: ValueType::Path,
        default: "",
        several: false,
        doc: "A file whose first line is the password for the record's PostgreSQL database; without one PGPASSFILE and ~/.pgpass are \
              asked",
    },
    Setting {
        name: "cache_dir",
        flag: "cache-dir",
        short: None,
        env: "STEAD_CACHE_DIR",
        value_type: ValueType::Path,
        default: "",
        several: false,
        doc: "The folder for login tokens. Default: ~/.cache/stead",
    },
    Setting {
        name: "outbox_dir",
        flag: "outbox-dir",
        short: None,
        env: "STEAD_OUTBOX_DIR",
        value_type: ValueType::Path,
        default: "",
        several: false,
        doc: "The folder in which signed changes wait while no coordinator answers, with what was last seen of the objects. Default: \
              ~/.local/state/stead",
    },
    Setting {
        name: "request_timeout_seconds",
        flag: "request-timeout-seconds",
        short: None,
        env: "STEAD_REQUEST_TIMEOUT_SECONDS",
        value_type: ValueType::Integer { min: 1, max: 3_600 },
        default: "30",
        several: false,
        doc: "How long one request to the coordinator may take",
    },
];

/// The setting of a name.
pub(crate) fn by_name(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_one_another_and_defaults_are_valid() {
        for setting in &SETTINGS {
            assert_eq!(setting.flag, setting.name.replace('_', "-"));
            assert_eq!(setting.env, format!("STEAD_{}", setting.name.to_uppercase()));
            if !setting.default.is_empty() {
                assert_eq!(setting.value_type.check(setting.default), Ok(()), "{}", setting.name);
            }
            assert!(by_name(setting.name).is_some());
        }
    }
}
