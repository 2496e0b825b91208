//! `kubectl stead`: the same program under the names by which kubectl finds its plugins.

use std::path::{Path, PathBuf};

use clap::Command;

/// The name by which kubectl finds `kubectl stead`.
pub(crate) const PLUGIN: &str = "kubectl-stead";
/// The name by which kubectl (1.26 or newer) asks how to go on with `kubectl stead …` on the tab key.
pub(crate) const COMPLETER: &str = "kubectl_complete-stead";

/// What kubectl's shell script is to do beside offering the words: no file names (cobra's `ShellCompDirectiveNoFileComp`).
const DIRECTIVE_NO_FILES: u8 = 4;
/// The same where a file may follow.
const DIRECTIVE_DEFAULT: u8 = 0;

/// The name by which this program was started.
fn called() -> Option<String> {
    let name = std::env::args_os().next().map(PathBuf::from)?;
    Some(name.file_name()?.to_string_lossy().into_owned())
}

/// Whether kubectl started it as its plugin.
pub(crate) fn is_plugin() -> bool {
    called().is_some_and(|name| name == PLUGIN)
}

/// Whether kubectl asks for completions.
pub(crate) fn is_completer() -> bool {
    called().is_some_and(|name| name == COMPLETER)
}

/// What may come next after some words, the last of which is not complete, as kubectl wants to be told.
pub(crate) fn completions(root: &Command, words: &[String]) -> String {
    let (last, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let mut command = root;
    for word in before.iter().filter(|word| !word.starts_with('-')) {
        if let Some(inner) = command.find_subcommand(word) {
            command = inner;
        }
    }
    let help = |text: Option<&clap::builder::StyledStr>| {
        text.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
    };
    let mut offered: Vec<(String, String)> = Vec::new();
    if last.starts_with('-') {
        let flags = command.get_arguments().chain(root.get_arguments().filter(|arg| arg.is_global_set()));
        offered.extend(flags.filter_map(|arg| Some((format!("--{}", arg.get_long()?), help(arg.get_help())))));
    } else {
        let visible = command.get_subcommands().filter(|inner| !inner.is_hide_set());
        offered.extend(visible.map(|inner| (inner.get_name().to_owned(), help(inner.get_about()))));
    }
    offered.retain(|(word, _)| word.starts_with(last));
    offered.sort();
    offered.dedup();
    let directive = if offered.is_empty() { DIRECTIVE_DEFAULT } else { DIRECTIVE_NO_FILES };
    let lines = offered.iter().map(|(word, about)| format!("{word}\t{about}\n"));
    lines.collect::<String>() + &format!(":{directive}\n")
}

/// Makes both names in a folder; what is there under them already and is no link is left.
pub(crate) fn install(folder: &Path, program: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    for name in [PLUGIN, COMPLETER] {
        let path = folder.join(name);
        if path.symlink_metadata().is_ok_and(|present| present.is_symlink()) {
            std::fs::remove_file(&path)?;
        }
        std::os::unix::fs::symlink(program, &path)?;
        made.push(path);
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_flags_are_offered() {
        let mut root = crate::cli::tree();
        root.build();
        let offered = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            completions(&root, &words)
        };
        assert!(offered(&["lo"]).starts_with("log\t") && offered(&["lo"]).contains("\nlogin\t"));
        assert!(offered(&["trust", "ro"]).starts_with("rotate\t"));
        assert!(offered(&["apply", "--pru"]).starts_with("--prune\t"));
        assert!(offered(&["get", "--serv"]).starts_with("--server\t"));
        assert!(!offered(&[""]).contains("credential"));
        assert_eq!(offered(&["get", "machi"]), ":0\n");
        assert!(offered(&["lo"]).ends_with(":4\n"));
    }
}
