//! Lease: who holds something at the moment, for leader election.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ObjectMeta;
use crate::field::SelectableField;
use crate::info::Kind;
use crate::table::{Column, ColumnFormat};

/// Who holds something at the moment. Leases are written outside Changes, unsigned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// Name, labels and the rest of what every object has.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Who holds it, and until when.
    #[serde(default)]
    pub spec: LeaseSpec,
}

/// Who holds a lease, and until when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseSpec {
    /// Who holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder_identity: Option<String>,
    /// For how many seconds after `renewTime`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_duration_seconds: Option<i64>,
    /// When the holder took it, to the microsecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acquire_time: Option<String>,
    /// When the holder last renewed it, to the microsecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_time: Option<String>,
    /// How often it changed hands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_transitions: Option<i64>,
    /// How the next holder is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// Who should take it next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_holder: Option<String>,
}

impl Kind for Lease {
    const GROUP: &'static str = "coordination.k8s.io";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Lease";
    const PLURAL: &'static str = "leases";
    const SINGULAR: &'static str = "lease";
    const NAMESPACED: bool = true;
    const HAS_STATUS: bool = false;
    const SELECTABLE: &'static [SelectableField] = &[SelectableField::at("spec.holderIdentity", "/spec/holderIdentity")];
    const COLUMNS: &'static [Column] = &[Column {
        name: "Holder",
        pointer: "/spec/holderIdentity",
        format: ColumnFormat::Text,
        description: "Who holds it.",
        priority: 0,
    }];
}
