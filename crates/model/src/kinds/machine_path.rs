//! By which way a machine and its coordinator reach each other.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The way between a machine and its coordinator, as one of the two sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachinePath {
    /// How packets go.
    pub kind: PathKind,
    /// The other side's address, or the relay's URL.
    pub remote: String,
    /// The address of this side, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// How long a packet takes there and back, in microseconds.
    pub round_trip_microseconds: u64,
    /// Since when this way is used, by the clock of the side that tells it.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// Every way that was tried, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<PathTried>,
}

/// How packets go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum PathKind {
    /// From one side to the other.
    #[default]
    Direct,
    /// Through a relay.
    Relayed,
}

/// A way that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathTried {
    /// How packets would go.
    pub kind: PathKind,
    /// The address, or the relay's URL.
    pub remote: String,
    /// What came of it.
    pub result: PathResult,
    /// When that was first so.
    #[schemars(with = "String")]
    pub time: Timestamp,
}

/// What came of trying a way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathResult {
    /// Nothing came back by it.
    #[default]
    NoAnswer,
    /// It is the one that is used.
    InUse,
    /// It works, and is kept ready.
    Ready,
    /// It worked, and was closed since.
    Closed,
}

/// What a coordinator knows of the ways to a machine: the answer to `…/machines/NAME/path`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachinePaths {
    /// The machine's name.
    pub machine: String,
    /// Whether it is connected to the coordinator that answers.
    pub connected: bool,
    /// The way as this coordinator sees it; absent where the machine is not connected here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordinator_side: Option<MachinePath>,
    /// The way as the machine last said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_side: Option<MachinePath>,
    /// When the machine was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub last_seen: Option<Timestamp>,
    /// The key of the coordinator that it last spoke to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<String>,
    /// Where that coordinator may be asked, where it is another one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<String>,
}
