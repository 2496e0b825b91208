//! Namespace: a tenant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ObjectMeta;
use crate::field::SelectableField;
use crate::info::Kind;
use crate::table::{Column, ColumnFormat};

/// A tenant: what it runs lives in its namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Namespace {
    /// Name, labels and the rest of what every object has.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Kept for Kubernetes clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<NamespaceSpec>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<NamespaceStatus>,
}

/// Kept for Kubernetes clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceSpec {
    /// Those who must agree before the namespace goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub finalizers: Vec<String>,
}

/// How far a namespace is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceStatus {
    /// `Active` or `Terminating`.
    pub phase: String,
}

impl Kind for Namespace {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Namespace";
    const PLURAL: &'static str = "namespaces";
    const SINGULAR: &'static str = "namespace";
    const SHORT_NAMES: &'static [&'static str] = &["ns"];
    const SELECTABLE: &'static [SelectableField] = &[SelectableField::at("status.phase", "/status/phase")];
    const COLUMNS: &'static [Column] = &[Column {
        name: "Status",
        pointer: "/status/phase",
        format: ColumnFormat::Text,
        description: "Active or Terminating.",
        priority: 0,
    }];
}
