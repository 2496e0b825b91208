//! Tests of `stead-trust` from outside: a small fleet, its refusals, and OpenSSH as the other side.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets what it did not expect has failed"
)]

mod admission;
mod altered;
mod enrolment;
mod fleet;
mod fuzz;
mod openssh;
mod papers;
mod plans;
mod recover;
mod refusals;
mod roots;
mod rotation;
mod security_key;
