//! Change: how desired state moved; the audit trail.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::field::SelectableField;
use crate::info::Kind;
use crate::table::{Column, ColumnFormat};
use crate::{Digest, ObjectMeta};

/// An atomic, ordered, signed set of puts and deletes. Changes are kept for ever and never altered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Name, labels and the rest of what every object has. The name is the Change's id.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What was signed.
    pub spec: ChangeSpec,
    /// What the coordinator added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ChangeStatus>,
}

/// What the authors of a Change signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeSpec {
    /// Why, in the author's words.
    #[serde(default)]
    pub message: String,
    /// The key that wrote it: an owner's, or a coordinator's online key.
    pub author: String,
    /// Where an online key wrote it: for whom.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub requested_by: String,
    /// The keys whose signatures it carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
    /// When, by the author's clock.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// The digest of the signed statement.
    pub statement: Digest,
    /// What it changes.
    pub entries: Vec<ChangeEntry>,
}

/// One object that a Change changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeEntry {
    /// The object, such as `Profile/web`.
    pub object: String,
    /// `put` or `delete`.
    pub operation: String,
    /// The sequence of the object's name that this change is.
    pub sequence: u64,
}

/// What the coordinator that admitted a Change added to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeStatus {
    /// The revision it was given.
    pub revision: u64,
    /// When it was admitted, by the receipt.
    #[schemars(with = "String")]
    pub admitted: Timestamp,
    /// How many objects of it are missing: the record was restored from a backup, and no machine has given them back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
}

impl Kind for Change {
    const GROUP: &'static str = crate::GROUP;
    const VERSION: &'static str = crate::VERSION;
    const KIND: &'static str = "Change";
    const PLURAL: &'static str = "changes";
    const SINGULAR: &'static str = "change";
    const SHORT_NAMES: &'static [&'static str] = &["chg"];
    const CATEGORIES: &'static [&'static str] = &["stead"];
    const READ_ONLY: bool = true;
    const SELECTABLE: &'static [SelectableField] =
        &[SelectableField::at("spec.author", "/spec/author"), SelectableField::at("spec.requestedBy", "/spec/requestedBy")];
    const COLUMNS: &'static [Column] = &[
        Column {
            name: "Revision",
            pointer: "/status/revision",
            format: ColumnFormat::Integer,
            description: "The revision it was given.",
            priority: 0,
        },
        Column {
            name: "Objects",
            pointer: "/spec/entries",
            format: ColumnFormat::Count,
            description: "How many objects it changes.",
            priority: 0,
        },
        Column {
            name: "Message",
            pointer: "/spec/message",
            format: ColumnFormat::Text,
            description: "Why, in the author's words.",
            priority: 0,
        },
        Column {
            name: "Author",
            pointer: "/spec/author",
            format: ColumnFormat::Text,
            description: "The key that wrote it.",
            priority: 1,
        },
    ];
}
