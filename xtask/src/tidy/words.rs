//! Words that may not stand in the product's code: `unsafe`, and waivers that give no reason.

use super::Finding;
use super::source::{Source, has_word};

/// The crates with `unsafe` in them: at most one, and none has needed it yet.
const UNSAFE_CRATES: [&str; 0] = [];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let may_be_unsafe = UNSAFE_CRATES.iter().any(|name: &&str| source.path.starts_with(name));
    for (index, text) in source.code.lines().enumerate() {
        if !may_be_unsafe && has_word(text, "unsafe") {
            findings.push(Finding {
                path: source.path.clone(),
                line: index + 1,
                rule: "unsafe",
                what_to_do: "write it safely, or through a crate that wraps it".to_owned(),
            });
        }
    }
    for (line, _) in source.product_lines() {
        if waiver(source, line).is_some_and(|waiver| !waiver.contains("reason")) {
            findings.push(Finding {
                path: source.path.clone(),
                line,
                rule: "waiver",
                what_to_do: "write `#[expect(LINT, reason = \"why it cannot fail\")]`".to_owned(),
            });
        }
    }
    findings
}

/// The text of the waiver that starts on this line.
fn waiver(source: &Source, line: usize) -> Option<&str> {
    let start: usize = source.code.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let text = source.code.get(start..)?;
    let open = text.trim_start();
    let is_waiver = ["#[allow(", "#[expect(", "#![allow(", "#![expect("].iter().any(|word| open.starts_with(word));
    let end = open.find(")]")?;
    is_waiver.then(|| open.get(..end)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::File;

    fn rules(text: &str) -> Vec<&'static str> {
        let file = File { path: "crates/x/src/a.rs".to_owned(), text: text.to_owned() };
        check(&Source::parse(&file)).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn each_rule_finds_its_bad_sample() {
        let cases: [(&str, &[&str]); 7] = [
            ("fn a() { unsafe { b() } }", &["unsafe"]),
            ("// unsafe\n#![forbid(unsafe_code)]\n", &[]),
            ("#[allow(clippy::indexing_slicing)]\nfn a() {}", &["waiver"]),
            ("    #[expect(dead_code)]\nfn a() {}", &["waiver"]),
            ("#[expect(\n    dead_code,\n    reason = \"because\"\n)]\nfn a() {}", &[]),
            ("#[cfg(test)]\nmod tests {\n    #[allow(dead_code)]\n    fn a() {}\n}", &[]),
            ("fn a() {}", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(rules(text), expected, "{text}");
        }
    }
}
