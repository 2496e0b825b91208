//! `stead approve`: lets machines join that ask to, with one signed change.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stead_model::{Enrollment, Kind, Machine, MachineSpec, Object, ObjectMeta, registry};

use super::Context;
use super::label::to_map;
use crate::Outcome;
use crate::change::{self, Draft};
use crate::cli::{ApproveArgs, Signing};
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::output::render;

pub(super) async fn run(context: &Context, args: ApproveArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    if args.enrollments.is_empty() && !args.all {
        return list(context, &client).await;
    }
    if args.replace.is_some() && args.enrollments.len() > 1 {
        return Err(Failure::user("--replace is for one machine; approve the others one by one"));
    }
    if args.name.is_some() && args.enrollments.len() > 1 {
        return Err(Failure::user("--name is for one machine; approve the others one by one, or with --all by their host names"));
    }
    let chosen = if args.all { pending(&client).await? } else { named(&client, &args.enrollments).await? };
    if chosen.is_empty() {
        context.say("No machine asks to join.");
        return Ok(ExitCode::Success);
    }
    let labels = to_map(&args.labels);
    let mut draft = Draft::default();
    let mut names = BTreeMap::new();
    if let (Some(old), [enrollment]) = (&args.replace, chosen.as_slice()) {
        let name = old.rsplit('/').next().unwrap_or_default();
        replacement(&client, context, enrollment, name, &labels, &mut draft).await?;
        names.insert(name.to_owned(), enrollment.metadata.name.clone());
        return sign(context, &client, draft, &names, args.signing).await;
    }
    for enrollment in &chosen {
        let name = args.name.clone().unwrap_or_else(|| host_name(enrollment));
        let [approval, machine] = approval(enrollment, &name, &labels)?;
        if let Some(other) = names.insert(name.clone(), enrollment.metadata.name.clone()) {
            let message = format!("{other} and {} would both become the machine {name}", enrollment.metadata.name);
            return Err(Failure::user(message).hint("Approve them one by one, each with its --name."));
        }
        draft.puts.extend([approval, machine]);
    }
    let machines: Vec<_> = draft.puts.iter().filter(|object| object.kind == Machine::KIND).map(Object::key).collect();
    if let Some(key) = change::on_record(&client, &machines).await?.into_keys().next() {
        let message = format!("there is a machine {} already; approving would give its name to another key", key.name);
        return Err(
            Failure::refused(message).hint("Choose another name with --name, or `stead delete machine` the old one first.")
        );
    }
    sign(context, &client, draft, &names, args.signing).await
}

async fn sign(
    context: &Context,
    client: &Client,
    draft: Draft,
    names: &BTreeMap<String, String>,
    mut signing: Signing,
) -> Outcome {
    if signing.message.is_empty() {
        signing.message = format!("approve {}", names.keys().cloned().collect::<Vec<_>>().join(", "));
    }
    let sent = change::sign_and_send(client, &context.settings, &draft, &signing).await?;
    let note = if signing.dry_run { "dry run".to_owned() } else { format!("change {}", sent.id) };
    let lines = names
        .iter()
        .map(|(name, enrollment)| format!("enrollment.stead.dev/{enrollment} approved as machine.stead.dev/{name} ({note})\n"));
    context.print(&lines.collect::<String>())?;
    Ok(signing.outcome())
}

/// A machine that was set up anew takes its old place: what owners signed of it stays, with another key, and the old one is refused.
async fn replacement(
    client: &Client,
    context: &Context,
    enrollment: &Enrollment,
    name: &str,
    labels: &BTreeMap<String, String>,
    draft: &mut Draft,
) -> Result<(), Failure> {
    let signed = super::machine::signed(client, &context.settings, &[name.to_owned()]).await?;
    let Some(signed) = signed.first() else { return Err(Failure::internal("a machine was lost on its way")) };
    let mut machine = signed.machine.clone();
    if machine.spec.decommissioned.is_some() {
        return Err(Failure::refused(format!("the machine {name} is decommissioned; nothing takes its place"))
            .hint("Choose another name with --name, or `stead machine recommission` it first."));
    }
    let old = std::mem::replace(&mut machine.spec.key, enrollment.spec.key.clone());
    machine.spec.former_keys.push(old);
    (machine.spec.rotation, machine.spec.enrolment) = (None, None);
    machine.metadata.labels.extend(labels.clone());
    let [answer, _] = approval(enrollment, name, &machine.metadata.labels)?;
    draft.puts.push(answer);
    super::machine::put(draft, signed, &machine)
}

/// Those that nobody has answered.
async fn pending(client: &Client) -> Result<Vec<Enrollment>, Failure> {
    let info = crate::kind_word::info(Enrollment::KIND)?;
    let list = client.list(info, "", "", "").await?;
    let typed = list.items.into_iter().map(serde_json::from_value::<Enrollment>).collect::<Result<Vec<_>, _>>();
    let typed = typed.map_err(|error| Failure::internal(format!("an Enrollment cannot be read: {error}")))?;
    Ok(typed.into_iter().filter(|enrollment| enrollment.spec.approved.is_none()).collect())
}

/// Those of these names. One that was answered already is refused rather than answered twice by mistake.
pub(super) async fn named(client: &Client, names: &[String]) -> Result<Vec<Enrollment>, Failure> {
    let info = crate::kind_word::info(Enrollment::KIND)?;
    let mut found = Vec::new();
    for name in names {
        let object = client.find(info, "", name).await?.ok_or_else(|| {
            Failure::new(FailureKind::NotFound, format!("no machine asks to join as {name}"))
                .hint("`stead approve` lists those that do.")
        })?;
        let enrollment: Enrollment = object.to_typed().map_err(|error| Failure::of(FailureKind::Internal, error))?;
        if enrollment.spec.approved == Some(true) {
            return Err(Failure::refused(format!("{name} was approved already, as the machine {}", enrollment.spec.machine)));
        }
        found.push(enrollment);
    }
    Ok(found)
}

/// The host name as the name of an object: lower case, other characters as `-`.
fn host_name(enrollment: &Enrollment) -> String {
    let hostname = enrollment.status.as_ref().map(|status| status.hostname.as_str()).unwrap_or_default();
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || character == '.' { character.to_ascii_lowercase() } else { '-' }
    };
    let name: String = hostname.chars().map(plain).collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if stead_model::validate_name(&name).is_ok() { name } else { format!("m-{}", enrollment.metadata.name) }
}

/// What owners sign to let a machine in: their answer, and the machine.
fn approval(enrollment: &Enrollment, name: &str, labels: &BTreeMap<String, String>) -> Result<[Object; 2], Failure> {
    let mut answer = enrollment.clone();
    answer.status = None;
    answer.spec.approved = Some(true);
    answer.spec.machine = name.to_owned();
    answer.spec.labels = labels.clone();
    let machine = Machine {
        metadata: ObjectMeta { name: name.to_owned(), labels: labels.clone(), ..ObjectMeta::default() },
        spec: MachineSpec { key: enrollment.spec.key.clone(), ..MachineSpec::default() },
        status: None,
    };
    Ok([checked(&answer)?, checked(&machine)?])
}

/// An object of a typed kind, checked as a manifest is: what was typed on the command line is in it.
pub(super) fn checked<K: Kind>(typed: &K) -> Result<Object, Failure> {
    let object = Object::from_typed(typed).map_err(|error| Failure::of(FailureKind::Internal, error))?.as_sent();
    let value = serde_json::to_value(&object).map_err(|error| Failure::internal(error.to_string()))?;
    let info =
        registry().by_group_kind(&object.group_kind()).ok_or_else(|| Failure::internal(format!("{}: no such kind", K::KIND)))?;
    info.parse(value).map_err(|error| Failure::of(FailureKind::User, error))
}

async fn list(context: &Context, client: &Client) -> Outcome {
    let info = crate::kind_word::info(Enrollment::KIND)?;
    let mut items = client.list(info, "", "", "").await?.items;
    items.retain(|item| item.pointer("/spec/approved").is_none());
    let format = context.settings.output();
    if items.is_empty() && !format.is_for_programs() {
        context.say("No machine asks to join. On a new machine: stead agent --join TICKET, with one from `stead ticket create`.");
        return Ok(ExitCode::Success);
    }
    context.print(&render(info, &items, false, format, Timestamp::now())?)?;
    if !format.is_for_programs() {
        context.say("Compare the key with the one that the machine shows (-o wide), then: stead approve NAME --name MACHINE --label KEY=VALUE");
        for line in hints(&items) {
            context.say(&line);
        }
    }
    Ok(ExitCode::Success)
}

/// Which of those that ask look like machines that there are.
fn hints(items: &[serde_json::Value]) -> Vec<String> {
    let enrollments = items.iter().filter_map(|item| serde_json::from_value::<Enrollment>(item.clone()).ok());
    let hint = |enrollment: Enrollment| {
        let name = enrollment.metadata.name;
        let alike = enrollment.status?.looks_like;
        let first = alike.first()?;
        let machines: Vec<String> = alike.iter().map(|one| format!("{} (the same {})", one.machine, one.by)).collect();
        let command = format!("stead approve {name} --replace {}", first.machine);
        Some(format!("{name} looks like {}. If it was set up anew: {command}", machines.join(", ")))
    };
    enrollments.filter_map(hint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::EnrollmentStatus;

    fn enrollment(hostname: &str) -> Enrollment {
        let key = "0123456789abcdef".repeat(4);
        Enrollment {
            metadata: ObjectMeta { name: Enrollment::name_for(&key), ..ObjectMeta::default() },
            spec: stead_model::EnrollmentSpec { key, ..Default::default() },
            status: Some(EnrollmentStatus { hostname: hostname.to_owned(), ..EnrollmentStatus::default() }),
        }
    }

    #[test]
    fn host_names_become_names() {
        for (hostname, expected) in [("Web_1.lab", "web-1.lab"), ("", "m-0123456789abcdef"), ("-", "m-0123456789abcdef")] {
            assert_eq!(host_name(&enrollment(hostname)), expected);
        }
    }

    #[test]
    fn the_answer_and_the_machine_are_signed_together() {
        let labels = BTreeMap::from([("role".to_owned(), "web".to_owned())]);
        let [answer, machine] = approval(&enrollment("x"), "web-1", &labels).unwrap();
        assert_eq!(answer.spec()["machine"], "web-1");
        assert_eq!(answer.spec()["approved"], true);
        assert_eq!(machine.metadata.labels, labels);
        assert_eq!(machine.spec()["key"], answer.spec()["key"]);
        assert!(answer.status().is_null());
        assert!(approval(&enrollment("x"), "Web", &labels).is_err());
    }
}
