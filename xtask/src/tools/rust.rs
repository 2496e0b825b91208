//! Cargo subcommands that the tests run under, built where the machine has none that is new enough.

use crate::command;
use crate::failure::{Failure, Outcome};
use crate::workspace;
use std::path::PathBuf;

/// A cargo subcommand: the crate, and the oldest version that will do.
pub(super) struct Subcommand {
    name: &'static str,
    program: &'static str,
    /// What is built when there is none; a fixed one, so that a new release breaks no build by itself.
    version: &'static str,
    /// The oldest on PATH that is taken instead.
    oldest: (u32, u32, u32),
    /// Without what phones home or brings its own certificates.
    features: &'static [&'static str],
}

/// The test runner.
pub(super) const NEXTEST: Subcommand = Subcommand {
    name: "nextest",
    program: "cargo-nextest",
    version: "0.9.143",
    oldest: (0, 9, 100),
    features: &["--no-default-features", "--features", "default-no-update"],
};

/// Licences, duplicates and sources of dependencies. Older ones cannot read this cargo's package ids.
pub(super) const DENY: Subcommand = Subcommand {
    name: "deny",
    program: "cargo-deny",
    version: "0.20.2",
    oldest: (0, 18, 0),
    features: &["--no-default-features"],
};

/// Its path: the one on PATH if it is new enough, else one built under `target/tools`.
pub(super) fn install(subcommand: &Subcommand) -> Outcome<PathBuf> {
    let folder = workspace::tools().join(subcommand.program);
    let own = folder.join("bin").join(subcommand.program);
    for candidate in [PathBuf::from(subcommand.program), own.clone()] {
        if subcommand.is_new_enough(&candidate) {
            return Ok(candidate);
        }
    }
    eprintln!(
        "building {} {} into target/tools/{} (once, some minutes)",
        subcommand.program, subcommand.version, subcommand.program
    );
    // Unoptimised: it is built once on a fresh machine and then runs for seconds.
    let mut build = command::cargo();
    build
        .args(["install", "--quiet", "--locked", "--debug", "--root"])
        .arg(&folder)
        .args(["--version", subcommand.version])
        .args(subcommand.features)
        .arg(subcommand.program)
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    command::run_beside(&mut build)?;
    if subcommand.is_new_enough(&own) {
        return Ok(own);
    }
    Err(Failure::Machine(format!("{} was built but does not run", own.display())))
}

impl Subcommand {
    fn is_new_enough(&self, path: &PathBuf) -> bool {
        let mut command = command::program(path);
        command::output(command.args([self.name, "--version"]))
            .ok()
            .and_then(|text| version(&text))
            .is_some_and(|found| found >= self.oldest)
    }
}

/// The first thing that looks like `1.2.3`.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    text.split_whitespace().find_map(|word| {
        let mut parts = word.split(['.', '-']).map(str::parse::<u32>);
        match (parts.next()?, parts.next()?, parts.next()?) {
            (Ok(major), Ok(minor), Ok(patch)) => Some((major, minor, patch)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let cases = [
            ("cargo-nextest 0.9.143 (60fa45f63 2026-08-04)", Some((0, 9, 143))),
            ("cargo-deny 0.20.2", Some((0, 20, 2))),
            ("tool 1.2.3-rc.1", Some((1, 2, 3))),
            ("no version", None),
        ];
        for (text, expected) in cases {
            assert_eq!(version(text), expected, "{text}");
        }
    }
}
