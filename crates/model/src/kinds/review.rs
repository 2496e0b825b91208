//! Reviews: what a client asks of the server about itself. They are answered and never stored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ObjectMeta;
use crate::info::Kind;
use crate::table::Column;

/// Whether whoever asks may do something: `kubectl auth can-i`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SelfSubjectAccessReview {
    /// Ignored: a review has no name.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The question.
    #[serde(default)]
    pub spec: AccessQuestion,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AccessAnswer>,
}

/// What somebody wants to do; either of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessQuestion {
    /// With an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_attributes: Option<ResourceAttributes>,
    /// With a path that is no object's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub non_resource_attributes: Option<NonResourceAttributes>,
}

/// What somebody wants to do with an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceAttributes {
    /// The namespace; empty for cluster scope, and for all namespaces.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// What to do, such as `get`; `*` is everything.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub verb: String,
    /// The API group; `*` is every one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The version; `*` is every one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The resource, such as `machines`; `*` is every one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// A part of the object, such as `status`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// The object's name; empty for all of them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// What somebody wants to do with a path that is no object's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NonResourceAttributes {
    /// The path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The HTTP method, in lower case.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub verb: String,
}

/// Whether somebody may do it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessAnswer {
    /// Whether a plain request will be let through.
    pub allowed: bool,
    /// Why, and what to do instead.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// All that whoever asks may do: `kubectl auth can-i --list`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SelfSubjectRulesReview {
    /// Ignored: a review has no name.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The question.
    #[serde(default)]
    pub spec: RulesQuestion,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RulesAnswer>,
}

/// Where somebody wants to do something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RulesQuestion {
    /// The namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// All that somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RulesAnswer {
    /// With objects.
    pub resource_rules: Vec<ResourceRule>,
    /// With paths that are no objects'.
    pub non_resource_rules: Vec<NonResourceRule>,
    /// Whether there may be more than is listed.
    pub incomplete: bool,
}

/// What may be done with some resources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceRule {
    /// What may be done.
    pub verbs: Vec<String>,
    /// The groups.
    pub api_groups: Vec<String>,
    /// The resources; a part of an object stands after a slash.
    pub resources: Vec<String>,
    /// Only objects of these names; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
}

/// What may be done with some paths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NonResourceRule {
    /// HTTP methods, in lower case.
    pub verbs: Vec<String>,
    /// The paths; a `*` at the end is whatever follows.
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
}

/// Who asks: `kubectl auth whoami`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SelfSubjectReview {
    /// Ignored: a review has no name.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<SelfSubjectAnswer>,
}

/// Who it is that asks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SelfSubjectAnswer {
    /// The caller.
    pub user_info: UserInfo,
}

/// A caller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UserInfo {
    /// The fingerprint of the caller's key.
    pub username: String,
    /// The same: a key is a name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Roles of the trust root that the key has, each after `stead.dev:role:`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The whole public key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Kind for SelfSubjectAccessReview {
    const GROUP: &'static str = "authorization.k8s.io";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "SelfSubjectAccessReview";
    const PLURAL: &'static str = "selfsubjectaccessreviews";
    const SINGULAR: &'static str = "selfsubjectaccessreview";
    const HAS_STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[];
}

impl Kind for SelfSubjectRulesReview {
    const GROUP: &'static str = "authorization.k8s.io";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "SelfSubjectRulesReview";
    const PLURAL: &'static str = "selfsubjectrulesreviews";
    const SINGULAR: &'static str = "selfsubjectrulesreview";
    const HAS_STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[];
}

impl Kind for SelfSubjectReview {
    const GROUP: &'static str = "authentication.k8s.io";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "SelfSubjectReview";
    const PLURAL: &'static str = "selfsubjectreviews";
    const SINGULAR: &'static str = "selfsubjectreview";
    const HAS_STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[];
}
