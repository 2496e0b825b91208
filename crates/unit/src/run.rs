//! One run of one unit: observe, plan, act, observe again.

use std::fmt::Write as _;

use tokio_util::sync::CancellationToken;

use crate::unit::{Direction, Planned, Removal, Step, Unit};

/// How a run ended, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The steps that were done, also when a later one failed.
    pub done: Vec<Step>,
    /// How it ended.
    pub ending: Ending,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The thing is as desired.
    Converged,
    /// The wish went away, and nothing of it is left.
    Gone,
    /// The wish went away, and the thing stays because a person changed it.
    Kept {
        /// Why, in words.
        reason: String,
    },
    /// It did not work.
    Failed {
        /// The whole chain of causes, in words.
        reason: String,
    },
    /// It was told to stop, and did.
    Cancelled,
}

/// What planning says, before it is put in words.
enum Intent<S> {
    Steps(Vec<S>),
    Kept(String),
}

pub(crate) async fn plan<U: Unit>(unit: &U, direction: Direction) -> Planned {
    match look(unit, direction).await {
        Ok((Intent::Steps(steps), _)) => Planned::Steps(steps.iter().map(words).collect()),
        Ok((Intent::Kept(reason), _)) => Planned::Kept { reason },
        Err(error) => Planned::Failed { reason: chain(&error) },
    }
}

pub(crate) async fn run<U: Unit>(unit: &U, direction: Direction, cancel: &CancellationToken) -> Finished {
    let mut done = Vec::new();
    let ending = work(unit, direction, cancel, &mut done).await;
    Finished { done, ending }
}

async fn work<U: Unit>(unit: &U, direction: Direction, cancel: &CancellationToken, done: &mut Vec<Step>) -> Ending {
    let steps = match look_until(unit, direction, cancel).await {
        Err(ending) => return ending,
        Ok((Intent::Kept(reason), _)) => return Ending::Kept { reason },
        Ok((Intent::Steps(steps), _)) if steps.is_empty() => return reached(direction),
        Ok((Intent::Steps(steps), _)) => steps,
    };
    for step in &steps {
        if cancel.is_cancelled() {
            return Ending::Cancelled;
        }
        match unit.act(step, cancel).await {
            Ok(()) => done.push(words(step)),
            Err(_) if cancel.is_cancelled() => return Ending::Cancelled,
            Err(error) => return Ending::Failed { reason: format!("could not {step}: {}", chain(&error)) },
        }
    }
    match look_until(unit, direction, cancel).await {
        Err(ending) => ending,
        Ok((Intent::Kept(reason), _)) => Ending::Kept { reason },
        Ok((Intent::Steps(steps), _)) if steps.is_empty() => reached(direction),
        Ok((Intent::Steps(steps), current)) => Ending::Failed { reason: unmoved::<U>(&steps, &current) },
    }
}

fn reached(direction: Direction) -> Ending {
    match direction {
        Direction::Apply => Ending::Converged,
        Direction::Remove => Ending::Gone,
    }
}

fn unmoved<U: Unit>(steps: &[U::Step], current: &U::Current) -> String {
    let mut reason = String::from("every step was done, and yet there is still to do: ");
    for (index, step) in steps.iter().enumerate() {
        // Writing to a String can't fail.
        let _ = write!(reason, "{}{step}", if index == 0 { "" } else { "; " });
    }
    if let Some(evidence) = U::evidence(current) {
        let _ = write!(reason, ". {evidence}");
    }
    reason
}

/// Looks unless told to stop. Looking changes nothing, so it may be dropped at any point.
async fn look_until<U: Unit>(
    unit: &U,
    direction: Direction,
    cancel: &CancellationToken,
) -> Result<(Intent<U::Step>, U::Current), Ending> {
    match cancel.run_until_cancelled(look(unit, direction)).await {
        None => Err(Ending::Cancelled),
        Some(Ok(seen)) => Ok(seen),
        Some(Err(error)) => Err(Ending::Failed { reason: chain(&error) }),
    }
}

async fn look<U: Unit>(unit: &U, direction: Direction) -> Result<(Intent<U::Step>, U::Current), U::Error> {
    let current = unit.observe(direction).await?;
    let intent = match direction {
        Direction::Apply => Intent::Steps(U::plan(unit.desired(), &current)?),
        Direction::Remove => match U::plan_removal(unit.desired(), &current) {
            Removal::Steps(steps) => Intent::Steps(steps),
            Removal::Kept { reason } => Intent::Kept(reason),
        },
    };
    Ok((intent, current))
}

fn words<S: std::fmt::Display>(step: &S) -> Step {
    Step::new(step.to_string())
}

/// The error and its causes on one line. This is the edge where the chain of a unit's error is written out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
