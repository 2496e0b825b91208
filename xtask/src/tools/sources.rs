//! Reads the machine's own apt sources, in both forms, to find its Debian line: no mirror is named in this tree.

use crate::failure::{Failure, Outcome};
use std::fmt;
use std::fs;
use std::path::Path;

/// One archive, one suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Such as `signed-by=/usr/share/keyrings/…`, in the one-line form's spelling.
    options: Vec<String>,
    uri: String,
    suite: String,
    components: Vec<String>,
}

impl Line {
    /// The same archive's `main` with another suite.
    pub(super) fn with_suite(&self, suite: &str) -> Self {
        Self { suite: suite.to_owned(), components: vec!["main".to_owned()], ..self.clone() }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("deb ")?;
        if !self.options.is_empty() {
            write!(formatter, "[{}] ", self.options.join(" "))?;
        }
        write!(formatter, "{} {} {}", self.uri, self.suite, self.components.join(" "))
    }
}

/// The line by which this machine gets the release of Debian that it runs.
pub(super) fn debian_line() -> Outcome<Line> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = value(&release, "VERSION_CODENAME").filter(|_| value(&release, "ID") == Some("debian"));
    let Some(codename) = codename else {
        return Err(Failure::Machine(
            "this machine is no Debian with a code name in /etc/os-release; the kubectl versions for the tests come from Debian"
                .to_owned(),
        ));
    };
    all().into_iter().find(|line| line.suite == codename && line.components.iter().any(|name| name == "main")).ok_or_else(|| {
        Failure::Machine(format!(
            "neither /etc/apt/sources.list nor /etc/apt/sources.list.d has a line for Debian's {codename} main: add it"
        ))
    })
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().filter_map(|line| line.split_once('=')).find(|(name, _)| *name == key).map(|(_, value)| value.trim_matches('"'))
}

fn all() -> Vec<Line> {
    let mut lines = Vec::new();
    if let Ok(text) = fs::read_to_string("/etc/apt/sources.list") {
        lines.extend(one_line_form(&text));
    }
    let parts = fs::read_dir(Path::new("/etc/apt/sources.list.d"));
    let mut paths: Vec<_> = parts.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap_or_default();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => lines.extend(one_line_form(&text)),
            Some("sources") => lines.extend(deb822_form(&text)),
            _ => {}
        }
    }
    lines
}

/// `deb [option=value …] URI suite component…`, sources.list(5).
fn one_line_form(text: &str) -> Vec<Line> {
    text.lines().filter_map(one_line).collect()
}

fn one_line(line: &str) -> Option<Line> {
    let rest = line.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split('#').next()?.split_whitespace().map(str::to_owned);
    Some(Line {
        options: options.split_whitespace().map(str::to_owned).collect(),
        uri: words.next()?,
        suite: words.next()?,
        components: words.collect(),
    })
}

/// Stanzas of `Field: value`, sources.list(5); a key that is written out in the stanza itself is not carried over.
fn deb822_form(text: &str) -> Vec<Line> {
    text.split("\n\n").flat_map(stanza).collect()
}

fn stanza(text: &str) -> Vec<Line> {
    let words = |field: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.eq_ignore_ascii_case(field))
            .flat_map(|(_, value)| value.split_whitespace())
            .map(str::to_owned)
            .collect()
    };
    let off = words("Enabled").first().is_some_and(|value| value == "no");
    if off || !words("Types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let options: Vec<String> =
        words("Signed-By").into_iter().filter(|value| value.starts_with('/')).map(|path| format!("signed-by={path}")).collect();
    let mut lines = Vec::new();
    for uri in words("URIs") {
        for suite in words("Suites") {
            lines.push(Line { options: options.clone(), uri: uri.clone(), suite, components: words("Components") });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_line_form_is_read() {
        let text = "# a comment\n\
            deb-src http://mirror.example/debian bookworm main\n\
            deb http://mirror.example/debian bookworm main contrib # here\n\
            deb [ arch=amd64 signed-by=/k.gpg ] http://mirror.example/other stable main\n";
        let lines: Vec<String> = one_line_form(text).iter().map(Line::to_string).collect();
        assert_eq!(
            lines,
            [
                "deb http://mirror.example/debian bookworm main contrib",
                "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/other stable main",
            ]
        );
    }

    #[test]
    fn the_deb822_form_is_read() {
        let text = "Types: deb deb-src\n# a comment: here\nURIs: http://mirror.example/debian\n\
            Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n\n\
            Types: deb\nEnabled: no\nURIs: http://mirror.example/off\nSuites: bookworm\nComponents: main\n";
        let lines: Vec<String> = deb822_form(text).iter().map(Line::to_string).collect();
        assert_eq!(
            lines,
            [
                "deb [signed-by=/k.gpg] http://mirror.example/debian bookworm main",
                "deb [signed-by=/k.gpg] http://mirror.example/debian bookworm-updates main",
            ]
        );
    }

    #[test]
    fn only_the_suite_changes() {
        let line = one_line("deb [trusted=yes] http://mirror.example/debian bookworm main contrib");
        let changed = line.unwrap().with_suite("trixie").to_string();
        assert_eq!(changed, "deb [trusted=yes] http://mirror.example/debian trixie main");
    }
}
