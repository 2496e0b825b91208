//! Columns under each other, as operators read them: no frames, no colour, no space at the end of a line.

use comfy_table::{ContentArrangement, Table};

/// The space between two columns.
const GAP: u16 = 3;

/// Text in aligned columns. Every line ends with a line feed; no rows and no heading give the empty text.
pub(crate) fn aligned(heading: &[&str], rows: Vec<Vec<String>>) -> String {
    if heading.is_empty() && rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !heading.is_empty() {
        table.set_header(heading.iter().map(|word| word.to_uppercase()));
    }
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table.trim_fmt() + "\n"
}

/// The same, each line moved to the right.
pub(crate) fn indented(spaces: usize, text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{:spaces$}{line}\n", "") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["longer".to_owned(), "é".to_owned()]];
        assert_eq!(aligned(&["name", "x"], rows), "NAME     X\na        1\nlonger   é\n");
        assert_eq!(aligned(&[], Vec::new()), "");
        assert_eq!(indented(2, "a\n\nb\n"), "  a\n\n  b\n");
    }
}
