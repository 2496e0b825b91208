//! Base backups and the archive of the write-ahead log of a record in PostgreSQL, by pgBackRest, on the database's own host.
//!
//! `stead backup setup` writes a stanza and the server's settings ([`mod@setup`]); from then on the record can be put back to any moment
//! since the oldest backup. What is planned is planned by pure functions of what was found ([`plan`], [`wal`]); what acts
//! runs the real programs as the database's system user ([`program`]), and repeats their words where they fail.

mod check;
mod cluster;
mod configuration;
mod info;
mod journal;
mod plan;
mod program;
mod restore;
mod scratch;
mod server;
mod setup;
mod stanza;
mod take;
mod verify;
mod wal;

pub(crate) use check::check;
pub(crate) use configuration::DEFAULT_FILE;
pub(crate) use restore::{Wanted, restore};
pub(crate) use setup::setup;
pub(crate) use stanza::choose;
pub(crate) use take::{list, take};
pub(crate) use verify::verify;
