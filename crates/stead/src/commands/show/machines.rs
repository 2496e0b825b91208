//! Which machines have a change: by their own signed words, checked against the keys that owners signed for them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};
use stead_model::{Acknowledgement, Digest, FACT_LABEL_PREFIX, Kind as _, Machine, Object, ObjectKey, Profile, Selector};
use stead_trust::{Ack, Leaf, MachineKey, Outcome, Signature, SignedAck};

use super::object_before;
use crate::aligned::{aligned, indented};
use crate::client::Client;
use crate::failure::Failure;
use crate::history::{self, Evidence, Signed, Step};
use crate::keyring::Keyring;
use crate::kind_word::info;
use crate::terminal::{Style, Terminal};

/// How far a machine is with an object of a change. The order is that of the list: what needs a look comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// The coordinator shows a word of it that cannot be checked, or is not its own: it counts for nothing.
    Claimed,
    Refused,
    Failed,
    Pending,
    /// It has said something of a later change of the object.
    Newer,
    Applied,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Newer => "newer",
            Self::Applied => "applied",
        }
    }
}

/// What one machine says of one object of a change.
#[derive(Clone, Debug)]
pub(super) struct Word {
    machine: String,
    object: String,
    state: State,
    /// What the word was checked against; empty where there is no word.
    checked: &'static str,
    detail: String,
    seen: Option<Timestamp>,
}

impl Word {
    pub(super) fn to_value(&self) -> Value {
        json!({
            "machine": self.machine, "object": self.object, "state": self.state.word(), "checked": self.checked,
            "detail": self.detail, "lastSeen": self.seen,
        })
    }
}

/// An entry of a change, as machines are asked for it.
struct Meant {
    leaf: Leaf,
    /// Which machines it was or is meant for, where it is a Profile.
    selectors: Vec<Selector>,
}

/// What every machine says that the change is meant for.
pub(super) async fn words(
    client: &Client,
    keyring: &Keyring,
    evidence: &Evidence,
    before: &BTreeMap<Step, Signed>,
) -> Result<Vec<Word>, Failure> {
    let meant = meant(evidence, before);
    if meant.is_empty() {
        return Ok(Vec::new());
    }
    let list = client.list(info(Machine::KIND)?, "", "", "").await?;
    let read = |item: Value| serde_json::from_value::<Machine>(item);
    let machines = list.items.into_iter().map(read).collect::<Result<Vec<_>, _>>();
    let machines = machines.map_err(|error| Failure::internal(format!("a Machine cannot be read: {error}")))?;
    let concerned: Vec<&Machine> = machines.iter().filter(|machine| meant.iter().any(|meant| meant.concerns(machine))).collect();
    let keys = signed_keys(client, keyring, &concerned).await?;
    let fleet = keyring.chain().fleet();
    let mut words = Vec::new();
    for machine in concerned {
        let key = keys.get(&machine.metadata.name);
        words.extend(meant.iter().filter(|meant| meant.concerns(machine)).map(|meant| meant.word(machine, key, evidence, fleet)));
    }
    words.sort_by(|one, other| (one.state, &one.machine, &one.object).cmp(&(other.state, &other.machine, &other.object)));
    Ok(words)
}

fn meant(evidence: &Evidence, before: &BTreeMap<Step, Signed>) -> Vec<Meant> {
    let selector = |object: &Object| object.to_typed::<Profile>().ok().map(|profile| profile.spec.selector);
    let for_machines = evidence.entries.iter().filter(|(leaf, _)| leaf.kind == Profile::KIND || leaf.kind == Machine::KIND);
    for_machines
        .map(|(leaf, object)| {
            // One that is no longer meant is told too: what it held goes.
            let objects = [object.as_ref(), object_before(before, leaf)];
            Meant { leaf: leaf.clone(), selectors: objects.into_iter().flatten().filter_map(selector).collect() }
        })
        .collect()
}

/// The key of each machine as it was signed: the coordinator's word for a key counts for nothing.
async fn signed_keys(client: &Client, keyring: &Keyring, machines: &[&Machine]) -> Result<BTreeMap<String, MachineKey>, Failure> {
    let kind = info(Machine::KIND)?.group_kind();
    let names: Vec<ObjectKey> = machines.iter().map(|machine| ObjectKey::new(kind.clone(), "", &machine.metadata.name)).collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let steps: BTreeSet<Step> = history::sequences(client, &names).await?.into_iter().collect();
    let signed = history::signed(client, keyring, &steps).await?;
    let key = |object: &Object| object.to_typed::<Machine>().ok()?.spec.key.parse().ok();
    Ok(signed.into_iter().filter_map(|((name, _), signed)| Some((name.name, key(signed.object.as_ref()?)?))).collect())
}

impl Meant {
    fn concerns(&self, machine: &Machine) -> bool {
        if self.leaf.kind == Machine::KIND {
            return machine.metadata.name == self.leaf.name;
        }
        let said = || newest(machine, &self.leaf).is_some();
        self.selectors.iter().any(|selector| may_match(selector, machine)) || said()
    }

    fn word(&self, machine: &Machine, key: Option<&MachineKey>, evidence: &Evidence, fleet: &Digest) -> Word {
        let (state, checked, detail) = match newest(machine, &self.leaf) {
            Some(word) if word.sequence >= self.leaf.sequence => self.judge(word, key, evidence, fleet),
            _ => (State::Pending, "", String::new()),
        };
        let seen = machine.status.as_ref().and_then(|status| status.last_seen);
        let (machine, object) = (machine.metadata.name.clone(), self.leaf.key().to_string());
        Word { machine, object, state, checked, detail, seen }
    }

    /// What a word says, where it is the machine's own; a word that is not counts as none.
    fn judge(
        &self,
        word: &Acknowledgement,
        key: Option<&MachineKey>,
        evidence: &Evidence,
        fleet: &Digest,
    ) -> (State, &'static str, String) {
        let Some(key) = key else {
            return (State::Claimed, "no signed key", "it says something, and nobody signed the key of this machine".to_owned());
        };
        let Some(ack) = verified(word, fleet, key).filter(|ack| ack.object == self.leaf.key()) else {
            return (State::Claimed, "BAD", "the acknowledgement on record is not this machine's".to_owned());
        };
        if ack.object_sequence > self.leaf.sequence {
            return (State::Newer, "signed", format!("{} sequence {}", outcome(ack.outcome).word(), ack.object_sequence));
        }
        if ack.object_sequence < self.leaf.sequence {
            return (State::Claimed, "BAD", "the acknowledgement on record is of an earlier change".to_owned());
        }
        if ack.statement != evidence.digest {
            return (State::Pending, "signed", "it was sent another statement of this sequence".to_owned());
        }
        (outcome(ack.outcome), "signed", ack.detail)
    }
}

const fn outcome(outcome: Outcome) -> State {
    match outcome {
        Outcome::Applied => State::Applied,
        Outcome::Failed => State::Failed,
        Outcome::Refused => State::Refused,
    }
}

fn newest<'a>(machine: &'a Machine, leaf: &Leaf) -> Option<&'a Acknowledgement> {
    let object = leaf.key().to_string();
    machine.status.as_ref()?.acknowledgements.iter().find(|word| word.object == object)
}

fn verified(word: &Acknowledgement, fleet: &Digest, key: &MachineKey) -> Option<Ack> {
    let signature = Signature::from_armor(&word.signature).ok()?;
    SignedAck { document: word.document.clone().into_bytes(), signature }.verify(fleet, key).ok()
}

/// Whether a selector may mean a machine: labels made of facts are known only to the machine, so they count as fitting.
fn may_match(selector: &Selector, machine: &Machine) -> bool {
    let mut known = selector.clone();
    known.match_labels.retain(|key, _| !key.starts_with(FACT_LABEL_PREFIX));
    known.match_expressions.retain(|requirement| !requirement.key.starts_with(FACT_LABEL_PREFIX));
    known.matches(&machine.metadata.labels)
}

/// The words in a list; those that need a look first.
pub(super) fn text(words: &[Word], listed_max: usize, terminal: Terminal, now: Timestamp) -> String {
    if words.is_empty() {
        return "Machines: none is meant.\n".to_owned();
    }
    let count = |state: State| words.iter().filter(|word| word.state == state).count();
    let states = [State::Applied, State::Newer, State::Pending, State::Failed, State::Refused, State::Claimed];
    let counts = states.into_iter().map(|state| (count(state), state)).filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, state)| format!("{count} {}", state.word())).collect();
    let rows = words.iter().take(listed_max).map(|word| {
        let style = match word.state {
            State::Claimed | State::Refused | State::Failed => Style::Bad,
            State::Pending => Style::Strong,
            State::Newer | State::Applied => Style::Good,
        };
        let seen = word.seen.map_or_else(String::new, |seen| stead_model::age(seen, now).to_string());
        let detail = word.detail.replace(['\n', '\r', '\t'], " ");
        vec![
            word.machine.clone(),
            word.object.clone(),
            terminal.on_stdout(style, word.state.word()),
            word.checked.to_owned(),
            seen,
            detail,
        ]
    });
    let table = aligned(&["machine", "object", "state", "word", "seen", "detail"], rows.collect());
    let mut out = format!("Machines: {}\n{}", counts.join(", "), indented(2, &table));
    if words.len() > listed_max {
        out.push_str(&format!("  and {} more; -o wide lists all\n", words.len() - listed_max));
    }
    let unchecked = words.iter().filter(|word| !word.checked.is_empty() && word.checked != "signed").count();
    if unchecked > 0 {
        let warning = format!("{unchecked} words could not be checked, and count for nothing.");
        out.push_str(&format!("  {}\n", terminal.on_stdout(Style::Bad, &warning)));
    }
    out
}
