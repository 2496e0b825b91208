//! The API against its real clients, over a real port.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in what it calls as well"
)]

mod ansible;
mod apply;
mod apply_clients;
mod awaited;
mod changes;
mod coordinators;
mod fairness;
mod field_selectors;
mod fixture;
mod kubectl;
mod limits;
mod login;
mod node;
mod openapi;
mod paging;
mod peers;
mod python;
mod requests;
mod rust_client;
mod schemathesis;
mod trust_roots;
mod watchers;
mod watches;
