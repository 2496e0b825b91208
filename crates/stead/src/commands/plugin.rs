//! `stead plugin install`: the names by which kubectl finds this program.

use super::print;
use crate::Outcome;
use crate::cli::PluginInstallArgs;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::plugin;

pub(super) fn install(args: &PluginInstallArgs) -> Outcome {
    let program = std::env::current_exe().map_err(|error| Failure::internal(format!("this program has no path: {error}")))?;
    let folder = &args.folder;
    let made = plugin::install(folder, &program)
        .map_err(|error| Failure::user(format!("cannot make the links in {}: {error}", folder.display())))?;
    let lines = made.iter().map(|path| format!("{} -> {}\n", path.display(), program.display()));
    print(&(lines.collect::<String>() + "With that folder in $PATH: kubectl stead get machines\n"))?;
    Ok(ExitCode::Success)
}
