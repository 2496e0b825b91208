//! The house rules, kept true by a program: `cargo xtask tidy`.
//!
//! Each finding is `path:line: rule: what to do`. What the compiler sees better (unwrap, panic, indexing, missing documentation)
//! is left to clippy and rustc, which `cargo xtask test` runs beside this.

mod layout;
mod length;
mod manifest;
mod native;
mod pure;
mod repeatable;
mod source;
mod text;
mod tree;
mod words;

use crate::failure::{Failure, Outcome};
use crate::workspace;
use length::Lengths;
use source::Source;
use std::fmt;
use tree::Tree;

/// One breach of one rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// Counted from 1.
    line: usize,
    rule: &'static str,
    what_to_do: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, rule, what_to_do } = self;
        write!(formatter, "{path}:{line}: {rule}: {what_to_do}")
    }
}

/// Checks the whole tree.
pub(crate) fn tidy(words: &[&str]) -> Outcome {
    if let Some(word) = words.first() {
        return Err(Failure::Usage(format!("tidy takes no \"{word}\"")));
    }
    let tree = Tree::read(&workspace::root())?;
    let (mut findings, lengths) = check(&tree);
    findings.extend(text::machine_paths(&tree, &workspace::root()));
    findings.extend(pure::check_table(&tree));
    findings.extend(repeatable::check_table(&tree));
    findings.extend(native::check()?);
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("{finding}");
    }
    println!("{lengths}");
    if findings.is_empty() {
        println!("tidy: the house rules hold");
        return Ok(());
    }
    Err(Failure::Found(format!("tidy: {} findings", findings.len())))
}

/// The rules that need nothing but the tree.
fn check(tree: &Tree) -> (Vec<Finding>, Lengths) {
    let mut findings = layout::check(tree);
    findings.extend(manifest::check(tree));
    findings.extend(text::hosts(tree));
    findings.extend(text::marks(tree));
    let mut lengths = Lengths::default();
    for source in Source::read_all(tree) {
        findings.extend(lengths.measure(&source));
        findings.extend(pure::check(&source));
        findings.extend(repeatable::check(&source));
        findings.extend(words::check(&source));
    }
    (findings, lengths)
}
