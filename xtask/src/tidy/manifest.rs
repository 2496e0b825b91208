//! Manifests: the floors of the house, and the fields that every package shares.

use super::Finding;
use super::tree::{File, Tree};

/// The house, by floor: a crate uses only those on lower floors. The ground floor is for tests alone.
const FLOORS: [(&str, u8); 13] = [
    ("stead-peers", 0),
    ("stead-model", 1),
    ("stead-trust", 2),
    ("stead-store", 2),
    ("stead-fields", 2),
    ("stead-admission", 3),
    ("stead-pgbackrest", 3),
    ("stead-wire", 3),
    ("stead-unit", 3),
    ("stead-api", 4),
    ("stead-control", 4),
    ("stead-agent", 4),
    ("stead", 6),
];

/// Beside the house: these may use every floor, and no floor uses them.
const SIDE: [&str; 3] = ["stead-bench", "stead-sim", "xtask"];

/// What each manifest takes from the workspace.
const SHARED_FIELDS: [(&str, &str); 6] = [
    ("package", "version.workspace = true"),
    ("package", "edition.workspace = true"),
    ("package", "rust-version.workspace = true"),
    ("package", "license.workspace = true"),
    ("package", "publish.workspace = true"),
    ("lints", "workspace = true"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")).flat_map(check_one).collect()
}

/// One `key = value` of a manifest, with its section and line.
struct Entry<'a> {
    section: &'a str,
    text: &'a str,
    line: usize,
}

fn check_one(file: &File) -> Vec<Finding> {
    let find = |line, rule, what_to_do| Finding { path: file.path.clone(), line, rule, what_to_do };
    let entries = entries(&file.text);
    let mut findings: Vec<Finding> = SHARED_FIELDS
        .iter()
        .filter(|(section, text)| !entries.iter().any(|entry| entry.section == *section && entry.text == *text))
        .map(|(section, text)| find(1, "manifest-field", format!("add `{text}` to [{section}]")))
        .collect();

    let name = entries
        .iter()
        .filter(|entry| entry.section == "package")
        .find_map(|entry| entry.text.strip_prefix("name = "))
        .unwrap_or_default()
        .trim_matches('"');
    if SIDE.contains(&name) {
        return findings;
    }
    let Some(own) = floor(name) else {
        findings.push(find(
            1,
            "floors",
            format!("\"{name}\" is on no floor: give it one in the table of xtask's tidy/manifest.rs"),
        ));
        return findings;
    };
    for entry in entries.iter().filter(|entry| is_dependencies(entry.section)) {
        let used = dependency(entry.text);
        if SIDE.contains(&used) {
            findings.push(find(entry.line, "floors", format!("\"{used}\" stands beside the house: no floor uses it")));
        } else if floor(used) == Some(0) && entry.section != "dev-dependencies" {
            findings.push(find(entry.line, "floors", format!("\"{used}\" is for tests: only [dev-dependencies] may name it")));
        } else if let Some(other) = floor(used)
            && other >= own
        {
            findings.push(find(
                entry.line,
                "floors",
                format!("{name} (floor {own}) may not use {used} (floor {other}): only lower floors"),
            ));
        }
    }
    findings
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(package, _)| *package == name).map(|(_, floor)| *floor)
}

fn is_dependencies(section: &str) -> bool {
    section.ends_with("dependencies")
}

/// The package of a dependency's line, also where it is renamed.
fn dependency(text: &str) -> &str {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let renamed = value.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1));
    let key = key.trim().trim_matches('"');
    renamed.unwrap_or_else(|| key.split('.').next().unwrap_or(key))
}

fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut section = "";
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_text = line.trim();
        if let Some(name) = line_text.strip_prefix('[') {
            section = name.trim_end_matches(']');
            // `[dependencies.NAME]` is a dependency written as a section.
            if let Some((before, name)) = section.rsplit_once('.')
                && is_dependencies(before)
            {
                entries.push(Entry { section: before, text: name, line: index + 1 });
            }
        } else if !line_text.is_empty() && !line_text.starts_with('#') {
            entries.push(Entry { section, text: line_text, line: index + 1 });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = "version.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n\
        license.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true\n";

    fn found(name: &str, rest: &str) -> Vec<(&'static str, usize)> {
        let text = format!("[package]\nname = \"{name}\"\n{FIELDS}{rest}");
        check(&Tree::of(&[("crates/x/Cargo.toml", &text)])).into_iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    #[test]
    fn only_lower_floors_are_used() {
        let lower = "[dependencies]\nserde = { workspace = true }\nstead-model = { workspace = true }\n";
        assert_eq!(found("stead-trust", lower), []);
        assert_eq!(found("stead-trust", "[dev-dependencies]\nstead-peers = { workspace = true }\n"), []);
        let cases = [
            ("stead-trust", "[dependencies]\nstead-store = { workspace = true }\n"),
            ("stead-model", "[dependencies]\nstead-store.workspace = true\n"),
            ("stead-wire", "[dev-dependencies]\nstead-unit = { workspace = true }\n"),
            ("stead-store", "[dependencies.stead-api]\nworkspace = true\n"),
            ("stead-store", "[dependencies]\nx = { package = \"stead-api\", path = \"..\" }\n"),
            ("stead-store", "[target.'cfg(unix)'.dependencies]\nstead-api.workspace = true\n"),
            ("stead-store", "[dependencies]\nstead-peers.workspace = true\n"),
            ("stead", "[dependencies]\nstead-bench = { path = \"../../bench\" }\n"),
        ];
        for (name, rest) in cases {
            let rules: Vec<&str> = found(name, rest).into_iter().map(|(rule, _)| rule).collect();
            assert_eq!(rules, ["floors"], "{rest}");
        }
    }

    #[test]
    fn a_crate_without_a_floor_is_found() {
        assert_eq!(found("stead-attic", ""), [("floors", 1)]);
        assert_eq!(found("xtask", ""), []);
    }

    #[test]
    fn missing_fields_are_found() {
        let tree = Tree::of(&[("crates/x/Cargo.toml", "[package]\nname = \"stead-model\"\n")]);
        assert_eq!(check(&tree).len(), SHARED_FIELDS.len());
    }
}
