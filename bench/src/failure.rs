//! Why something could not be measured.

use std::path::PathBuf;

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The variable through which `cargo xtask bench` names the product's binary is not set.
    #[error("STEAD_BENCH_BINARY is not set: run `cargo xtask bench`, which builds the binary and names it")]
    NoBinary,
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program could not be started, or the wait for it failed.
    #[error("cannot run {program}: {source}")]
    Program {
        /// Its name.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program answered with something else than what is measured.
    #[error("{program} answered \"{answer}\"")]
    Answer {
        /// Its name.
        program: String,
        /// What it said.
        answer: String,
    },
    /// The record refused.
    #[error("the record: {0}")]
    Record(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A step failed: of the product, or of a peer that it is held against.
    #[error("{doing}: {reason}")]
    Step {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        reason: String,
    },
}

impl BenchError {
    /// For a step's several errors.
    pub(crate) fn step<E: std::fmt::Display>(doing: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::Step { doing, reason: error.to_string() }
    }

    /// For the record's several errors.
    pub(crate) fn record(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Record(Box::new(error))
    }
}
