//! Units, and the converger that keeps a machine at what is wished of it.
//!
//! A *unit* is one thing a machine should be: a file with this content, a command whose check passes. A kind of unit is one
//! module elsewhere with one implementation of [`Unit`]: it can *observe* the thing, *plan* (purely) what is to be done
//! about it in steps that have words, *act* one step, and be observed again. [`converge`] makes the converger: it takes a
//! [`WishSet`], keeps trying until every thing is as wished, and says in its [`Report`] what is wrong meanwhile.
//!
//! # Goals
//!
//! - Withdrawing or superseding a wish stops the work on it at once. Nothing runs that can't be cancelled.
//! - A unit that fails or hangs never holds up one that does not depend on it. What fails is tried again for ever, with growing,
//!   jittered, bounded pauses. What has converged is looked at again, so that drift is corrected.
//! - The decisions are a state machine without clock or tasks ([`Converger`]); a thin driver carries them out.
//! - What would be done can be shown before it is done ([`Handle::difference`]).
//!
//! # Non-goals
//!
//! It knows no unit kind and no network, keeps nothing on disk (a unit remembers its own acts), and does not say what
//! should be wished for.
//!
//! # How the pieces interact
//!
//! [`Wish`]es, checked into a [`WishSet`], go to [`Handle::set`]. The [`Driver`] asks the [`Converger`] for [`Order`]s, starts
//! and cancels the runs ([`AnyUnit::run`]) they name, and tells it how each [`Finished`]. After every turn the report is published.
//! A cancelled run is still waited for, so that a unit never has two runs at a time.

mod converger;
mod difference;
mod driver;
mod id;
mod pause;
mod report;
mod run;
mod unit;
mod wish;

pub use converger::{Converger, Order, RUN_SLOW, RUNS_MAX, Wanted};
pub use difference::{Difference, difference};
pub use driver::{Driver, Ended, Handle, Settings, converge};
pub use id::{UnitId, UnitIdError};
pub use pause::{PAUSE_FIRST, PAUSE_MAX};
pub use report::{Change, Report, UnitReport, UnitState};
pub use run::{Ending, Finished};
pub use unit::{AnyUnit, Direction, Planned, Removal, Step, Unit};
pub use wish::{Goal, UNITS_MAX, Wish, WishSet, WishSetError};
