//! Integration tests: both ends together, over memory and over iroh.

mod fleet;
mod hostile;
mod iroh;
mod memory;
mod property;
