//! The API against its real clients, over a real port.

mod fixture;
mod kubectl;
mod limits;
mod login;
mod paging;
mod python;
mod requests;
mod rust_client;
mod watches;
