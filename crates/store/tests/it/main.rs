//! What every engine's record must do: each test that is not about one engine runs on SQLite, on PostgreSQL, and in memory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets what it did not expect has failed")]

mod anew;
mod away;
mod behaviour;
mod changes;
mod concurrency;
mod coordinators;
mod copying;
mod durability;
mod failure;
mod list;
mod lost;
mod property;
mod snapshots;
mod standby;
mod support;
mod watch;
mod watch_history;
