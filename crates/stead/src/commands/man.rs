//! `stead man`: manual pages, made from the same tree as the parser.

use std::path::Path;

use super::print;
use crate::Outcome;
use crate::cli::{ManArgs, tree};
use crate::exit_code::ExitCode;
use crate::failure::Failure;

pub(super) fn run(args: &ManArgs) -> Outcome {
    let mut command = tree();
    command.build();
    match &args.folder {
        None => print(&page(command)?)?,
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
            write_pages(folder, command)?;
        }
    }
    Ok(ExitCode::Success)
}

/// One page a command; those below it have its name before theirs, as `stead-trust-init.1`.
fn write_pages(folder: &Path, root: clap::Command) -> Result<(), Failure> {
    let mut waiting = vec![("stead".to_owned(), root)];
    while let Some((name, command)) = waiting.pop() {
        let visible = command.get_subcommands().filter(|inner| !inner.is_hide_set());
        waiting.extend(visible.map(|inner| (format!("{name}-{}", inner.get_name()), inner.clone())));
        let path = folder.join(format!("{name}.1"));
        std::fs::write(&path, page(command.name(name))?).map_err(|error| unwritable(&path, &error))?;
    }
    Ok(())
}

fn page(command: clap::Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::internal(format!("the page cannot be made: {error}")))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::user(format!("cannot write {}: {error}", path.display()))
}
