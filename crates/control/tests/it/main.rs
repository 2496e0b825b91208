//! The controllers over a real record and the wire in memory.

#![expect(clippy::unwrap_used, reason = "a test that meets what it did not expect has failed")]

mod giveback;
mod giveback_broken;
mod giveback_coordinators;
mod giveback_scale;
mod world;
