//! Who may write a kind.

use stead_model::{GroupKind, registry};
use stead_trust::Root;

/// Whether objects of a kind move by signed Changes, whoever may sign them: neither what stands outside Changes, nor what only the
/// coordinator writes.
pub fn is_signed(kind: &GroupKind) -> bool {
    let outside = matches!((kind.group(), kind.kind()), ("coordination.k8s.io", "Lease") | ("", "Event"));
    !outside && registry().by_group_kind(kind).is_some_and(|info| !info.read_only && info.kind != "TrustRoot")
}

/// Who may write a kind under a trust root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// This coordinator signs what it is asked to write.
    Online,
    /// Owners must sign: any of these roles.
    Owner {
        /// The roles' names.
        roles: Vec<String>,
    },
    /// It stands outside Changes: Lease, Event.
    Unsigned,
    /// Nobody but the coordinator itself.
    ReadOnly,
    /// A version of the trust root, which carries its own signatures.
    Root,
}

impl Rule {
    /// The rule of a kind.
    pub fn of(root: &Root, kind: &GroupKind) -> Self {
        match (kind.group(), kind.kind()) {
            ("coordination.k8s.io", "Lease") | ("", "Event") => return Self::Unsigned,
            (stead_model::GROUP, "TrustRoot") => return Self::Root,
            _ => {}
        }
        if registry().by_group_kind(kind).is_some_and(|info| info.read_only) {
            return Self::ReadOnly;
        }
        if root.is_left_to_online_keys(kind) {
            return Self::Online;
        }
        let roles = root.roles.iter().filter(|role| role.kinds.contains(kind)).map(|role| role.name.clone());
        Self::Owner { roles: roles.collect() }
    }
}
