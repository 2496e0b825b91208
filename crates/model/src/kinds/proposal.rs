//! Proposal: a Change that waits for more signatures than its author has.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ObjectMeta;
use crate::info::Kind;
use crate::table::{Column, ColumnFormat};

/// A Change that waits for signatures. It stands outside Changes and is not signed itself: what is in it is only as good as the
/// signatures over its statement. It is made, signed and withdrawn with `stead propose`, `stead sign` and `stead withdraw`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// Name, labels and the rest of what every object has. The name is the id of the Change that it would be.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is proposed.
    pub spec: ProposalSpec,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ProposalStatus>,
}

/// What is proposed, and who has signed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProposalSpec {
    /// Why, in the author's words, out of the statement.
    #[serde(default)]
    pub message: String,
    /// The author's key, out of the statement.
    pub author: String,
    /// The deadline, out of the statement.
    #[schemars(with = "String")]
    pub admit_before: Timestamp,
    /// The statement, canonical JSON: what is signed.
    pub statement: String,
    /// The signatures over it (SSHSIG).
    pub signatures: Vec<String>,
    /// The entries that the statement commits to, in their order; none once it is a Change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<ProposalEntry>,
}

/// One entry of the Change that is proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProposalEntry {
    /// The leaf, canonical JSON.
    pub leaf: String,
    /// The object, canonical JSON; none for a deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// How far a proposal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProposalPhase {
    /// Signatures are missing.
    #[default]
    Waiting,
    /// It is a Change now.
    Admitted,
    /// Its deadline passed.
    Expired,
    /// An object was changed meanwhile: it has to be looked at and signed anew.
    NeedsSigning,
    /// Somebody took it back.
    Withdrawn,
    /// It can never be admitted.
    Refused,
}

/// What became of a proposal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProposalStatus {
    /// How far it is.
    pub phase: ProposalPhase,
    /// Why it is there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The signatures in a few words, such as `owners 1 of 2`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signed: String,
    /// The signatures that it has and needs, by role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<ProposalSignatures>,
    /// The objects that it would change, such as `Profile/web`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    /// The Change that it became.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub change: String,
    /// When it was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub decided: Option<Timestamp>,
}

/// The signatures of one role's keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProposalSignatures {
    /// The role.
    pub role: String,
    /// How many of its keys have signed.
    pub had: u32,
    /// How many must.
    pub needed: u32,
}

impl Kind for Proposal {
    const GROUP: &'static str = crate::GROUP;
    const VERSION: &'static str = crate::VERSION;
    const KIND: &'static str = "Proposal";
    const PLURAL: &'static str = "proposals";
    const SINGULAR: &'static str = "proposal";
    const CATEGORIES: &'static [&'static str] = &["stead"];
    const READ_ONLY: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column {
            name: "Phase",
            pointer: "/status/phase",
            format: ColumnFormat::Text,
            description: "How far it is.",
            priority: 0,
        },
        Column {
            name: "Signed",
            pointer: "/status/signed",
            format: ColumnFormat::Text,
            description: "The signatures that it has and needs.",
            priority: 0,
        },
        Column {
            name: "Objects",
            pointer: "/status/objects",
            format: ColumnFormat::Count,
            description: "How many objects it would change.",
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
            name: "Deadline",
            pointer: "/spec/admitBefore",
            format: ColumnFormat::Text,
            description: "When it expires.",
            priority: 1,
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
