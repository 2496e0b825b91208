//! The pure parts of the house decide; they have no clock, no randomness, no disk, no network and no timers of their own.

use super::Finding;
use super::source::{Source, has_word};
use super::tree::Tree;

/// What is pure, by the start of its path.
const PURE: [&str; 17] = [
    "crates/agent/src/agent/addresses",
    "crates/agent/src/agent/arrears",
    "crates/agent/src/agent/giveback",
    "crates/agent/src/agent/intake",
    "crates/agent/src/agent/telling",
    "crates/agent/src/agent/wishes",
    "crates/model/src/",
    "crates/trust/src/",
    "crates/unit/src/",
    "crates/control/src/",
    "crates/wire/src/agent/outbox",
    "crates/wire/src/agent/session",
    "crates/wire/src/hub",
    "crates/wire/src/backoff",
    "crates/wire/src/frame",
    "crates/wire/src/message",
    "crates/wire/src/ticket",
];

/// A controller decides in its `plan` module and carries that out in its `act` module, in every crate but the binary, which decides
/// nothing: there a `plan` is something that a command prints.
const PLAN: &str = "plan";
const ACT: &str = "act";

/// Files among the pure ones that act: what they bring to the decisions beside them.
const ACTING: [(&str, &str); 1] = [("crates/unit/src/driver.rs", "the converger's clock and tasks")];

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

/// The table names what there is: a part that was renamed would be pure no more.
pub(super) fn check_table(tree: &Tree) -> Vec<Finding> {
    tree.stale(PURE.into_iter().chain(ACTING.into_iter().map(|(path, _)| path)), "xtask/src/tidy/pure.rs", "pure-table")
}

fn is_pure(path: &str) -> bool {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    let has_part = |name| path.starts_with("crates/") && stem.split('/').any(|part| part == name);
    let acts = has_part(ACT) || ACTING.iter().any(|(acting, _)| path == *acting);
    let plans = has_part(PLAN) && !path.starts_with("crates/stead/");
    !acts && (plans || PURE.iter().any(|start| path.starts_with(start)))
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
    fn a_part_that_was_renamed_is_found() {
        let tree = Tree::of(&[("crates/model/src/lib.rs", ""), ("crates/unit/src/driver.rs", "")]);
        let stale = check_table(&tree);
        assert_eq!(stale.len(), PURE.len() + ACTING.len() - 3);
    }

    #[test]
    fn tests_comments_and_text_are_no_breach() {
        let text = "// std::fs\nconst A: &str = \"std::fs\";\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(lines("crates/model/src/a.rs", text), []);
    }
}
