//! File, directory, link and command on real disks: what they do, what they leave, and what stops them.

mod bench;
mod commands;
mod crash;
mod disk;
mod escape;
mod fleet;
mod places;
