//! What no file of the tree may say: forgotten work, paths of a machine, hosts that are not ours to name.

use super::Finding;
use super::source::has_word;
use super::tree::{File, Tree};
use std::path::Path;

/// Marks of forgotten work.
const MARKS: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// This file names the marks.
const OWN_PATH: &str = "xtask/src/tidy/text.rs";

/// Written by cargo, for cargo.
const LOCK: &str = "Cargo.lock";

/// Hosts that a text may point to: standards, and what a manifest must name.
const HOSTS: [&str; 9] = [
    "datatracker.ietf.org",
    "www.rfc-editor.org",
    "json-schema.org",
    "kubernetes.io",
    "www.apache.org",
    "www.w3.org",
    "keepachangelog.com",
    "semver.org",
    "github.com",
];

/// Top-level folders that machines share; another one belongs to some machine alone.
const SHARED_TOP_FOLDERS: [&str; 20] = [
    "bin", "boot", "dev", "etc", "home", "lib", "media", "mnt", "nix", "opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp",
    "Users", "usr", "var",
];

/// Forgotten work.
pub(super) fn marks(tree: &Tree) -> Vec<Finding> {
    find(tree, "forgotten-work", |line| {
        let mark = MARKS.iter().find(|mark| has_word(line, mark))?;
        Some(format!("\"{mark}\": do it now, or open an issue for it"))
    })
}

/// URLs at hosts other than reserved names, addresses, and the few in the table.
pub(super) fn hosts(tree: &Tree) -> Vec<Finding> {
    find(tree, "host", |line| {
        let host = line
            .match_indices("://")
            .filter_map(|(at, mark)| line.get(at + mark.len()..))
            .map(host)
            .find(|host| !is_allowed(host))?;
        Some(format!(
            "\"{host}\" is somebody's host: use one under .example or .test, or take it from the machine's own configuration"
        ))
    })
}

/// Paths that exist on this machine alone: the workspace's own, and its top-level folder where no other machine has it.
pub(super) fn machine_paths(tree: &Tree, root: &Path) -> Vec<Finding> {
    let root = root.display().to_string();
    let top = root.split('/').nth(1).unwrap_or_default();
    let forbidden = if top.is_empty() || SHARED_TOP_FOLDERS.contains(&top) { root } else { format!("/{top}/") };
    find(tree, "machine-path", |line| {
        let at = line.find(&forbidden)?;
        let before = line.get(..at)?.chars().next_back();
        // `../work/x` or `$HOME/work/x` is another path.
        if before.is_some_and(|letter| letter.is_alphanumeric() || "._-}~/".contains(letter)) {
            return None;
        }
        Some(format!("\"{forbidden}\" is a path of this machine alone"))
    })
}

fn find(tree: &Tree, rule: &'static str, judge: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for File { path, text } in &tree.files {
        if path == LOCK || path == OWN_PATH {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            if let Some(what_to_do) = judge(line) {
                findings.push(Finding { path: path.clone(), line: index + 1, rule, what_to_do });
            }
        }
    }
    findings
}

/// The host in what follows `://`, without user and port.
fn host(rest: &str) -> &str {
    let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"-._:@".contains(letter)).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    host.split(':').next().unwrap_or(host).trim_end_matches('.')
}

fn is_allowed(host: &str) -> bool {
    // RFC 2606 and RFC 6761: names that belong to nobody.
    let last = host.rsplit('.').next().unwrap_or_default();
    let reserved = ["example", "test", "invalid", "localhost", "local", "internal"].contains(&last);
    let documentation =
        ["example.com", "example.net", "example.org"].iter().any(|name| host == *name || host.ends_with(&format!(".{name}")));
    let ours = host == "stead.dev" || host.ends_with(".stead.dev");
    let is_address = last.chars().all(|letter| letter.is_ascii_digit());
    !host.contains('.') || reserved || documentation || ours || is_address || HOSTS.contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: Vec<Finding>) -> Vec<usize> {
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn forgotten_work_is_found() {
        let tree = Tree::of(&[("a.md", "TODO later\nTODOS\nfine\n// FIXME\n")]);
        assert_eq!(lines(marks(&tree)), [1, 4]);
    }

    #[test]
    fn hosts_are_judged() {
        let cases = [
            ("https://registry.some-company.com/x", false),
            ("see http://user@mirror.some-company.org:80/", false),
            ("https://coordinator.example:6443/", true),
            ("https://fleet.example.com", true),
            ("https://127.0.0.1:1", true),
            ("https://[::1]:1", true),
            ("https://{host}:1/", true),
            ("https://localhost", true),
            ("https://www.rfc-editor.org/rfc/rfc8785", true),
        ];
        for (text, allowed) in cases {
            let findings = hosts(&Tree::of(&[("a.md", text)]));
            assert_eq!(findings.is_empty(), allowed, "{text}");
        }
    }

    #[test]
    fn paths_of_this_machine_are_found() {
        let tree = Tree::of(&[("a.md", "see /forge/other/x\n../forge/x\n/srv/stead/x\n/srv/other\n")]);
        assert_eq!(lines(machine_paths(&tree, Path::new("/forge/stead"))), [1]);
        assert_eq!(lines(machine_paths(&tree, Path::new("/srv/stead"))), [3]);
    }
}
