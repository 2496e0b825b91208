//! What acts in a simulation, too, has to do the same twice: its clock is tokio's, which a simulation owns, its chance comes from
//! outside, it keeps off threads and the disk, and where it waits for several things it looks at them in one order.

use super::Finding;
use super::source::{Source, has_word};
use super::tree::Tree;

/// What acts in a simulation as it does in the binary, by the start of its path.
const REPEATABLE: [&str; 14] = [
    "crates/admission/src/",
    "crates/agent/src/agent.rs",
    "crates/agent/src/agent/addresses",
    "crates/agent/src/agent/arrears",
    "crates/agent/src/agent/giveback",
    "crates/agent/src/agent/intake",
    "crates/agent/src/agent/telling",
    "crates/agent/src/agent/wishes",
    "crates/control/src/",
    "crates/sim/src/",
    "crates/store/src/memory",
    "crates/store/src/writer",
    "crates/unit/src/",
    "crates/wire/src/hub",
];

/// The same, of the wire's drivers, which begin with the same words as other parts.
const DRIVERS: [&str; 5] = [
    "crates/wire/src/agent/driver.rs",
    "crates/wire/src/coordinator.rs",
    "crates/wire/src/coordinator/session.rs",
    "crates/wire/src/coordinator/shared.rs",
    "crates/wire/src/transport/memory.rs",
];

/// Files among them that stand outside a simulation.
const OUTSIDE: [(&str, &str); 3] = [
    ("crates/sim/src/campaign.rs", "runs simulations on threads, and times them"),
    ("crates/sim/src/main.rs", "the command line"),
    ("crates/store/src/writer.rs", "begins a lost record anew at the system's time, which no machine sees"),
];

/// What they may not name.
const FORBIDDEN: [(&str, &str); 12] = [
    ("std::time::Instant", CLOCK),
    ("SystemTime", CLOCK),
    ("Timestamp::now", CLOCK),
    ("Zoned::now", CLOCK),
    ("rand", CHANCE),
    ("getrandom", CHANCE),
    ("OsRng", CHANCE),
    ("RandomState", CHANCE),
    ("std::fs", DISK),
    ("tokio::fs", DISK),
    ("std::thread", THREADS),
    ("spawn_blocking", THREADS),
];
const CLOCK: &str = "take the time from tokio's clock, or from outside";
const CHANCE: &str = "take what is random from outside";
const DISK: &str = "leave the disk to what comes from outside";
const THREADS: &str = "threads run in an order that nobody can repeat";

pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !is_repeatable(&source.path) {
        return Vec::new();
    }
    let find = |line, what_to_do| Finding { path: source.path.clone(), line, rule: "repeatable", what_to_do };
    let mut findings = Vec::new();
    let lines: Vec<(usize, &str)> = source.product_lines().collect();
    for (place, (line, text)) in lines.iter().enumerate() {
        for (word, instead) in FORBIDDEN {
            if has_word(text, word) && !OUTSIDE.iter().any(|(path, _)| *path == source.path) {
                findings.push(find(*line, format!("`{word}` in what a simulation runs: {instead}")));
            }
        }
        let after = lines.iter().skip(place.saturating_add(1)).map(|(_, text)| text.trim());
        let first = after.into_iter().find(|text| !text.is_empty());
        if text.contains("select! {") && first != Some("biased;") {
            findings.push(find(*line, "`select!` begins with `biased;`, so that a simulation repeats itself".to_owned()));
        }
    }
    findings
}

/// The table names what there is: a part that was renamed would be free of it.
pub(super) fn check_table(tree: &Tree) -> Vec<Finding> {
    let all = REPEATABLE.into_iter().chain(DRIVERS).chain(OUTSIDE.into_iter().map(|(path, _)| path));
    tree.stale(all, "xtask/src/tidy/repeatable.rs", "repeatable-table")
}

fn is_repeatable(path: &str) -> bool {
    REPEATABLE.iter().any(|start| path.starts_with(start)) || DRIVERS.contains(&path)
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
    fn each_forbidden_word_is_found_where_a_simulation_runs() {
        for (word, _) in FORBIDDEN {
            let text = format!("fn a() {{\n    {word}::x();\n}}\n");
            assert_eq!(lines("crates/wire/src/agent/driver.rs", &text), [2], "{word}");
            assert_eq!(lines("crates/agent/src/agent/intake.rs", &text), [2], "{word}");
            assert_eq!(lines("crates/agent/src/agent/start.rs", &text), [], "{word}");
            assert_eq!(lines("crates/sim/src/campaign.rs", &text), [], "{word}");
        }
    }

    #[test]
    fn a_select_in_any_order_is_found() {
        let text = "fn a() {\n    tokio::select! {\n        () = b() => {}\n    }\n}\n";
        assert_eq!(lines("crates/control/src/act.rs", text), [2]);
        let text = "fn a() {\n    tokio::select! {\n        // Because.\n        biased;\n        () = b() => {}\n    }\n}\n";
        assert_eq!(lines("crates/control/src/act.rs", text), []);
    }

    #[test]
    fn a_part_that_was_renamed_is_found() {
        let tree = Tree::of(&[("crates/unit/src/lib.rs", ""), ("crates/sim/src/main.rs", "")]);
        assert_eq!(check_table(&tree).len(), REPEATABLE.len() + DRIVERS.len() + OUTSIDE.len() - 3);
    }
}
