//! The pure parts of the house decide; they have no clock, no randomness, no disk, no network and no timers of their own.

use super::Finding;
use super::source::{Source, has_word};

/// Files that are pure, by the start of their path.
const PURE: [&str; 5] =
    ["crates/model/src/", "crates/trust/src/", "crates/unit/src/", "crates/wire/src/session", "crates/wire/src/frame"];

/// Where a controller decides: its `plan` module, in any crate.
const PLAN: &str = "plan";

/// Files among the pure ones that act, and why they may.
const ACTING: [(&str, &str); 1] = [("crates/unit/src/driver.rs", "gives the converger its clock and runs what it decided")];

/// What a pure part may not name, and where it comes from instead.
const FORBIDDEN: [(&str, &str); 16] = [
    ("Instant::now", CLOCK),
    ("SystemTime", CLOCK),
    ("Timestamp::now", CLOCK),
    ("Zoned::now", CLOCK),
    ("tokio::time", CLOCK),
    ("thread::sleep", CLOCK),
    ("rand", RANDOMNESS),
    ("getrandom", RANDOMNESS),
    ("OsRng", RANDOMNESS),
    ("std::fs", DISK),
    ("tokio::fs", DISK),
    ("std::env", DISK),
    ("std::process", DISK),
    ("UdpSocket", NETWORK),
    ("tokio::net", NETWORK),
    ("TcpStream", NETWORK),
];
const CLOCK: &str = "take the time as an argument";
const RANDOMNESS: &str = "take the random bytes as an argument";
const DISK: &str = "leave the disk and the process to the code that acts";
const NETWORK: &str = "leave the network to the adapter";

pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !is_pure(&source.path) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (line, text) in source.product_lines() {
        for (word, instead) in FORBIDDEN {
            if has_word(text, word) {
                findings.push(Finding {
                    path: source.path.clone(),
                    line,
                    rule: "pure",
                    what_to_do: format!("`{word}` in a pure part: {instead}"),
                });
            }
        }
    }
    findings
}

fn is_pure(path: &str) -> bool {
    if ACTING.iter().any(|(acting, _)| path == *acting) {
        return false;
    }
    let in_crates = path.strip_prefix("crates/").unwrap_or_default();
    let stem = in_crates.strip_suffix(".rs").unwrap_or(in_crates);
    PURE.iter().any(|start| path.starts_with(start)) || stem.split('/').any(|part| part == PLAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::File;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        check(&Source::parse(&file)).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn each_forbidden_word_is_found_in_a_pure_part() {
        for (word, _) in FORBIDDEN {
            let text = format!("fn a() {{\n    {word}::x();\n}}\n");
            assert_eq!(lines("crates/model/src/a.rs", &text), [2], "{word}");
            assert_eq!(lines("crates/store/src/a.rs", &text), [], "{word}");
        }
    }

    #[test]
    fn every_plan_module_is_pure() {
        let text = "use std::fs;\n";
        assert_eq!(lines("crates/control/src/liveness/plan.rs", text), [1]);
        assert_eq!(lines("crates/agent/src/file/plan/steps.rs", text), [1]);
        assert_eq!(lines("crates/control/src/liveness/act.rs", text), []);
    }

    #[test]
    fn tests_comments_and_text_are_no_breach() {
        let text = "// std::fs\nconst A: &str = \"std::fs\";\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(lines("crates/model/src/a.rs", text), []);
    }
}
