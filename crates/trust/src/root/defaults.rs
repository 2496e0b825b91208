//! The root that `stead trust init` makes when nobody says otherwise.

use jiff::Timestamp;

use super::{ExpiryPolicy, KeySet, Online, Role, Root, kind_named};
use crate::document::whole_seconds;
use crate::key::PublicKey;

/// What the fleet is made of: written by owners.
const OWNERS_KINDS: [&str; 10] = [
    "Machine.stead.dev",
    "Profile.stead.dev",
    "Enrollment.stead.dev",
    "TrustRoot.stead.dev",
    "Rollout.stead.dev",
    "Task.stead.dev",
    "BootImage.stead.dev",
    "StoragePool.stead.dev",
    "ClusterRole.rbac.authorization.k8s.io",
    "ClusterRoleBinding.rbac.authorization.k8s.io",
];

/// What tenants run, and what keeps them apart: left to the online keys.
const TENANTS_KINDS: [&str; 12] = [
    "Namespace",
    "Secret",
    "ResourceQuota",
    "Role.rbac.authorization.k8s.io",
    "RoleBinding.rbac.authorization.k8s.io",
    "Instance.stead.dev",
    "Volume.stead.dev",
    "Image.stead.dev",
    "Snapshot.stead.dev",
    "Network.stead.dev",
    "Feed.stead.dev",
    "Subscription.stead.dev",
];

/// How long a Change may wait for admission by default: a week covers a coordinator that is away over the holidays.
const ADMIT_WITHIN_SECONDS: u64 = 7 * 24 * 60 * 60;

impl Root {
    /// Version 1 for some owners, any one of whom may sign everything that is not left to the online keys.
    pub fn default_for(owners: Vec<PublicKey>, online: Vec<PublicKey>, now: Timestamp) -> Self {
        let kinds = |names: &[&str]| names.iter().map(|name| kind_named(name)).collect();
        Self {
            fleet: None,
            time: whole_seconds(now),
            version: 1,
            previous: None,
            owners: KeySet { keys: owners.clone(), threshold: 1 },
            roles: vec![Role {
                name: "owners".to_owned(),
                keys: owners,
                threshold: 1,
                kinds: OWNERS_KINDS.iter().chain(&TENANTS_KINDS).map(|name| kind_named(name)).collect(),
                namespaces: vec!["*".to_owned()],
                name_prefix: None,
                machine_selector: None,
                fact_labels: false,
            }],
            online: Online { keys: online, kinds: kinds(&TENANTS_KINDS) },
            expiry: ExpiryPolicy { admit_within_seconds: ADMIT_WITHIN_SECONDS, freshness_days: None },
            require_user_presence: true,
            resets_clock: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;
    use crate::key::MachineKey;

    #[test]
    fn owners_keep_what_the_fleet_is_made_of() {
        let (owner, online) = (MachineKey::from_bytes([1; 32]).to_public_key(), MachineKey::from_bytes([2; 32]).to_public_key());
        let root = Root::default_for(vec![owner.clone()], vec![online.clone()], "2026-11-20T12:00:00.9Z".parse().unwrap());
        assert_eq!(document::read::<Root>(&root.to_document().unwrap()).unwrap(), root);
        for (kind, left) in
            [("Machine.stead.dev", false), ("Profile.stead.dev", false), ("Namespace", true), ("Instance.stead.dev", true)]
        {
            assert_eq!(root.is_left_to_online_keys(&kind_named(kind)), left, "{kind}");
            assert!(root.roles[0].kinds.contains(&kind_named(kind)), "owners may sign {kind}");
        }
        // These stand outside Changes, so no role is about them.
        for kind in ["Lease.coordination.k8s.io", "Event"] {
            assert!(
                !root.roles[0].kinds.contains(&kind_named(kind)) && !root.is_left_to_online_keys(&kind_named(kind)),
                "{kind}"
            );
        }
        assert!(root.is_persons_key(&owner) && !root.is_persons_key(&online) && root.is_online_key(&online));
    }
}
