//! `stead machine`: who machines are.

mod decommission;
mod path;
mod rotate;
mod show;

use std::collections::{BTreeMap, BTreeSet};

use stead_model::{Kind as _, Machine, Object, ObjectKey};

use super::Context;
use crate::Outcome;
use crate::cli::{MachineCommand, Machines};
use crate::client::Client;
use crate::config::Settings;
use crate::failure::{Failure, FailureKind};
use crate::history;
use crate::keyring::Keyring;
use crate::kind_word::info;

pub(super) async fn run(context: &Context, command: MachineCommand) -> Outcome {
    match command {
        MachineCommand::Show(args) => show::run(context, args).await,
        MachineCommand::Path(args) => path::run(context, args).await,
        MachineCommand::RotateKey(args) => rotate::run(context, args).await,
        MachineCommand::Decommission(args) => decommission::run(context, args).await,
        MachineCommand::Recommission(args) => decommission::back(context, args).await,
    }
}

/// A Machine as its owners signed it: what is signed on top of it is not taken from a coordinator's word.
pub(super) struct SignedMachine {
    pub(super) key: ObjectKey,
    /// The sequence of what was signed.
    pub(super) sequence: u64,
    pub(super) machine: Machine,
}

/// The names that are meant, in order.
async fn names(client: &Client, machines: &Machines) -> Result<Vec<String>, Failure> {
    let Some(selector) = &machines.selector else {
        let plain = |name: &String| name.rsplit('/').next().unwrap_or_default().to_owned();
        let names: BTreeSet<String> = machines.names.iter().map(plain).collect();
        return Ok(names.into_iter().collect());
    };
    let list = client.list(info(Machine::KIND)?, "", &selector.to_string(), "").await?;
    let name = |item: &serde_json::Value| item.pointer("/metadata/name").and_then(|name| name.as_str()).map(str::to_owned);
    let names: Vec<String> = list.items.iter().filter_map(name).collect();
    if names.is_empty() {
        return Err(Failure::new(FailureKind::NotFound, format!("there are no machines with the labels {selector}")));
    }
    Ok(names)
}

/// The newest that owners signed of some machines, verified here.
pub(super) async fn signed(client: &Client, settings: &Settings, names: &[String]) -> Result<Vec<SignedMachine>, Failure> {
    let kind = info(Machine::KIND)?.group_kind();
    let keys: Vec<ObjectKey> = names.iter().map(|name| ObjectKey::new(kind.clone(), "", name)).collect();
    let keyring = Keyring::fetch(client, settings).await?;
    let sequences: BTreeMap<ObjectKey, u64> = history::sequences(client, &keys).await?;
    let signed = history::signed(client, &keyring, &sequences.clone().into_iter().collect()).await?;
    let read = |key: ObjectKey| {
        let sequence = sequences.get(&key).copied().unwrap_or_default();
        let object: Option<&Object> = signed.get(&(key.clone(), sequence)).and_then(|signed| signed.object.as_ref());
        let missing = || {
            Failure::new(FailureKind::NotFound, format!("there is no machine {}", key.name)).hint(
                "`stead get machines` lists those that there are; one that asks to join has no machine yet: `stead approve`.",
            )
        };
        let machine = object.ok_or_else(missing)?.to_typed();
        let machine = machine.map_err(|error| Failure::of(FailureKind::Internal, error))?;
        Ok(SignedMachine { key, sequence, machine })
    };
    keys.into_iter().map(read).collect()
}

/// Puts a machine as it is to be into a draft, on top of what was signed.
pub(super) fn put(draft: &mut crate::change::Draft, signed: &SignedMachine, machine: &Machine) -> Result<(), Failure> {
    draft.sequences.insert(signed.key.clone(), signed.sequence);
    draft.puts.push(super::approve::checked(machine)?);
    Ok(())
}
