//! Differences of objects as text, in the form of `diff -u`.

use std::ops::Range;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use stead_model::Object;

use crate::failure::Failure;
use crate::output::yaml;
use crate::terminal::{Style, Terminal};

/// Lines of context around a change.
const CONTEXT_LINES: usize = 3;

/// The part of an object that its author means, as text.
pub(crate) fn text_of(object: Option<&Object>) -> Result<String, Failure> {
    let Some(object) = object else { return Ok(String::new()) };
    let value: Value = serde_json::to_value(object.as_sent()).map_err(|error| Failure::internal(error.to_string()))?;
    yaml(&value)
}

/// The difference of two texts; empty where there is none.
pub(crate) fn unified(old_name: &str, new_name: &str, old: &str, new: &str, terminal: Terminal) -> String {
    if old == new {
        return String::new();
    }
    let difference = TextDiff::from_lines(old, new);
    let mut out = terminal.on_stdout(Style::Strong, &format!("--- {old_name}\n+++ {new_name}\n"));
    for group in difference.grouped_ops(CONTEXT_LINES) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let old_lines = first.old_range().start..last.old_range().end;
        let new_lines = first.new_range().start..last.new_range().end;
        let place = format!("@@ -{} +{} @@", place(&old_lines), place(&new_lines));
        out.push_str(&terminal.on_stdout(Style::Faint, &place));
        out.push('\n');
        for change in group.iter().flat_map(|operation| difference.iter_changes(operation)) {
            let (sign, style) = match change.tag() {
                ChangeTag::Delete => ("-", Some(Style::Bad)),
                ChangeTag::Insert => ("+", Some(Style::Good)),
                ChangeTag::Equal => (" ", None),
            };
            let line = format!("{sign}{}", change.value().trim_end_matches('\n'));
            out.push_str(&style.map_or_else(|| line.clone(), |style| terminal.on_stdout(style, &line)));
            out.push('\n');
        }
    }
    out
}

/// What two people made of an object: the difference of each from what it was, under headings that say whose it is.
pub(crate) struct ThreeWay<'a> {
    pub(crate) name: String,
    /// What it was, with where it stands.
    pub(crate) base: (&'a str, Option<&'a Object>),
    /// What somebody made of it meanwhile.
    pub(crate) theirs: (&'a str, Option<&'a Object>),
    /// What you want to make of it.
    pub(crate) yours: (&'a str, Option<&'a Object>),
}

impl ThreeWay<'_> {
    /// Both differences as text.
    pub(crate) fn text(&self, terminal: Terminal) -> Result<String, Failure> {
        let titled = |side: &(&str, Option<&Object>)| {
            if side.1.is_some() {
                format!("{} ({})", self.name, side.0)
            } else {
                format!("/dev/null ({}: {} is not there)", side.0, self.name)
            }
        };
        let (base, theirs, yours) = (text_of(self.base.1)?, text_of(self.theirs.1)?, text_of(self.yours.1)?);
        let mut out = unified(&titled(&self.base), &titled(&self.theirs), &base, &theirs, terminal);
        out.push_str(&unified(&titled(&self.base), &titled(&self.yours), &base, &yours, terminal));
        Ok(out)
    }
}

/// The first line, counted from 1, and how many; of no lines, the one before them.
fn place(lines: &Range<usize>) -> String {
    let first = if lines.is_empty() { lines.start } else { lines.start + 1 };
    format!("{first},{}", lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_those_of_diff() {
        let text = unified("a", "b", "1\n2\n3\n4\n5\n", "1\n2\nx\n4\n5\n", Terminal::plain());
        assert_eq!(text, "--- a\n+++ b\n@@ -1,5 +1,5 @@\n 1\n 2\n-3\n+x\n 4\n 5\n");
        assert!(unified("a", "b", "", "1\n", Terminal::plain()).contains("@@ -0,0 +1,1 @@"));
        assert_eq!(unified("a", "b", "1\n", "1\n", Terminal::plain()), "");
    }
}
