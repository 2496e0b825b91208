//! Machine: a member of the fleet, known by its key.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::field::SelectableField;
use crate::info::Kind;
use crate::schema::{Cause, CauseReason};
use crate::table::{Column, ColumnFormat};
use crate::{Digest, ObjectMeta};

/// A machine of the fleet. It is its ed25519 key; its name and labels are what its owners call it by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Name, labels and the rest of what every object has.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What the owners say of it.
    pub spec: MachineSpec,
    /// What the machine says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<MachineStatus>,
}

/// What the owners say of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineSpec {
    /// The machine's ed25519 public key: 64 lower-case hexadecimal digits.
    pub key: String,
    /// After how many seconds without a word the machine is marked silent, 15 at least (default 30).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 15, max = 86400))]
    pub silent_after_seconds: Option<u32>,
    /// What let the machine in without a person: an owner's delegation, and the machine's own request under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<EnrolmentEvidence>,
}

/// An owner's delegation and the machine's request under it, as they were signed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnrolmentEvidence {
    /// The delegation document, canonical JSON.
    pub delegation: String,
    /// The owners' signatures over it (SSHSIG).
    pub delegation_signatures: Vec<String>,
    /// The machine's enrolment request, canonical JSON.
    pub request: String,
    /// The machine's signature over it (SSHSIG).
    pub request_signature: String,
}

impl MachineSpec {
    /// The default of `silentAfterSeconds`: three beats of ten seconds.
    pub const SILENT_AFTER_SECONDS_DEFAULT: u32 = 30;

    /// After how many seconds without a word the machine is marked silent.
    pub fn silent_after_seconds(&self) -> u32 {
        self.silent_after_seconds.unwrap_or(Self::SILENT_AFTER_SECONDS_DEFAULT)
    }
}

/// What a machine says of itself, and what the coordinator saw of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineStatus {
    /// `Ready` (it speaks), `Converged` (it is as it was told), `Conflict`, `DuplicateKey`, `Refused` (it was sent something it may not obey),
    /// `Stale` (it has not heard of its owners for longer than they said), `OutboxFull` (what happens on it finds no room to wait for the
    /// coordinator). The reason of `Ready` tells `Heard`, `Slow` (it speaks later than it should) and `Silent` apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The key of the coordinator that it last spoke to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<String>,
    /// When the coordinator last heard from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub last_seen: Option<Timestamp>,
    /// Hardware, operating system, addresses: what rarely changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// Load, memory, disk space: what always changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vitals: Option<Vitals>,
    /// How it was while nobody could hear it, oldest first: samples that it kept, as many as tell the whole time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vitals_history: Vec<Vitals>,
    /// The state of each thing it looks after.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<UnitStatus>,
    /// Its newest signed word on each object it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acknowledgements: Vec<Acknowledgement>,
    /// The revision of the record up to which it has what is meant for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The sequence of its last event that the coordinator took: each is taken once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_taken: Option<u64>,
    /// What it gave back to a record that was restored and knew less than it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_back: Option<GivenBack>,
}

/// What a machine gave back to a record that knew less than it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GivenBack {
    /// The record that it was given back to, by its incarnation: a record that is restored again asks again.
    pub record: String,
    /// When it had given back all that it holds, or was last asked for it.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// Why it has not given back all of it yet; none where it has. What has come until then is counted and listed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
    /// How many signed statements, or parts of them, it gave.
    pub statements: u64,
    /// How many objects, deletions included, the record took in from them.
    pub objects: u64,
    /// What the record did not take in, or what has to be signed again because of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_taken: Vec<NotGivenBack>,
    /// How many more there were than are listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: u64,
}

impl GivenBack {
    /// Whether all that the machine holds has been given back to a record.
    pub fn is_whole(&self, record: &str) -> bool {
        self.record == record && self.unfinished.is_none()
    }
}

/// Something that a machine gave back and that owners have to look at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NotGivenBack {
    /// The object, such as `Profile/web`; empty where it is about a whole statement.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// The id of the Change that the machine holds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub change: String,
    /// The sequence of the object that the machine holds: what is signed with a higher one settles it. None where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// `Conflict` (signed anew meanwhile, with the same number), `Overtaken` (signed anew meanwhile, with a lower one), or the check that
    /// failed.
    pub reason: String,
    /// What was wrong, and what to do.
    pub message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a machine is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Facts {
    /// Its host name.
    pub hostname: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The operating system's name and version, such as `Debian GNU/Linux 12`.
    pub os: String,
    /// The kernel's release.
    pub kernel: String,
    /// The architecture, such as `x86_64`.
    pub architecture: String,
    /// The hardware's maker and model, where the firmware says.
    pub hardware: String,
    /// The processor's name.
    pub cpu: String,
    /// Logical processors.
    pub cpu_count: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Block devices.
    pub disks: Vec<Disk>,
    /// Network interfaces.
    pub interfaces: Vec<NetworkInterface>,
    /// The version of the agent that runs.
    pub agent_version: String,
    /// The digest of the agent's binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_digest: Option<Digest>,
}

/// A block device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Disk {
    /// Its name, such as `vda`.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its model, where it says.
    pub model: String,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkInterface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<String>,
}

/// How a machine is doing. Numbers are whole, so that status has a canonical form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Vitals {
    /// When this was measured, by the machine's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub measured_at: Option<Timestamp>,
    /// Load average of one minute, times 100.
    pub load_percent: u64,
    /// Bytes of memory that are free for use.
    pub memory_available_bytes: u64,
    /// Bytes of memory.
    pub memory_total_bytes: u64,
    /// Bytes free where the machine keeps its state.
    pub disk_available_bytes: u64,
    /// Bytes of that disk.
    pub disk_total_bytes: u64,
    /// The hottest sensor in thousandths of a degree Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_millicelsius: Option<i64>,
    /// Seconds since the machine booted.
    pub uptime_seconds: u64,
    /// By how many milliseconds the machine's clock is ahead of the coordinator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_offset_milliseconds: Option<i64>,
    /// Packages with a newer version at hand; absent where nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updates_pending: Option<u32>,
}

/// The state of one thing that a machine looks after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitStatus {
    /// The thing, such as `file:/etc/motd`.
    pub unit: String,
    /// The object that wants it, such as `Profile/web`.
    pub source: String,
    /// The sequence of that object.
    pub sequence: u64,
    /// How far it is.
    pub state: UnitState,
    /// What is wrong, or what was kept and why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How often it has been tried in vain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
}

/// How far a unit is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnitState {
    /// It is as it was told.
    Converged,
    /// It is being worked on.
    #[default]
    Converging,
    /// The last try failed; it will be tried again.
    Failed,
    /// It waits for another unit.
    Blocked,
    /// Two profiles claim it; it stays as it was.
    Conflict,
    /// It is being taken away.
    Removing,
    /// It is no longer wanted, and was left as a person changed it.
    Kept,
}

/// A machine's signed word on an object that it was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    /// The object, such as `Profile/web`.
    pub object: String,
    /// The object's sequence.
    pub sequence: u64,
    /// The digest of the statement.
    pub statement: Digest,
    /// `Applied`, `Failed` or `Refused`.
    pub outcome: String,
    /// The signed document, canonical JSON.
    pub document: String,
    /// The machine's signature over it (SSHSIG).
    pub signature: String,
}

impl Kind for Machine {
    const GROUP: &'static str = crate::GROUP;
    const VERSION: &'static str = crate::VERSION;
    const KIND: &'static str = "Machine";
    const PLURAL: &'static str = "machines";
    const SINGULAR: &'static str = "machine";
    const SHORT_NAMES: &'static [&'static str] = &["mc"];
    const CATEGORIES: &'static [&'static str] = &["all", "stead"];
    const SELECTABLE: &'static [SelectableField] = &[
        SelectableField::at("spec.key", "/spec/key"),
        SelectableField::condition("status.conditions.Ready", "Ready"),
        SelectableField::condition("status.conditions.Converged", "Converged"),
        SelectableField::condition("status.conditions.Conflict", "Conflict"),
        SelectableField::condition("status.conditions.DuplicateKey", "DuplicateKey"),
        SelectableField::condition("status.conditions.Refused", "Refused"),
        SelectableField::condition("status.conditions.Stale", "Stale"),
        SelectableField::condition("status.conditions.OutboxFull", "OutboxFull"),
        SelectableField::at("status.facts.hostname", "/status/facts/hostname"),
        SelectableField::at("status.facts.os", "/status/facts/os"),
        SelectableField::at("status.facts.kernel", "/status/facts/kernel"),
        SelectableField::at("status.facts.architecture", "/status/facts/architecture"),
        SelectableField::at("status.facts.agentVersion", "/status/facts/agentVersion"),
    ];
    const COLUMNS: &'static [Column] = &[
        Column {
            name: "Ready",
            pointer: "/status/conditions",
            format: ColumnFormat::Condition("Ready"),
            description: "Whether the coordinator hears from the machine.",
            priority: 0,
        },
        Column {
            name: "Voice",
            pointer: "/status/conditions",
            format: ColumnFormat::Reason("Ready"),
            description: "Heard, Slow (it speaks later than it should) or Silent.",
            priority: 0,
        },
        Column {
            name: "Converged",
            pointer: "/status/conditions",
            format: ColumnFormat::Condition("Converged"),
            description: "Whether the machine is as it was told.",
            priority: 0,
        },
        Column {
            name: "Stale",
            pointer: "/status/conditions",
            format: ColumnFormat::Condition("Stale"),
            description: "Whether it has not heard of its owners for longer than they said.",
            priority: 1,
        },
        Column {
            name: "Units",
            pointer: "/status/units",
            format: ColumnFormat::Count,
            description: "How many things it looks after.",
            priority: 0,
        },
        Column {
            name: "Seen",
            pointer: "/status/lastSeen",
            format: ColumnFormat::Age,
            description: "When the coordinator last heard from it.",
            priority: 0,
        },
        Column {
            name: "Reason",
            pointer: "/status/conditions",
            format: ColumnFormat::Reason("Converged"),
            description: "Why it is or is not as it was told.",
            priority: 1,
        },
        Column {
            name: "OS",
            pointer: "/status/facts/os",
            format: ColumnFormat::Text,
            description: "Its operating system.",
            priority: 1,
        },
        Column {
            name: "Kernel",
            pointer: "/status/facts/kernel",
            format: ColumnFormat::Text,
            description: "Its kernel's release.",
            priority: 1,
        },
        Column {
            name: "Agent",
            pointer: "/status/facts/agentVersion",
            format: ColumnFormat::Text,
            description: "The version of its agent.",
            priority: 1,
        },
        Column { name: "Key", pointer: "/spec/key", format: ColumnFormat::Text, description: "Its public key.", priority: 1 },
    ];

    fn validate(&self) -> Vec<Cause> {
        check_key("spec.key", &self.spec.key).into_iter().collect()
    }
}

/// Checks a machine's key in hexadecimal digits.
pub(crate) fn check_key(path: &str, key: &str) -> Option<Cause> {
    let mut bytes = [0; 32];
    let lower = !key.bytes().any(|byte| byte.is_ascii_uppercase());
    if lower && hex::decode_to_slice(key, &mut bytes).is_ok() {
        return None;
    }
    let shown: String = key.chars().take(80).collect();
    Some(Cause::new(
        path,
        CauseReason::Invalid,
        format!("Invalid value: {shown:?}: expected an ed25519 public key as 64 lower-case hexadecimal digits"),
    ))
}

/// Labels by name, as objects carry them.
pub(crate) type Labels = BTreeMap<String, String>;
