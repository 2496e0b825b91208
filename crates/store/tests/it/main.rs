//! What every engine's record must do. The suite opens records through `support::Record`, so that a second engine runs the same.

mod behaviour;
mod changes;
mod concurrency;
mod durability;
mod failure;
mod list;
mod property;
mod support;
mod watch;
