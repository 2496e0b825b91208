//! `stead machine rotate-key`: machines ask for their next keys, what they ask is checked, and an owner signs it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use stead_model::{Digest, Kind as _, Machine, MachineSpec, NextKey};
use stead_trust::{MachineKey, verify_rotation};
use tokio::time::Instant;

use super::decommission::named;
use super::{Context, SignedMachine, names, put, signed};
use crate::Outcome;
use crate::change::{self, Draft, fleet};
use crate::cli::RotateKeyArgs;
use crate::client::Client;
use crate::commands::show::verified;
use crate::failure::{Failure, FailureKind};
use crate::kind_word::info;

/// Machines of one question: what a coordinator asks at once.
const ASKED_AT_ONCE: usize = 100;
/// How often it is looked whether machines have come with their new keys.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Where coordinators are asked.
const PATH: &str = "/stead/v1/next-keys";

/// One machine's answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    machine: String,
    online: bool,
    #[serde(default)]
    as_of: Option<Timestamp>,
    #[serde(default)]
    elsewhere: Vec<String>,
    #[serde(flatten)]
    answer: NextKey,
}

/// A machine whose new key is to be signed.
struct Rotated {
    name: String,
    old: MachineKey,
    new: MachineKey,
    /// The sequence of the signed object that says so.
    sequence: u64,
}

pub(super) async fn run(context: &Context, mut args: RotateKeyArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let names = names(&client, &args.machines).await?;
    let signed = signed(&client, &context.settings, &names).await?;
    let fleet = fleet(&context.settings)?;
    let mut answers = BTreeMap::new();
    for (index, asked) in signed.chunks(ASKED_AT_ONCE).enumerate() {
        let asked: Vec<&str> = asked.iter().map(|one| one.key.name.as_str()).collect();
        answers.extend(ask(&client, &asked).await?);
        if signed.len() > ASKED_AT_ONCE {
            context.say(&format!("{} of {} machines asked", (index * ASKED_AT_ONCE) + asked.len(), signed.len()));
        }
    }
    let (mut draft, mut rotated, mut not) = (Draft::default(), Vec::new(), Vec::new());
    for one in &signed {
        match next(&fleet, one, answers.get(&one.key.name)) {
            Ok((machine, old, new)) => {
                put(&mut draft, one, &machine)?;
                rotated.push(Rotated { name: one.key.name.clone(), old, new, sequence: one.sequence.saturating_add(1) });
            }
            Err(reason) => not.push(format!("machine/{}: {reason}", one.key.name)),
        }
    }
    not.iter().for_each(|line| context.say(line));
    if rotated.is_empty() {
        return Err(failed(&not));
    }
    if args.signing.message.is_empty() {
        args.signing.message = format!("new keys for {}", named(&draft));
    }
    let sent = change::sign_and_send(&client, &context.settings, &draft, &args.signing).await?;
    let note = if args.signing.dry_run { "dry run".to_owned() } else { format!("change {}", sent.id) };
    let print = |key: &MachineKey| key.to_public_key().fingerprint();
    let line = |one: &Rotated| format!("machine.stead.dev/{} {} -> {} ({note})\n", one.name, print(&one.old), print(&one.new));
    context.print(&rotated.iter().map(line).collect::<String>())?;
    if !args.signing.dry_run {
        wait(context, &client, &fleet, rotated, args.timeout.to_duration()).await?;
    }
    if not.is_empty() { Ok(args.signing.outcome()) } else { Err(failed(&not)) }
}

fn failed(not: &[String]) -> Failure {
    Failure::new(FailureKind::Timeout, format!("{} machine(s) could not be asked, or may not have a new key", not.len()))
        .hint("Nothing has changed for them: run the command again when they are there.")
}

/// Asks coordinators, each for the machines that are connected to it.
async fn ask(client: &Client, names: &[&str]) -> Result<BTreeMap<String, Answer>, Failure> {
    let request = json!({"machines": names});
    let answers: Vec<Answer> = client.post(PATH, &request).await?;
    let mut found: BTreeMap<String, Answer> = answers.into_iter().map(|answer| (answer.machine.clone(), answer)).collect();
    let places: BTreeSet<String> =
        found.values().filter(|answer| !answer.online).filter_map(|answer| answer.elsewhere.first().cloned()).collect();
    for place in places {
        match client.post_to::<_, Vec<Answer>>(&place, PATH, &request).await {
            Ok(more) => {
                found.extend(more.into_iter().filter(|answer| answer.online).map(|answer| (answer.machine.clone(), answer)))
            }
            Err(error) => tracing::warn!(place, %error, "another coordinator could not be asked for its machines"),
        }
    }
    Ok(found)
}

/// The machine as it is to be signed, with its old key and its new one; or why not, in words.
fn next(fleet: &Digest, signed: &SignedMachine, answer: Option<&Answer>) -> Result<(Machine, MachineKey, MachineKey), String> {
    let spec = &signed.machine.spec;
    if spec.decommissioned.is_some() {
        return Err("it is decommissioned".to_owned());
    }
    if spec.former_keys.len() >= MachineSpec::FORMER_KEYS_MAX {
        return Err(format!("it has had {} keys already", spec.former_keys.len()));
    }
    let answer = answer.ok_or("the coordinator says nothing of it")?;
    if !answer.online {
        let seen = answer.as_of.map_or_else(String::new, |moment| format!(", last seen {moment}"));
        return Err(format!("it is not connected{seen}"));
    }
    let rotation = match (&answer.answer.rotation, &answer.answer.error) {
        (Some(rotation), _) => rotation,
        (None, Some(error)) => return Err(error.clone()),
        (None, None) => return Err("its agent is too old to change its key; update it first".to_owned()),
    };
    let old: MachineKey = spec.key.parse().map_err(|error| format!("its signed key cannot be read: {error}"))?;
    // Against what owners signed: a coordinator that asks for a key of its own is found here.
    let new = verify_rotation(fleet, &signed.key.name, &old, rotation).map_err(|error| error.to_string())?;
    let mut machine = signed.machine.clone();
    machine.spec.key = new.to_string();
    machine.spec.former_keys.push(old.to_string());
    machine.spec.rotation = Some(rotation.clone());
    // It was about the key that let it in.
    machine.spec.enrolment = None;
    Ok((machine, old, new))
}

/// Waits until machines have acknowledged, with their new keys, the change that gave them.
async fn wait(
    context: &Context,
    client: &Client,
    fleet: &Digest,
    mut rotated: Vec<Rotated>,
    limit: Duration,
) -> Result<(), Failure> {
    let until = Instant::now() + limit;
    let info = info(Machine::KIND)?;
    while !rotated.is_empty() && Instant::now() < until {
        let mut left = Vec::new();
        for one in rotated {
            let machine: Machine = match client.find(info, "", &one.name).await?.map(|object| object.to_typed()) {
                Some(Ok(machine)) => machine,
                _ => continue,
            };
            let object = format!("{}/{}", Machine::KIND, one.name);
            let words = machine.status.unwrap_or_default().acknowledgements;
            let word = words.iter().filter(|word| word.object == object && word.sequence >= one.sequence);
            if word.filter_map(|word| verified(word, fleet, &one.new)).next().is_some() {
                context.print(&format!("machine.stead.dev/{} has its new key\n", one.name))?;
            } else {
                left.push(one);
            }
        }
        rotated = left;
        if !rotated.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    for one in &rotated {
        context.say(&format!("machine/{} has not come with its new key yet; it does when it is back", one.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::{GroupKind, ObjectKey};
    use stead_trust::{KeyRotation, SigningKey, sign_rotation};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    #[test]
    fn a_key_that_the_machine_did_not_ask_for_is_not_signed() {
        let fleet = Digest::of(b"fleet");
        let mut machine = Machine::default();
        machine.metadata.name = "web".to_owned();
        machine.spec.key = key(1).machine_key().unwrap().to_string();
        let object = ObjectKey::new(GroupKind::new("stead.dev", "Machine"), "", "web");
        let signed = SignedMachine { key: object, sequence: 4, machine };
        let answer = |old: u8, online: bool| {
            let rotation = KeyRotation {
                fleet,
                time: Timestamp::from_second(1).unwrap(),
                name: "web".to_owned(),
                machine: key(old).machine_key().unwrap(),
                next: key(2).machine_key().unwrap(),
            };
            let rotation = Some(sign_rotation(&rotation, &key(old), &key(2)).unwrap());
            Answer {
                machine: "web".to_owned(),
                online,
                as_of: None,
                elsewhere: Vec::new(),
                answer: NextKey { rotation, error: None },
            }
        };
        let (next_machine, _, new) = next(&fleet, &signed, Some(&answer(1, true))).unwrap();
        assert_eq!(next_machine.spec.key, new.to_string());
        assert_eq!(next_machine.spec.former_keys, [key(1).machine_key().unwrap().to_string()]);
        assert!(next(&fleet, &signed, Some(&answer(3, true))).unwrap_err().contains("differ"), "another machine's request");
        assert!(next(&fleet, &signed, Some(&answer(1, false))).unwrap_err().contains("not connected"));
        let old_agent = Answer { answer: NextKey { rotation: None, error: None }, ..answer(1, true) };
        assert!(next(&fleet, &signed, Some(&old_agent)).unwrap_err().contains("too old"));
    }
}
