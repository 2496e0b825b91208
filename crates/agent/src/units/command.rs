//! The unit kind `command`: what is run where a check fails, and undone when the wish goes away.

use std::fmt;
use std::sync::Arc;

use stead_unit::{Direction, Removal, Unit, UnitId};
use tokio_util::sync::CancellationToken;

use super::process::{Ended, Program};
use super::saved::Memory;
use super::{UnitError, Workshop, on_disk};
use crate::host::HostPath;

/// A command whose check should pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommandDesired {
    /// Names it on this machine: `PROFILE/NAME`.
    pub name: String,
    /// Ends with success where all is well. Run at every look, so it should be quick and change nothing.
    pub check: Vec<String>,
    /// Run where the check fails.
    pub run: Vec<String>,
    /// Run when the wish goes away, if `run` was ever started.
    pub undo: Option<Vec<String>>,
    /// How long each of them may take.
    pub timeout_seconds: u32,
    /// Where they are run; without one, in the root.
    pub directory: Option<HostPath>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// How the check ended; nothing where the wish goes away, for which all that matters is what is remembered.
    check: Option<Ended>,
    memory: Option<Memory>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandStep {
    /// Runs it.
    Run {
        /// The command.
        argv: Vec<String>,
        /// How the check ended, in words.
        because: String,
    },
    /// Remembers how to undo it, which has been wished for differently since.
    Remember {
        /// The command's name.
        name: String,
    },
    /// Undoes it.
    Undo {
        /// What is run.
        argv: Vec<String>,
    },
    /// Drops what was remembered.
    Forget {
        /// The command's name.
        name: String,
    },
}

impl fmt::Display for CommandStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { argv, because } => write!(f, "run {} (its check ended with {because})", argv.join(" ")),
            Self::Remember { name } => write!(f, "remember how to undo {name}"),
            Self::Undo { argv } => write!(f, "undo with {}", argv.join(" ")),
            Self::Forget { name } => write!(f, "forget that {name} was run"),
        }
    }
}

/// A command as a unit.
#[derive(Debug)]
pub struct CommandUnit {
    id: UnitId,
    desired: CommandDesired,
    workshop: Arc<Workshop>,
}

impl CommandUnit {
    /// The kind of unit.
    pub const KIND: &'static str = "command";

    /// The unit of this wish.
    #[must_use]
    pub fn new(desired: CommandDesired, workshop: Arc<Workshop>) -> Self {
        Self { id: UnitId::new(Self::KIND, &desired.name), desired, workshop }
    }

    /// A command that nobody wishes for any more; all that is known of it is what is remembered. Only ever wished for as absent.
    pub(super) fn leftover(id: UnitId, workshop: Arc<Workshop>) -> Self {
        let name = id.subject().to_owned();
        let (check, run) = (Vec::new(), Vec::new());
        let desired = CommandDesired { name, check, run, undo: None, timeout_seconds: 0, directory: None };
        Self { id, desired, workshop }
    }

    fn program<'a>(
        &'a self,
        argv: &'a [String],
        directory: Option<&HostPath>,
        timeout_seconds: u32,
    ) -> Result<Program<'a>, UnitError> {
        let directory = self.workshop.host.directory(directory)?;
        Ok(Program { argv, directory, root: self.workshop.host.root_path(), timeout_seconds })
    }

    fn own<'a>(&'a self, argv: &'a [String]) -> Result<Program<'a>, UnitError> {
        self.program(argv, self.desired.directory.as_ref(), self.desired.timeout_seconds)
    }

    async fn memory(&self) -> Result<Option<Memory>, UnitError> {
        let (workshop, id) = (Arc::clone(&self.workshop), self.id.clone());
        on_disk(move || Ok(workshop.saved.get(&id)?)).await
    }

    async fn remember(&self) -> Result<(), UnitError> {
        let (workshop, id, memory) = (Arc::clone(&self.workshop), self.id.clone(), remembered(&self.desired));
        on_disk(move || Ok(workshop.saved.put(&id, &memory)?)).await
    }

    async fn forget(&self) -> Result<(), UnitError> {
        let (workshop, id) = (Arc::clone(&self.workshop), self.id.clone());
        on_disk(move || Ok(workshop.saved.forget(&id)?)).await
    }
}

fn remembered(desired: &CommandDesired) -> Memory {
    let (undo, directory) = (desired.undo.clone(), desired.directory.clone());
    Memory::Command { undo, timeout_seconds: desired.timeout_seconds, directory }
}

impl Unit for CommandUnit {
    type Desired = CommandDesired;
    type Current = Checked;
    type Step = CommandStep;
    type Error = UnitError;

    fn id(&self) -> &UnitId {
        &self.id
    }

    fn desired(&self) -> &CommandDesired {
        &self.desired
    }

    async fn observe(&self, direction: Direction) -> Result<Checked, UnitError> {
        let memory = self.memory().await?;
        if direction == Direction::Remove {
            return Ok(Checked { check: None, memory });
        }
        // Dropping this future kills the check.
        let check = self.own(&self.desired.check)?.run(&CancellationToken::new()).await?;
        Ok(Checked { check: Some(check), memory })
    }

    fn plan(desired: &CommandDesired, current: &Checked) -> Result<Vec<CommandStep>, UnitError> {
        let failed = current.check.as_ref().filter(|check| !check.status.success());
        if let Some(check) = failed {
            let because = check.status.to_string();
            return Ok(vec![CommandStep::Run { argv: desired.run.clone(), because }]);
        }
        let outdated = current.memory.as_ref().is_some_and(|memory| *memory != remembered(desired));
        Ok(if outdated { vec![CommandStep::Remember { name: desired.name.clone() }] } else { Vec::new() })
    }

    fn plan_removal(desired: &CommandDesired, current: &Checked) -> Removal<CommandStep> {
        let forget = CommandStep::Forget { name: desired.name.clone() };
        Removal::Steps(match &current.memory {
            None => Vec::new(),
            Some(Memory::Command { undo: Some(argv), .. }) => vec![CommandStep::Undo { argv: argv.clone() }, forget],
            Some(_) => vec![forget],
        })
    }

    async fn act(&self, step: &CommandStep, cancel: &CancellationToken) -> Result<(), UnitError> {
        match step {
            CommandStep::Run { argv, .. } => {
                // First, because what was started has to be undone, however far it came.
                self.remember().await?;
                self.own(argv)?.succeed(cancel).await?;
            }
            CommandStep::Remember { .. } => self.remember().await?,
            CommandStep::Undo { argv } => {
                let Some(Memory::Command { timeout_seconds, directory, .. }) = self.memory().await? else { return Ok(()) };
                self.program(argv, directory.as_ref(), timeout_seconds)?.succeed(cancel).await?;
            }
            CommandStep::Forget { .. } => self.forget().await?,
        }
        Ok(())
    }

    fn evidence(current: &Checked) -> Option<String> {
        let check = current.check.as_ref().filter(|check| !check.status.success() && !check.tail.is_empty())?;
        Some(format!("The check's last output was: {}", check.tail))
    }
}
