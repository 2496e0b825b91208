//! What every change of the disk passes first: nothing on a machine; in tests, the place to fail or to be killed.

use std::fmt;
use std::io;

/// Asked before each single change of the disk (a file created, written, renamed, …).
pub trait Gate: fmt::Debug + Send + Sync + 'static {
    /// Lets the change happen, or fails it.
    ///
    /// # Errors
    ///
    /// The change is not to happen.
    fn pass(&self, act: &'static str, path: &str) -> io::Result<()>;
}

/// Lets everything pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn pass(&self, _act: &'static str, _path: &str) -> io::Result<()> {
        Ok(())
    }
}
