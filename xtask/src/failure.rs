//! Why a command of xtask ended without success.

use std::fmt;
use std::path::Path;

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command ended without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line was not understood.
    Usage(String),
    /// A program that was started ended without success; its own output says why.
    Program { line: String, code: Option<i32> },
    /// Something this machine lacks or refuses, and what to do about it.
    Machine(String),
    /// A check found something; it has been printed.
    Found(String),
}

impl Failure {
    /// A file or folder could not be read or written.
    pub(crate) fn file(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::Machine(format!("cannot {doing} {}: {error}", path.display()))
    }

    /// The code that xtask ends with: that of the program which failed, where there is one.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Program { code: Some(code), .. } => u8::try_from(*code).unwrap_or(1).max(1),
            _ => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Machine(message) | Self::Found(message) => formatter.write_str(message),
            Self::Program { line, code: Some(code) } => write!(formatter, "`{line}` ended with exit code {code}"),
            Self::Program { line, code: None } => {
                write!(formatter, "`{line}` was ended by a signal")
            }
        }
    }
}
