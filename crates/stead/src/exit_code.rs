//! The exit codes: one table for the program, its help and its documentation.

/// How a command ended, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitCode {
    Success,
    Internal,
    Usage,
    NotFound,
    Refused,
    NeedsSigning,
    Timeout,
    Changed,
    Unreachable,
    Waiting,
}

/// Every exit code, in the order of its number.
pub(crate) const EXIT_CODES: [ExitCode; 10] = [
    ExitCode::Success,
    ExitCode::Internal,
    ExitCode::Usage,
    ExitCode::NotFound,
    ExitCode::Refused,
    ExitCode::NeedsSigning,
    ExitCode::Timeout,
    ExitCode::Changed,
    ExitCode::Unreachable,
    ExitCode::Waiting,
];

impl ExitCode {
    /// The number that the shell sees.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::NeedsSigning => 5,
            Self::Timeout => 6,
            Self::Changed => 7,
            Self::Unreachable => 8,
            Self::Waiting => 9,
        }
    }

    /// What it means, for the help and the documentation.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "Done. For `diff` and `--dry-run`: nothing would change.",
            Self::Internal => "Something that should not happen: a fault of Stead or of the system it runs on.",
            Self::Usage => "The command line, the configuration, a file or a key that was given is wrong. Nothing was sent.",
            Self::NotFound => "There is no such object, or no such change.",
            Self::Refused => {
                "The coordinator, or a check of our own, refused: signature, role, login, or an invalid object. Nothing was applied."
            }
            Self::NeedsSigning => "Somebody changed the object meanwhile: the change has to be looked at and signed again.",
            Self::Timeout => "`wait` gave up before what it waited for came true.",
            Self::Changed => "`diff` and `--dry-run` only: something would change.",
            Self::Unreachable => "The coordinator does not answer, or its certificate is not the expected one.",
            Self::Waiting => {
                "No coordinator answers: the change is signed, and waits in the outbox (`stead outbox list`) until one does."
            }
        }
    }
}

/// The table as the long help shows it.
pub(crate) fn help_table() -> String {
    let lines = EXIT_CODES.iter().map(|code| format!("  {}  {}\n", code.number(), code.meaning()));
    format!("Exit codes:\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/exit-codes.md");
        let text = std::fs::read_to_string(path).unwrap();
        for (number, code) in EXIT_CODES.into_iter().enumerate() {
            assert_eq!(usize::from(code.number()), number);
            let row = format!("| {number} | {} |", code.meaning());
            assert!(text.contains(&row), "docs/exit-codes.md lacks the row:\n{row}");
        }
    }
}
