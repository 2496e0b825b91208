//! The text files of the tree, read once.

use super::Finding;
use crate::failure::{Failure, Outcome};
use std::fs;
use std::path::Path;

/// Folders that hold nothing we wrote.
const SKIPPED_FOLDERS: [&str; 3] = [".git", "target", "node_modules"];

/// What editors leave behind, and what `.gitignore` names.
const SKIPPED_ENDINGS: [&str; 3] = [".swp", "~", ".orig"];

/// Every text file, by its path from the workspace's folder, in order.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

/// One text file.
pub(super) struct File {
    /// With `/` between the parts.
    pub(super) path: String,
    pub(super) text: String,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Outcome<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        tree.files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(tree)
    }

    /// Names of a rule's table with which no file begins any more: what was renamed would be free of the rule.
    pub(super) fn stale<'a>(&self, names: impl IntoIterator<Item = &'a str>, table: &str, rule: &'static str) -> Vec<Finding> {
        let stale = names.into_iter().filter(|start| !self.files.iter().any(|file| file.path.starts_with(start)));
        let finding = |start| Finding {
            path: table.to_owned(),
            line: 1,
            rule,
            what_to_do: format!("no file starts with {start}: give the table the new name"),
        };
        stale.map(finding).collect()
    }

    fn read_folder(&mut self, root: &Path, folder: &str) -> Outcome {
        let full = root.join(folder);
        let entries = fs::read_dir(&full).map_err(|error| Failure::file("read", &full, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| Failure::file("read", &full, &error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let kind = entry.file_type().map_err(|error| Failure::file("read", &entry.path(), &error))?;
            if kind.is_dir() {
                if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                    self.read_folder(root, &path)?;
                }
            } else if kind.is_file() && !SKIPPED_ENDINGS.iter().any(|end| name.ends_with(end)) {
                let bytes = fs::read(entry.path()).map_err(|error| Failure::file("read", &entry.path(), &error))?;
                // What is not UTF-8 is a test's input, and no text of ours.
                if let Ok(text) = String::from_utf8(bytes) {
                    self.files.push(File { path, text });
                }
            }
        }
        Ok(())
    }

    /// Files of Rust.
    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() }).collect() }
    }
}
