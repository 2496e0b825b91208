//! Real peers that tests start for themselves: a PostgreSQL server of their own.
//!
//! For tests and measurements alone: no product depends on it, and what goes wrong here is a panic.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test whose peer cannot be run has failed")]

mod cluster;
mod debian;
mod debian_server;
mod postgres;
mod proxy;

pub use cluster::TempCluster;
pub use debian::DebianCluster;
pub use debian_server::DebianServer;
pub use postgres::{ServerPlace, Shutdown, TempPostgres};
pub use proxy::{Passage, PostgresProxy};
