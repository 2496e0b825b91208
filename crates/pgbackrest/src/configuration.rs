//! pgBackRest's configuration: what is written for it, and what is read back where the server cannot be asked.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Where pgBackRest looks by itself, beside the file that its package brings.
pub const DEFAULT_FILE: &str = "/etc/pgbackrest/conf.d/stead.conf";
/// The first line: the file is ours.
pub(crate) const OURS: &str = "# Written by `stead backup setup`, which replaces the whole file.";
/// How a line starts that pgBackRest does not read, and this program does.
const NOTE: &str = "# stead: ";

/// What a stanza is made of.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    pub(crate) stanza: String,
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    pub(crate) socket_folder: PathBuf,
    pub(crate) superuser: String,
    /// The server's own configuration, and the folder of its programs: a restore needs them while the server is down.
    pub(crate) server_config: PathBuf,
    pub(crate) programs: PathBuf,
    pub(crate) repo: PathBuf,
    pub(crate) retention_full: u32,
    pub(crate) retention_diff: u32,
    pub(crate) process_max: u32,
    pub(crate) compress: String,
    pub(crate) cipher_pass: Option<Zeroizing<String>>,
    /// For locks and logs, where those of the package are not used.
    pub(crate) run_folder: Option<PathBuf>,
}

impl Configuration {
    /// The file. Everything is in the stanza's own section, for `[global]` belongs to whoever administers the host.
    pub(crate) fn render(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(format!("{OURS}\n"));
        for (name, path) in [("server-config", &self.server_config), ("programs", &self.programs)] {
            let _infallible = writeln!(text, "{NOTE}{name}={}", path.display());
        }
        let _infallible = writeln!(text, "[{}]", self.stanza);
        let mut line = |name: &str, value: &str| {
            let _infallible = writeln!(text, "{name}={value}");
        };
        line("pg1-path", &self.data.display().to_string());
        line("pg1-port", &self.port.to_string());
        line("pg1-socket-path", &self.socket_folder.display().to_string());
        line("pg1-user", &self.superuser);
        line("repo1-path", &self.repo.display().to_string());
        line("repo1-retention-full", &self.retention_full.to_string());
        line("repo1-retention-diff", &self.retention_diff.to_string());
        // Thousands of small files become a few large ones, each of which is brought to the disk once.
        line("repo1-bundle", "y");
        if let Some(pass) = &self.cipher_pass {
            line("repo1-cipher-type", "aes-256-cbc");
            line("repo1-cipher-pass", pass);
        }
        line("compress-type", &self.compress);
        line("process-max", &self.process_max.to_string());
        line("start-fast", "y");
        line("delta", "y");
        if let Some(folder) = &self.run_folder {
            line("lock-path", &folder.join("lock").display().to_string());
            line("log-path", &folder.join("log").display().to_string());
        }
        text
    }
}

/// Reads a value of a stanza, or a note.
pub(crate) fn value<'a>(text: &'a str, stanza: &str, name: &str) -> Option<&'a str> {
    let mut section = "";
    text.lines().find_map(|line| {
        if let Some(note) = line.strip_prefix(NOTE) {
            let (found, value) = note.split_once('=')?;
            return (found == name).then_some(value);
        }
        if let Some(header) = line.trim().strip_prefix('[') {
            section = header.trim_end_matches(']');
            return None;
        }
        let (found, value) = line.split_once('=')?;
        (section == stanza && found == name).then_some(value)
    })
}

/// Whether a path can stand in a shell command, in pgBackRest's configuration and in the server's, and mean the same in each.
pub(crate) fn is_plain(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.starts_with('/') && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-+".contains(letter))
}

/// A configuration as the pages of this module's tests know it.
#[cfg(test)]
pub(crate) fn sample() -> Configuration {
    Configuration {
        stanza: "stead".to_owned(),
        data: "/var/lib/postgresql/15/main".into(),
        port: 5432,
        socket_folder: "/var/run/postgresql".into(),
        superuser: "postgres".to_owned(),
        server_config: "/etc/postgresql/15/main/postgresql.conf".into(),
        programs: "/usr/lib/postgresql/15/bin".into(),
        repo: "/var/lib/pgbackrest".into(),
        retention_full: 2,
        retention_diff: 7,
        process_max: 2,
        compress: "zst".to_owned(),
        cipher_pass: None,
        run_folder: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut configuration = sample();
        configuration.cipher_pass = Some(Zeroizing::new("secret=with=signs".to_owned()));
        let text = configuration.render();
        for (name, expected) in [
            ("server-config", "/etc/postgresql/15/main/postgresql.conf"),
            ("programs", "/usr/lib/postgresql/15/bin"),
            ("pg1-path", "/var/lib/postgresql/15/main"),
            ("pg1-port", "5432"),
            ("repo1-path", "/var/lib/pgbackrest"),
            ("repo1-cipher-pass", "secret=with=signs"),
        ] {
            assert_eq!(value(&text, "stead", name), Some(expected), "{name}");
        }
        assert_eq!(value(&text, "other", "pg1-path"), None);
        assert_eq!(value(&text, "stead", "lock-path"), None);
    }

    #[test]
    fn paths_that_a_shell_would_read_otherwise_are_told() {
        for path in ["/var/lib/pgbackrest", "/srv/a-b_c.d/e+f"] {
            assert!(is_plain(Path::new(path)), "{path}");
        }
        for path in ["relative", "/with space", "/a%b", "/a'b", "/a$b", "/a\nb"] {
            assert!(!is_plain(Path::new(path)), "{path}");
        }
    }
}
