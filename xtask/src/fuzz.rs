//! Runs the fuzz harnesses: every test whose name starts with `fuzz_`.

use crate::command;
use crate::failure::{Failure, Outcome};
use crate::tools::{self, Tools};
use std::process::Command;

/// How long each harness runs in `test`.
pub(crate) const SHARE_SECONDS: u64 = 20;

/// How long each harness runs when nothing else is asked for.
const DEFAULT_SECONDS: u64 = 60;

/// `cargo xtask fuzz [NAME] [--seconds N]`.
pub(crate) fn fuzz(words: &[&str]) -> Outcome {
    let (name, seconds) = parse(words)?;
    let runner = Tools::install_runner()?;
    let mut command = tools::subcommand(&runner, "nextest");
    command::run(harnesses(&mut command, name.as_deref(), seconds).args(["--no-capture"]))
}

/// Makes of a bare `cargo nextest` the run of the harnesses, each for so long, whatever the harness itself asks for.
pub(crate) fn harnesses<'a>(command: &'a mut Command, name: Option<&str>, seconds: u64) -> &'a mut Command {
    let filter = match name {
        Some(name) => format!("test(/(^|::)fuzz_/) and test({name})"),
        None => "test(/(^|::)fuzz_/)".to_owned(),
    };
    command.args(["run", "--workspace", "--cargo-quiet", "-E", &filter]);
    command.env("BOLERO_RANDOM_TEST_TIME_MS", (seconds * 1000).to_string());
    command
}

fn parse(words: &[&str]) -> Outcome<(Option<String>, u64)> {
    let (mut name, mut seconds) = (None, DEFAULT_SECONDS);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--seconds" => {
                let value = words.next().copied().unwrap_or_default();
                seconds = value
                    .parse()
                    .ok()
                    .filter(|seconds| *seconds > 0)
                    .ok_or_else(|| Failure::Usage(format!("--seconds \"{value}\": expected a whole number of at least 1")))?;
            }
            word if !word.starts_with('-') && name.is_none() && is_name(word) => name = Some(word.to_owned()),
            other => return Err(Failure::Usage(format!("fuzz takes no \"{other}\""))),
        }
    }
    Ok((name, seconds))
}

fn is_name(word: &str) -> bool {
    word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_parsed() {
        assert_eq!(parse(&[]).unwrap(), (None, 60));
        assert_eq!(parse(&["fuzz_frame", "--seconds", "600"]).unwrap(), (Some("fuzz_frame".to_owned()), 600));
        for bad in [&["--seconds"][..], &["--seconds", "0"], &["a", "b"], &["a)"], &["--fast"]] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
