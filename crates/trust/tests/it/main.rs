//! Tests of `stead-trust` from outside: a small fleet, its refusals, and OpenSSH as the other side.

mod admission;
mod altered;
mod enrolment;
mod fleet;
mod fuzz;
mod openssh;
mod papers;
mod refusals;
mod roots;
mod security_key;
