//! The HTTP API of a coordinator: Kubernetes' conventions over the kinds of `stead-model`.
//!
//! # Goals
//!
//! - `kubectl`, `kube`, Python's `kubernetes` and what else speaks to a Kubernetes API server work with it as they are.
//! - Everything that is served (discovery, OpenAPI, tables) is made from the registry of kinds: there is no second list of them.
//! - Every limit of the port is a named constant ([`Limits`]); what goes past one is refused and counted ([`CountersSnapshot`]).
//!
//! # Non-goals
//!
//! No SQL, no decision about machines, no rule about who may write what: reads come from the store's view, and every write goes
//! through [`stead_admission::Admission`]. Server-side apply, watches of Changes and access control beyond "owners of the trust root"
//! are not here yet.
//!
//! # How the pieces interact
//!
//! [`ServingKeys`] opens the port's certificate and the key of tokens in the data directory. An [`Api`] stands on an admission, and
//! on a [`Fleet`] for the two questions that only the running coordinator can answer. A [`Server`] takes connections, holds them to
//! their limits, and hands each request to the API, which admits it (route, token, the client's share), reads its body, and answers.
//! A watch is a place in the store's ring of events: a client that falls out of the ring is told 410 and never skips.

mod api;
mod body;
mod counters;
mod discovery;
mod documents;
mod fields;
#[cfg(test)]
mod fuzz;
mod gate;
mod instant;
mod limits;
mod meaning;
mod media;
mod nonce;
mod openapi;
mod page_token;
mod patch;
mod path;
mod protobuf;
mod query;
mod render;
mod resource;
mod response;
mod serve;
mod server;
mod sparse;
mod stall;
mod status;
mod table;
mod tls;
mod token;

pub use api::{Api, Fleet};
pub use counters::CountersSnapshot;
pub use limits::{
    ANONYMOUS_BODY_BYTES_MAX, BODY_BYTES_MAX, BODY_SECONDS_MAX, BOOKMARK_SECONDS, CONNECTIONS_MAX, HANDSHAKE_SECONDS_MAX,
    HEADER_BYTES_MAX, HEADER_LINES_MAX, HEADER_SECONDS_MAX, LARGE_SUBMISSIONS_MAX, Limits, READS_PER_CLIENT_MAX,
    SUBMISSION_BYTES_MAX, URI_BYTES_MAX, WATCH_SECONDS_MAX, WATCHES_PER_CLIENT_MAX, WRITE_STALL_SECONDS_MAX,
    WRITES_PER_CLIENT_MAX,
};
pub use meaning::{Meaning, Refusal, Verb};
pub use server::{BindError, Server};
pub use tls::{KeysError, ServingKeys};
pub use token::{TOKEN_SECONDS, TokenKey};
