//! Runs other programs: says what it runs, and gives them the environment of a shell rather than that of `cargo run`.

use crate::failure::{Failure, Outcome};
use crate::workspace;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};

/// A program, started in the workspace's folder.
///
/// `cargo run` leaves `CARGO_PKG_*` and `CARGO_MANIFEST_*` of xtask behind. Build scripts that watch those (ring's does) would
/// be run again whenever a build from a shell follows one from here, so they are taken out.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(workspace::root());
    for (key, _) in std::env::vars_os() {
        let text = key.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&key);
        }
    }
    command
}

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let name = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .map(|word| if word.is_empty() || word.contains([' ', '(', '|']) { format!("'{word}'") } else { word.into_owned() })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs it to its end, with its output on ours.
pub(crate) fn run(command: &mut Command) -> Outcome {
    announce(command);
    let status = command.status().map_err(|error| not_started(command, &error))?;
    judge(command, status)
}

/// Runs it to its end, with all its output on our standard error: for work on the way to a result that is printed.
pub(crate) fn run_beside(command: &mut Command) -> Outcome {
    run(command.stdout(std::io::stderr()))
}

/// Runs it silently and returns its standard output; what it says on standard error is part of the failure.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::Machine(format!("`{}` failed ({}): {}", line(command), output.status, said.trim())))
    }
}

/// Whether it can be started and ends with success; its output is thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Runs it with its output on ours, and returns the last line of standard error that contains `mark`.
pub(crate) fn run_and_keep(command: &mut Command, mark: &str) -> (Outcome, Option<String>) {
    announce(command);
    let mut child = match command.stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return (Err(not_started(command, &error)), None),
    };
    let mut kept = None;
    if let Some(pipe) = child.stderr.take() {
        for text in BufReader::new(pipe).split(b'\n') {
            let Ok(text) = text else { break };
            let text = String::from_utf8_lossy(&text);
            if text.contains(mark) {
                kept = Some(text.trim().to_owned());
            }
            eprintln!("{text}");
        }
    }
    let outcome = match child.wait() {
        Ok(status) => judge(command, status),
        Err(error) => Err(not_started(command, &error)),
    };
    (outcome, kept)
}

fn announce(command: &Command) {
    // Results go to standard output; what is being done goes beside them.
    eprintln!("$ {}", line(command));
}

fn judge(command: &Command, status: ExitStatus) -> Outcome {
    if status.success() {
        return Ok(());
    }
    Err(Failure::Program { line: line(command), code: status.code() })
}

fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    Failure::Machine(format!("cannot start `{}`: {error}", line(command)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_a_failure_with_its_code() {
        let failure = run(program("sh").args(["-c", "exit 7"])).unwrap_err();
        assert_eq!(failure.exit_code(), 7);
    }

    #[test]
    fn the_marked_line_is_kept() {
        let (outcome, kept) = run_and_keep(program("sh").args(["-c", "echo one >&2; echo Mark two >&2; echo three >&2"]), "Mark");
        outcome.unwrap();
        assert_eq!(kept.as_deref(), Some("Mark two"));
    }

    #[test]
    fn a_missing_program_is_named() {
        let failure = output(&mut program("stead-no-such-program")).unwrap_err();
        assert!(failure.to_string().contains("stead-no-such-program"));
    }
}
