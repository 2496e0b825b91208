//! `cargo xtask demo`: from a fresh machine to the fleet, live, in one command.

use crate::command;
use crate::failure::{Failure, Outcome};
use crate::{tools, workspace};
use std::os::unix::process::CommandExt;

/// Installs what is missing, builds the binary, and becomes `stead dev --demo`.
pub(crate) fn demo(words: &[&str]) -> Outcome {
    if words.iter().any(|word| *word != "--once") {
        return Err(Failure::Usage("demo takes only --once".to_owned()));
    }
    tools::install_for_demo()?;
    eprintln!("building stead; the first time takes some minutes");
    command::run(command::cargo().args(["build", "--package", "stead"]))?;
    let mut stead = command::program(workspace::target().join("debug/stead"));
    stead.args(["dev", "--demo"]).args(words);
    eprintln!("$ {}", command::line(&stead));
    // It takes this process's place, so that Ctrl-C and the exit code are its own.
    let error = stead.exec();
    Err(Failure::Machine(format!("cannot start `{}`: {error}", command::line(&stead))))
}
