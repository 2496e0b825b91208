//! Ways between machines and coordinators, in networks made of the kernel's own parts: the real binary in network namespaces, with
//! bridges, veth pairs, routes and nftables between them.
//!
//! They need root, `ip` and `nft`. What is promised in seconds is measured by `stead-bench`; here the limits only end what hangs, and
//! that a promise was kept by what should keep it is read from what the processes say.

mod away;
mod isolated;
mod lab;
mod nat;
mod party;
mod switching;
