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
//! through [`stead_admission::Admission`], who manages which field is worked out in `stead-fields`, and reviews (`kubectl auth can-i`)
//! are answered with the admission's rules.
//!
//! # How the pieces interact
//!
//! [`ServingKeys`] opens the port's certificate and the key of tokens in the data directory. An [`Api`] stands on an admission, and
//! on a [`Fleet`] for the two questions that only the running coordinator can answer. A [`Server`] takes connections, holds them to
//! their limits, and hands each request to the API, which admits it (route, token, the client's share), reads its body, and answers.
//! A watch is a place in the store's ring of events: a client that falls out of the ring is told the rest out of the database's history,
//! or 410 where that has forgotten it, and never skips; what many watch is written once and shared. A page of a list is made on the spot; a larger list, and a selection that no index answers, is made part by
//! part beside those who serve the others, and clients take turns at that, however much each asks for.

mod access;
mod api;
mod body;
mod counters;
mod discovery;
mod documents;
mod field_manager;
mod fields;
#[cfg(test)]
mod fuzz;
mod gate;
mod instant;
mod lanes;
mod limits;
mod lines;
mod meaning;
mod media;
mod metrics;
mod nonce;
mod openapi;
mod ownership;
mod page_token;
mod patch;
mod path;
mod protobuf;
mod query;
mod recent;
mod render;
mod request_id;
mod resource;
mod response;
mod row;
mod serve;
mod server;
mod shape;
mod sparse;
mod stall;
mod status;
mod table;
mod tls;
mod token;
mod turns;
pub mod warning;

pub use api::{Api, Fleet};
pub use counters::CountersSnapshot;
pub use limits::{
    ANONYMOUS_BODY_BYTES_MAX, BODY_BYTES_MAX, BODY_SECONDS_MAX, BOOKMARK_SECONDS, CONNECTIONS_MAX, HANDSHAKE_SECONDS_MAX,
    HEADER_BYTES_MAX, HEADER_LINES_MAX, HEADER_SECONDS_MAX, JSON_DEPTH_MAX, JSON_MEMBERS_MAX, LARGE_SUBMISSIONS_MAX,
    LIST_SECONDS_MAX, LISTS_PER_CLIENT_MAX, LOOK_BACKS_PER_CLIENT_MAX, Limits, PAGE_CHANGES_MAX, PART_BYTES_MAX,
    PART_OBJECTS_MAX, PARTS_AT_ONCE_MAX, PATCH_OPERATIONS_MAX, QUERY_PARAMETERS_MAX, READS_PER_CLIENT_MAX,
    REVISION_WAIT_SECONDS_MAX, SCANNED_CHANGES_MAX, SELECTOR_BYTES_MAX, SELECTOR_TERMS_MAX, SUBMISSION_BYTES_MAX, URI_BYTES_MAX,
    WATCH_SECONDS_MAX, WATCHES_PER_CLIENT_MAX, WRITE_STALL_SECONDS_MAX, WRITES_PER_CLIENT_MAX,
};
pub use meaning::{Meaning, Refusal, Verb};
pub use metrics::{ApiMetrics, ClassLabels, RequestLabels};
pub use server::{BindError, Server};
pub use tls::{KeysError, ServingKeys};
pub use token::TOKEN_SECONDS;
