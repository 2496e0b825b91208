//! What went wrong, as the operator reads it: a kind that fixes the exit code, a sentence, its causes, and what to do.

use std::error::Error;
use std::fmt::Write as _;

use crate::exit_code::ExitCode;
use crate::terminal::{Style, Terminal};

/// What sort of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The command line or something it names is wrong.
    User,
    /// The configuration is wrong.
    Config,
    /// There is no such object.
    NotFound,
    /// A signature, a role or a check says no.
    Refused,
    /// The sequence was taken meanwhile.
    NeedsSigning,
    /// Waited in vain.
    Timeout,
    /// The coordinator does not answer.
    Unreachable,
    /// The coordinator does not answer, and what was signed waits in the outbox.
    Waiting,
    /// Our own fault, or the system's.
    Internal,
}

/// The one error that reaches `main`.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: FailureKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    hints: Vec<String>,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, hints: Vec::new() }
    }

    /// Makes an error the failure of its kind; its own causes are printed below it.
    pub(crate) fn of(kind: FailureKind, error: impl Error + Send + Sync + 'static) -> Self {
        let message = error.to_string();
        Self { kind, message, source: Some(Box::new(error)), hints: Vec::new() }
    }

    pub(crate) fn user(message: impl Into<String>) -> Self {
        Self::new(FailureKind::User, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Internal, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Refused, message)
    }

    /// Adds what the operator can do about it, in a full sentence.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The sentence alone.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The error that this came of, where it is of that type.
    pub(crate) fn cause<E: Error + 'static>(&self) -> Option<&E> {
        self.source.as_deref().and_then(|source| (source as &dyn Error).downcast_ref())
    }

    /// The sentence, with its hints, in one line.
    pub(crate) fn sentence(&self) -> String {
        if self.hints.is_empty() {
            return self.message.clone();
        }
        format!("{}. {}", self.message.trim_end_matches('.'), self.hints.join(" "))
    }

    pub(crate) const fn kind(&self) -> FailureKind {
        self.kind
    }

    pub(crate) const fn exit_code(&self) -> ExitCode {
        match self.kind {
            FailureKind::User | FailureKind::Config => ExitCode::Usage,
            FailureKind::NotFound => ExitCode::NotFound,
            FailureKind::Refused => ExitCode::Refused,
            FailureKind::NeedsSigning => ExitCode::NeedsSigning,
            FailureKind::Timeout => ExitCode::Timeout,
            FailureKind::Unreachable => ExitCode::Unreachable,
            FailureKind::Waiting => ExitCode::Waiting,
            FailureKind::Internal => ExitCode::Internal,
        }
    }

    /// The text for standard error: the sentence, each cause that says something new, the hints.
    pub(crate) fn render(&self, terminal: Terminal) -> String {
        let (style, word) = if self.kind == FailureKind::Waiting { (Style::Strong, "waiting:") } else { (Style::Bad, "error:") };
        let mut text = format!("{} {}\n", terminal.on_stderr(style, word), self.message);
        let mut said = self.message.clone();
        let mut cause = self.source.as_deref().and_then(|source| (source as &dyn Error).source());
        while let Some(error) = cause {
            let sentence = error.to_string();
            if !said.contains(&sentence) {
                let _infallible = writeln!(text, "  because: {sentence}");
                said = sentence;
            }
            cause = error.source();
        }
        for hint in &self.hints {
            let _infallible = writeln!(text, "{} {hint}", terminal.on_stderr(Style::Strong, "hint:"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the file is read-only")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write the token")]
    struct Outer(#[source] Inner);

    #[test]
    fn the_chain_and_the_hints_are_printed_once() {
        let failure = Failure::of(FailureKind::Refused, Outer(Inner)).hint("Remount it.");
        assert_eq!(
            failure.render(Terminal::plain()),
            "error: cannot write the token\n  because: the file is read-only\nhint: Remount it.\n"
        );
        assert_eq!(failure.exit_code(), ExitCode::Refused);
    }
}
