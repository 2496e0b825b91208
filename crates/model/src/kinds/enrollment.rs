//! Enrollment: a machine that asks to become a member, and the owners' answer.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ObjectMeta;
use crate::condition::Condition;
use crate::field::SelectableField;
use crate::info::Kind;
use crate::kinds::machine::{Facts, Labels, check_key};
use crate::name::validate_name;
use crate::schema::{Cause, CauseReason};
use crate::table::{Column, ColumnFormat};

/// A machine that asks to join. The request is the coordinator's to record; the answer is the owners' to sign.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Enrollment {
    /// Name, labels and the rest of what every object has.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The owners' answer.
    #[serde(default)]
    pub spec: EnrollmentSpec,
    /// The request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<EnrollmentStatus>,
}

/// The owners' answer to a machine that asks to join.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnrollmentSpec {
    /// The key of the machine that asks: 64 lower-case hexadecimal digits.
    pub key: String,
    /// Whether it may join; absent while nobody has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<bool>,
    /// The name of the Machine that it becomes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// The labels that the Machine is given.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EnrollmentPhase {
    /// Nobody has answered.
    #[default]
    Pending,
    /// An owner let it in.
    Approved,
    /// An owner refused it.
    Denied,
}

/// What the coordinator recorded of the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnrollmentStatus {
    /// How far it is.
    pub phase: EnrollmentPhase,
    /// The host name that the machine gives itself.
    pub hostname: String,
    /// When it first asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub first_seen: Option<Timestamp>,
    /// What it says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// Machines that its hardware looks like: perhaps one of them that was set up anew. A hint, which nobody has proved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub looks_like: Vec<LooksLike>,
    /// `Approved`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A machine that one which asks to join looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LooksLike {
    /// The machine's name.
    pub machine: String,
    /// What they have in common: `serial`, `machine-id` or `mac`.
    pub by: String,
}

impl Enrollment {
    /// The name of the Enrollment of a key: the first 16 of its hexadecimal digits.
    pub fn name_for(key: &str) -> String {
        /// Enough that nobody finds a second key for a name by chance, short enough to type.
        const NAME_DIGITS: usize = 16;
        key.chars().take(NAME_DIGITS).collect()
    }
}

impl Kind for Enrollment {
    const GROUP: &'static str = crate::GROUP;
    const VERSION: &'static str = crate::VERSION;
    const KIND: &'static str = "Enrollment";
    const PLURAL: &'static str = "enrollments";
    const SINGULAR: &'static str = "enrollment";
    const SHORT_NAMES: &'static [&'static str] = &["enr"];
    const CATEGORIES: &'static [&'static str] = &["stead"];
    const SELECTABLE: &'static [SelectableField] = &[
        SelectableField::at("spec.key", "/spec/key"),
        SelectableField::at("spec.approved", "/spec/approved"),
        SelectableField::at("spec.machine", "/spec/machine"),
        SelectableField::at("status.phase", "/status/phase"),
        SelectableField::at("status.hostname", "/status/hostname"),
    ];
    const COLUMNS: &'static [Column] = &[
        Column {
            name: "Phase",
            pointer: "/status/phase",
            format: ColumnFormat::Text,
            description: "Pending, Approved or Denied.",
            priority: 0,
        },
        Column {
            name: "Hostname",
            pointer: "/status/hostname",
            format: ColumnFormat::Text,
            description: "What the machine calls itself.",
            priority: 0,
        },
        Column {
            name: "Machine",
            pointer: "/spec/machine",
            format: ColumnFormat::Text,
            description: "The Machine it became.",
            priority: 0,
        },
        Column { name: "Key", pointer: "/spec/key", format: ColumnFormat::Text, description: "Its public key.", priority: 1 },
    ];

    fn validate(&self) -> Vec<Cause> {
        let mut causes: Vec<Cause> = check_key("spec.key", &self.spec.key).into_iter().collect();
        if self.spec.approved == Some(true)
            && let Err(error) = validate_name(&self.spec.machine)
        {
            causes.push(Cause::new("spec.machine", CauseReason::Invalid, format!("Invalid value: {error}")));
        }
        causes
    }
}
