//! What a fleet is made of: the kinds, their names and labels, how they are checked, and how they become bytes.
//!
//! # Goals
//!
//! - One Rust definition of a kind gives its JSON schema, its OpenAPI document, its table columns and its documentation
//!   ([`Kind`], [`KindInfo`], [`registry`]).
//! - Parse at the edge: [`KindInfo::parse`] turns JSON into an [`Object`] that cannot be wrong, or says which field is.
//! - One canonical form of bytes (RFC 8785) for everything that is signed or compared ([`canonical`], [`Digest`]).
//!
//! # Non-goals
//!
//! No input or output, no clock, no async, nothing about machines beyond what their objects say.
//!
//! # How the pieces interact
//!
//! An [`Object`] is the shape every kind shares (`apiVersion`, `kind`, `metadata`, the rest). A typed kind such as
//! [`Machine`] is read from it with [`Object::to_typed`] and written to it with [`Object::from_typed`]. An [`ObjectKey`]
//! names an object for ever; a [`Selector`] picks objects by their labels.
//!
//! ```
//! use stead_model::{registry, GroupKind};
//!
//! let profile = registry().by_group_kind(&GroupKind::new("stead.dev", "Profile")).ok_or("no such kind")?;
//! let error = profile
//!     .parse(serde_json::json!({
//!         "apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "web"},
//!         "spec": {"selector": {}, "filez": []}
//!     }))
//!     .err()
//!     .ok_or("it was accepted")?;
//! assert_eq!(error.causes()[0].path, "spec.filez");
//! # Ok::<(), &'static str>(())
//! ```

pub mod canonical;
mod condition;
mod digest;
mod duration;
mod field;
mod human_bytes;
mod info;
mod key;
mod kinds;
mod managed_fields;
mod messages;
mod meta;
mod name;
mod object;
mod schema;
mod selector;
mod table;

pub use condition::{Condition, ConditionStatus, set_condition};
pub use digest::{Digest, DigestError};
pub use duration::{Age, age};
pub use field::SelectableField;
pub use human_bytes::human_bytes;
pub use info::{Kind, KindInfo, META_MAP_BYTES_MAX, ParseError, Registry, registry, reviews};
pub use key::{Generation, GroupKind, ObjectKey, Revision};
pub use kinds::change::{Change, ChangeEntry, ChangeSpec, ChangeStatus};
pub use kinds::enrollment::{Enrollment, EnrollmentPhase, EnrollmentSpec, EnrollmentStatus};
pub use kinds::event::{Event, EventSeries, EventSource, ObjectReference};
pub use kinds::lease::{Lease, LeaseSpec};
pub use kinds::machine::{
    Acknowledgement, Disk, EnrolmentEvidence, Facts, GivenBack, Machine, MachineSpec, MachineStatus, NetworkInterface,
    NotGivenBack, UnitState, UnitStatus, Vitals,
};
pub use kinds::namespace::{Namespace, NamespaceSpec, NamespaceStatus};
pub use kinds::profile::{
    COMMAND_TIMEOUT_SECONDS_DEFAULT, COMMAND_TIMEOUT_SECONDS_MAX, Command, Directory, FILE_CONTENT_BYTES_MAX, File, Link,
    PROFILE_ENTRIES_MAX, Profile, ProfileConflict, ProfileSpec, ProfileStatus,
};
pub use kinds::proposal::{Proposal, ProposalEntry, ProposalPhase, ProposalSignatures, ProposalSpec, ProposalStatus};
pub use kinds::review::{
    AccessAnswer, AccessQuestion, NonResourceAttributes, NonResourceRule, ResourceAttributes, ResourceRule, RulesAnswer,
    RulesQuestion, SelfSubjectAccessReview, SelfSubjectAnswer, SelfSubjectReview, SelfSubjectRulesReview, UserInfo,
};
pub use kinds::trust_root::{TrustRoot, TrustRootSpec, TrustRootStatus};
pub use managed_fields::{FieldsV1, ManagedFields};
pub use messages::{DelegatedJoin, JoinFacts, MachineEvent, MachinePlan, OutboxBody, PlanRequest, PlannedUnit};
pub use meta::{ObjectMeta, OwnerReference};
pub use name::{LABEL_BYTES_MAX, NAME_BYTES_MAX, NameError, validate_label_key, validate_label_value, validate_name};
pub use object::{Object, ObjectError};
pub use schema::{Cause, CauseReason, check_schema};
pub use selector::{FieldSelector, LabelRequirement, Operator, Selector, SelectorError};
pub use table::{Column, ColumnFormat};

/// The API group of Stead's own kinds.
pub const GROUP: &str = "stead.dev";
/// The version of Stead's own kinds that is served.
pub const VERSION: &str = "v1";
/// `apiVersion` of Stead's own kinds.
pub const API_VERSION: &str = "stead.dev/v1";
/// Labels under this prefix are made of facts by machines, and count for selectors only where the trust root says so.
pub const FACT_LABEL_PREFIX: &str = "facts.stead.dev/";
/// Annotations under this prefix are part of what is signed.
pub const SIGNED_ANNOTATION_PREFIX: &str = "stead.dev/";
