//! Where files are and what they are called.

use super::Finding;
use super::tree::Tree;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "manager"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let mut find = |rule, what_to_do: String| {
            findings.push(Finding { path: file.path.clone(), line: 1, rule, what_to_do });
        };
        let stem = file.path.strip_suffix(".rs").unwrap_or(&file.path);
        if stem.ends_with("/mod") {
            find("no-mod-rs", "move it beside its folder, as NAME.rs".to_owned());
        }
        for part in stem.split('/').filter(|part| EMPTY_NAMES.contains(part)) {
            find("module-name", format!("\"{part}\" says nothing: name the one reason it exists for"));
        }
        if !file.text.starts_with("//!") {
            find("first-line", "the first line is `//!` and the module's one reason to exist".to_owned());
        }
        if let Some(binary) = test_binary(&file.path)
            && binary != "it"
        {
            find("one-test-binary", format!("move it under tests/it: \"{binary}\" would be a binary to link of its own"));
        }
    }
    findings
}

/// The name of the integration-test binary that this file belongs to.
fn test_binary(path: &str) -> Option<&str> {
    let (package, inner) = path.split_once("/tests/")?;
    if package.contains("/src") {
        return None;
    }
    let name = inner.split('/').next()?;
    Some(name.strip_suffix(".rs").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_bad_sample() {
        let cases = [
            ("crates/x/src/a/mod.rs", "//! A.\n", Some("no-mod-rs")),
            ("crates/x/src/utils.rs", "//! A.\n", Some("module-name")),
            ("crates/x/src/common/a.rs", "//! A.\n", Some("module-name")),
            ("crates/x/src/a.rs", "use b;\n", Some("first-line")),
            ("crates/x/tests/other.rs", "//! A.\n", Some("one-test-binary")),
            ("crates/x/tests/it/main.rs", "//! A.\n", None),
            ("crates/x/src/a/tests/b.rs", "//! A.\n", None),
            ("crates/x/src/a.rs", "//! A.\n", None),
        ];
        for (path, text, expected) in cases {
            let findings = check(&Tree::of(&[(path, text)]));
            let rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
            assert_eq!(rules.first().copied(), expected, "{path}");
        }
    }
}
