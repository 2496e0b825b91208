//! Base backups and the archive of the write-ahead log of a record in PostgreSQL, by pgBackRest, on the database's own host.
//!
//! # Goals
//!
//! - A record can be put back to any moment since the oldest backup, on a server that still runs or on an empty disk.
//! - Every step can be done again: whoever is killed in the middle goes on where it was, and nothing that was there is removed before
//!   what replaces it is known to be had.
//! - A backup counts when it was restored and compared, not when a program ended with 0.
//!
//! # Non-goals
//!
//! It knows no kind by name, speaks no HTTP, writes no object, and decides nothing about machines. It prints nothing and asks nobody:
//! what it has to say goes to whoever called. It is no schedule, and takes no portable backups. It holds no passphrase longer than
//! it takes to write it into pgBackRest's configuration, and gives none to a program on its command line.
//!
//! # How the pieces interact
//!
//! [`setup()`] finds the server of a [`RecordAddress`] by its socket, and lets a pure plan say which [`Step`]s are needed: a
//! stanza for pgBackRest, the server's settings, a first backup. From then on the [`Stanza`] is read from what was written, so that
//! [`Restoring`] needs no server that answers. [`take()`], [`check()`] and [`verify()`] run the real programs as the
//! database's system user, and repeat their words where they fail.

mod check;
mod cluster;
mod configuration;
mod error;
mod file;
mod info;
mod journal;
mod place;
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

pub use check::{AGE_SECONDS_MAX, CheckLimits, Seen, TIMEOUT_SECONDS, check};
pub use cluster::RecordAddress;
pub use configuration::DEFAULT_FILE;
pub use error::{Error, Sort};
pub use info::{Backup, InRepository, Info, Needs, Seconds, Sizes, Status};
pub use plan::{Refusal, Step};
pub use restore::{Restored, Restoring, Wanted};
pub use setup::{Planned, SetUp, Wish, plan_setup, setup};
pub use stanza::{Stanza, StanzaName};
pub use take::{BackupKind, take};
pub use verify::verify;

/// Where what is being done is told, a line at a time.
pub type Say<'a> = &'a dyn Fn(&str);
