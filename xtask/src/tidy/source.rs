//! A Rust file as the rules see it: code without strings and comments, comments alone, and which lines are tests.

use super::tree::{File, Tree};

mod blank;

/// One file of Rust.
pub(super) struct Source {
    pub(super) path: String,
    /// The code, with comments and the contents of literals blanked; the same lines as the file.
    pub(super) code: String,
    /// Whether each line belongs to a test.
    test: Vec<bool>,
    /// Whether the whole file belongs to a test.
    pub(super) is_test: bool,
    /// `#[cfg(test)] mod NAME;`: those whose file is elsewhere.
    test_modules: Vec<String>,
}

impl Source {
    /// All of them; a file that is a test module of another is marked as such.
    pub(super) fn read_all(tree: &Tree) -> Vec<Self> {
        let mut sources: Vec<Self> = tree.rust().map(Self::parse).collect();
        let modules: Vec<String> = sources.iter().flat_map(|source| source.test_modules.iter().cloned()).collect();
        for source in &mut sources {
            source.is_test |= modules
                .iter()
                .any(|module| source.path == format!("{module}.rs") || source.path.starts_with(&format!("{module}/")));
        }
        sources
    }

    pub(super) fn parse(file: &File) -> Self {
        let code = blank::blank(&file.text);
        let mut source = Self {
            test: vec![false; code.lines().count()],
            is_test: file.path.contains("/tests/") || file.path.contains("/benches/"),
            path: file.path.clone(),
            code,
            test_modules: Vec::new(),
        };
        source.mark_tests();
        source
    }

    /// Lines of code with their number from 1, without those of tests.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .lines()
            .zip(&self.test)
            .enumerate()
            .filter(|(_, (_, test))| !self.is_test && !**test)
            .map(|(index, (line, _))| (index + 1, line))
    }

    /// The line of a byte of `code`, counted from 1.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        let before = self.code.get(..offset).unwrap_or(&self.code);
        before.matches('\n').count() + 1
    }

    fn mark_tests(&mut self) {
        let attributes = ["#[cfg(test)]", "#[test]", "#[tokio::test"];
        let starts: Vec<usize> =
            attributes.iter().flat_map(|attribute| self.code.match_indices(attribute).map(|(at, _)| at)).collect();
        for start in starts {
            let end = item_end(&self.code, start);
            let (first, last) = (self.line_of(start), self.line_of(end));
            for test in self.test.iter_mut().take(last).skip(first - 1) {
                *test = true;
            }
            let item = self.code.get(start..end).unwrap_or_default();
            if let Some(name) = outline_module(item) {
                let folder = module_folder(&self.path);
                self.test_modules.push(format!("{folder}/{name}"));
            }
        }
    }
}

/// The name in `#[cfg(test)] mod NAME`, where the text ends before a `;`.
fn outline_module(item: &str) -> Option<&str> {
    let (before, name) = item.rsplit_once("mod ")?;
    let is_name = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    (is_name && !before.contains('{')).then_some(name)
}

/// The folder in which the modules of this file are.
fn module_folder(path: &str) -> String {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    match name {
        "lib" | "main" => folder.to_owned(),
        _ => stem.to_owned(),
    }
}

/// The byte at which the item that starts here ends: its closing brace, or its semicolon.
pub(super) fn item_end(code: &str, start: usize) -> usize {
    let (mut braces, mut brackets) = (0_i32, 0_i32);
    for (at, letter) in code.char_indices().filter(|(at, _)| *at >= start) {
        match letter {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces <= 0 && brackets <= 0 {
                    return at;
                }
            }
            ';' if braces == 0 && brackets == 0 => return at,
            _ => {}
        }
    }
    code.len()
}

/// Where this word stands in a line by itself, not as a part of another.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        Source::parse(&File { path: "crates/x/src/a.rs".to_owned(), text: text.to_owned() })
    }

    #[test]
    fn lines_of_tests_are_left_out() {
        let source = parse("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[test]\nfn d() {\n}\n");
        let lines: Vec<usize> = source.product_lines().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 6]);
    }

    #[test]
    fn a_test_module_in_its_own_file_is_a_test() {
        let tree = Tree::of(&[
            ("crates/x/src/a.rs", "#[cfg(test)]\nmod tests;\nfn a() {}\n"),
            ("crates/x/src/a/tests.rs", "fn b() {}\n"),
            ("crates/x/src/b/tests.rs", "fn c() {}\n"),
        ]);
        let tests: Vec<String> =
            Source::read_all(&tree).into_iter().filter(|source| source.is_test).map(|source| source.path).collect();
        assert_eq!(tests, ["crates/x/src/a/tests.rs"]);
    }

    #[test]
    fn a_word_is_whole() {
        assert!(has_word("let x = rand::random();", "rand"));
        assert!(!has_word("let operand = brand;", "rand"));
    }
}
