//! TrustRoot: one version of the fleet's trust root.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::info::Kind;
use crate::table::{Column, ColumnFormat};
use crate::{Digest, ObjectMeta};

/// A version of the trust root: which keys may say what. It carries its own signatures; `stead trust` makes and checks it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrustRoot {
    /// Name, labels and the rest of what every object has. The name is `v` and the version.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The signed document.
    pub spec: TrustRootSpec,
    /// What the coordinator read in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TrustRootStatus>,
}

/// The signed document of a version of the trust root.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustRootSpec {
    /// The document, canonical JSON.
    pub document: String,
    /// Signatures of the version before and of its own (SSHSIG).
    pub signatures: Vec<String>,
}

/// What a version of the trust root says, for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrustRootStatus {
    /// The version.
    pub version: u64,
    /// The document's digest; that of version 1 is the fleet's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The keys it names.
    pub keys: u64,
    /// The roles it names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

impl Kind for TrustRoot {
    const GROUP: &'static str = crate::GROUP;
    const VERSION: &'static str = crate::VERSION;
    const KIND: &'static str = "TrustRoot";
    const PLURAL: &'static str = "trustroots";
    const SINGULAR: &'static str = "trustroot";
    const SHORT_NAMES: &'static [&'static str] = &["tr"];
    const CATEGORIES: &'static [&'static str] = &["stead"];
    const COLUMNS: &'static [Column] = &[
        Column {
            name: "Version",
            pointer: "/status/version",
            format: ColumnFormat::Integer,
            description: "The version.",
            priority: 0,
        },
        Column {
            name: "Keys",
            pointer: "/status/keys",
            format: ColumnFormat::Integer,
            description: "How many keys it names.",
            priority: 0,
        },
        Column {
            name: "Digest",
            pointer: "/status/digest",
            format: ColumnFormat::Text,
            description: "The document's digest.",
            priority: 1,
        },
    ];
}
