//! The command line as an operator meets it: the real binary, real files, the real ssh-agent, a stand-in for the coordinator.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets what it did not expect has failed")]

mod command_line;
mod configuration;
mod coordinator;
mod fleet;
mod keys;
mod manifests;
mod observability;
mod paths;
mod recorded;
mod security_key;
mod share;
mod stand_in;
mod stead;
mod trust;
