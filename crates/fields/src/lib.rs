//! Who manages which field of an object: sets of fields, and server-side apply as a pure function.
//!
//! # Goals
//!
//! - What Kubernetes' clients expect of `metadata.managedFields`, in its words: [`apply`] with conflicts and `force`, ownership by
//!   difference for every other write ([`after_update`]), and what owners sign counted as theirs ([`after_signed`]).
//! - How a kind merges follows from its schema (`x-kubernetes-list-type` and its like in `stead-model`): there is no second list.
//! - Sets of fields come from clients too: they are read strictly and within named bounds.
//!
//! # Non-goals
//!
//! No input or output, no clock, no store. Each kind is served in one version, so that fields are never translated between versions.
//!
//! # How the pieces interact
//!
//! A [`Kind`] has the shape of its objects. A [`Writer`] says who writes, through what, and when. The functions take the object on
//! record ([`Live`]) and what comes in, and give back the entries to keep, and for [`apply`] the object as well; whoever calls them
//! checks the object against its kind and writes both together.
//!
//! ```
//! use serde_json::json;
//! use stead_fields::{ApplyError, Kind, Live, Part, Writer, apply};
//! use stead_model::registry;
//!
//! let kind = Kind::of(registry().by_word("lease").ok_or("no such kind")?);
//! let writer = |manager| Writer {
//!     manager,
//!     api_version: "coordination.k8s.io/v1",
//!     part: Part::Object { has_status: false },
//!     now: jiff::Timestamp::UNIX_EPOCH,
//! };
//! let lease = |holder: &str| json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": holder}});
//! let first = apply(&kind, None, &lease("a"), false, &writer("a"))?;
//! let live = Live { object: &first.object, entries: &first.entries };
//! let refused = apply(&kind, Some(&live), &lease("b"), false, &writer("b"));
//! assert!(matches!(refused, Err(ApplyError::Conflicts { .. })));
//! assert!(apply(&kind, Some(&live), &lease("b"), true, &writer("b")).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
mod codec;
mod last_applied;
mod managers;
mod merge;
mod part;
mod path;
mod set;
mod shape;
mod update;
mod walk;

use jiff::Timestamp;
use stead_model::KindInfo;

pub use apply::{Applied, ApplyError, Conflict, after_signed, apply};
pub use part::Part;
pub use update::{Live, after_update};

use crate::shape::Shape;

/// A kind, as far as the merging of its objects goes.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    shape: &'static Shape,
    has_status: bool,
}

impl Kind {
    /// Of a kind that is served.
    pub fn of(info: &KindInfo) -> Self {
        Self { shape: Shape::of(info), has_status: info.has_status }
    }
}

/// Who writes, through what, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The client: its `fieldManager`, or what its user agent starts with.
    pub manager: &'a str,
    /// The version of the kind that it writes in.
    pub api_version: &'a str,
    /// Which part of the object.
    pub part: Part,
    /// The present moment.
    pub now: Timestamp,
}
