//! How long files and functions may be, and how long they are.

use super::Finding;
use super::source::{Source, item_end};
use std::fmt;

/// A longer file has more than one reason to exist.
const FILE_LINES_MAX: usize = 900;
/// "Nearly always" below this; the summary says how many are not.
const FILE_LINES_USUAL: usize = 500;
/// A function fits a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Lengths of everything measured so far.
#[derive(Default)]
pub(super) struct Lengths {
    files: Vec<usize>,
    functions: Vec<usize>,
}

impl Lengths {
    pub(super) fn measure(&mut self, source: &Source) -> Vec<Finding> {
        let mut findings = Vec::new();
        let lines = source.code.lines().count();
        self.files.push(lines);
        if lines > FILE_LINES_MAX {
            findings.push(Finding {
                path: source.path.clone(),
                line: FILE_LINES_MAX + 1,
                rule: "file-length",
                what_to_do: format!("{lines} lines, at most {FILE_LINES_MAX}: split it by reason to exist"),
            });
        }
        for (name, first, last) in functions(source) {
            let lines = last - first + 1;
            self.functions.push(lines);
            if lines > FUNCTION_LINES_MAX {
                findings.push(Finding {
                    path: source.path.clone(),
                    line: first,
                    rule: "function-length",
                    what_to_do: format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}: take parts out by name"),
                });
            }
        }
        findings
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let long = self.files.iter().filter(|lines| **lines >= FILE_LINES_USUAL);
        write!(
            formatter,
            "tidy: {} files, lines p50 {} p90 {} longest {}, {} of {FILE_LINES_USUAL} or more; {} functions, lines p50 {} p90 {} longest {}",
            self.files.len(),
            quantile(&self.files, 50),
            quantile(&self.files, 90),
            quantile(&self.files, 100),
            long.count(),
            self.functions.len(),
            quantile(&self.functions, 50),
            quantile(&self.functions, 90),
            quantile(&self.functions, 100),
        )
    }
}

fn quantile(lengths: &[usize], percent: usize) -> usize {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or(0)
}

/// Name, first line and last line of each function with a body.
fn functions(source: &Source) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in source.code.match_indices("fn ") {
        let before = source.code.get(..at).unwrap_or_default();
        if before.chars().next_back().is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let name: String = source
            .code
            .get(at + "fn ".len()..)
            .unwrap_or_default()
            .chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect();
        let end = item_end(&source.code, at);
        let has_body = source.code.get(end..).is_some_and(|text| text.starts_with('}'));
        if !name.is_empty() && has_body {
            found.push((name, source.line_of(at), source.line_of(end)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::File;

    fn rules(text: &str) -> Vec<(&'static str, usize)> {
        let file = File { path: "crates/x/src/a.rs".to_owned(), text: text.to_owned() };
        Lengths::default().measure(&Source::parse(&file)).into_iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    fn function(lines: usize) -> String {
        let body = "    a();\n".repeat(lines - 2);
        format!("\npub fn long(x: [u8; 2]) -> [u8; 2] {{\n{body}}}\n")
    }

    #[test]
    fn a_long_function_is_found() {
        assert_eq!(rules(&function(71)), [("function-length", 2)]);
        assert_eq!(rules(&function(70)), []);
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(rules(&"\n".repeat(901)), [("file-length", 901)]);
        assert_eq!(rules(&"\n".repeat(900)), []);
    }

    #[test]
    fn braces_in_text_do_not_end_a_function() {
        let body = "    a(\"}\", '}'); // }\n".repeat(69);
        assert_eq!(rules(&format!("fn long() {{\n{body}}}\n")), [("function-length", 1)]);
    }

    #[test]
    fn quantiles_are_ranks() {
        assert_eq!(quantile(&[3, 1, 2], 50), 2);
        assert_eq!(quantile(&[3, 1, 2], 100), 3);
        assert_eq!(quantile(&[], 50), 0);
    }
}
