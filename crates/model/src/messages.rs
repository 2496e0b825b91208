//! What machines and coordinator say to each other beyond objects: the bodies that the wire carries without looking at them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{EnrolmentEvidence, Facts, Object, ObjectKey, Vitals};

/// Something that happened on a machine, as its outbox keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineEvent {
    /// When, by the machine's clock.
    pub time: Timestamp,
    /// Whether it is a warning.
    pub warning: bool,
    /// One word in CamelCase.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// The object it is about beside the machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectKey>,
}

/// An item of a machine's outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OutboxBody {
    /// How the machine was while nobody could hear it.
    Vitals {
        /// What was measured.
        vitals: Vitals,
    },
    /// Something that happened.
    Event(MachineEvent),
}

/// What a machine that asks to join says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JoinFacts {
    /// Hardware, operating system, addresses.
    pub facts: Facts,
}

/// A request to join under a delegation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelegatedJoin {
    /// The name that the machine is to have.
    pub name: String,
    /// The delegation, and the machine's request under it.
    pub evidence: EnrolmentEvidence,
}

/// Asks a machine what it would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanRequest {
    /// The Profiles as they would be.
    pub put: Vec<Object>,
    /// The names of Profiles that would go.
    pub delete: Vec<String>,
    /// The caller's signed request (canonical JSON), which commits to the digest of the above.
    pub document: String,
    /// The signatures over it (SSHSIG).
    pub signatures: Vec<String>,
}

/// What one machine would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MachinePlan {
    /// Why there is no plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Units with something to do, in order.
    pub units: Vec<PlannedUnit>,
}

/// What would be done about one unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlannedUnit {
    /// The unit, such as `file:/etc/motd`.
    pub unit: String,
    /// Whether it would be taken away.
    pub removal: bool,
    /// The steps in words.
    pub steps: Vec<String>,
    /// Why it would not work, or why it would be left.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}
