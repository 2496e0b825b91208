//! What every engine's record must do. The suite opens records through `support::Record`, so that a second engine runs the same.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets what it did not expect has failed")]

mod behaviour;
mod changes;
mod concurrency;
mod durability;
mod failure;
mod list;
mod property;
mod support;
mod watch;
