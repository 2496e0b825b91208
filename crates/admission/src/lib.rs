//! How desired state enters the record: the verdict of `trust`, the next sequence of each name, a receipt, one transaction.
//!
//! # Goals
//!
//! - Every write of a person or a client goes through [`Admission`], whatever door it came in by.
//! - A Change is admitted whole or not at all. What owners must sign is refused where they did not, with the command that would.
//! - What the trust root leaves to the online keys is signed here, in the coordinator's own name, saying who asked for it.
//!
//! # Non-goals
//!
//! No HTTP, no knowledge of what a kind means, no decision about machines.
//!
//! # How the pieces interact
//!
//! [`Admission::submit`] takes a Change that owners signed; [`Admission::write`] takes plain writes and sorts them with [`Rule`]:
//! those outside Changes are committed as they are, those left to the online keys become a Change that this coordinator signs.
//! Both end in one [`stead_store::Transaction`], whose receipt is signed when its revision is known. [`bundle_rows`] turns what the
//! record kept back into what a machine can check.

mod admission;
mod change_object;
mod counted;
mod encoding;
mod environment;
mod error;
mod freshness;
mod inbox;
mod machines;
mod metrics;
mod precondition;
mod proposal;
mod proposals;
mod recovery;
mod root_object;
mod rule;
mod signed_fields;

pub use admission::{Admission, Caller, OpenError, Submitted, Write};
pub use change_object::change_object;
pub use encoding::{MalformedRecord, bundle_of_change, bundle_rows, decode_signatures};
pub use environment::{Environment, RandomSource};
pub use error::WriteError;
pub use freshness::{FRESHNESS_ANNOTATION, FRESHNESS_LEASE, FreshnessRefused, SYSTEM_NAMESPACE, newest_freshness};
pub use machines::RECOMMISSION_ANNOTATION;
pub use metrics::{AdmissionMetrics, RefusalLabels, SignerLabels};
pub use precondition::{PRECONDITIONS_MAX, Precondition};
pub use proposal::{PROPOSAL_BYTES_MAX, PROPOSALS_DECIDED_DAYS_MAX, PROPOSALS_DECIDED_MAX, PROPOSALS_WAITING_MAX, ProposalError};
pub use recovery::{Clash, Recovery, RecoveryError};
pub use root_object::root_object;
pub use rule::{Rule, is_signed};
