//! What machines say that they would do, in words.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use stead_model::{Kind, MachinePlan, Object, PlanRequest, Profile};
use stead_trust::{Signature, Signer, sign_plan};

use crate::change::fleet;
use crate::client::Client;
use crate::config::Settings;
use crate::failure::{Failure, FailureKind};
use crate::signer;
use crate::terminal::{Style, Terminal};

/// One machine's answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    machine: String,
    /// Whether the machine answered itself.
    online: bool,
    /// When it was last heard, where it did not.
    #[serde(default)]
    as_of: Option<Timestamp>,
    /// The APIs of another coordinator, to which the machine is connected.
    #[serde(default)]
    elsewhere: Vec<String>,
    #[serde(flatten)]
    plan: MachinePlan,
}

/// Asks every machine that the Profiles among the objects concern; other kinds give a machine nothing to do. Machines answer
/// only those whom the trust root lets change them, so the question is signed.
pub(super) async fn ask(
    client: &Client,
    settings: &Settings,
    objects: &[&Object],
    gone: &[&Object],
    now: Timestamp,
) -> Result<Vec<Answer>, Failure> {
    let put: Vec<Object> = objects.iter().filter(|object| object.kind == Profile::KIND).map(|object| object.as_sent()).collect();
    let delete: Vec<String> =
        gone.iter().filter(|object| object.kind == Profile::KIND).map(|object| object.metadata.name.clone()).collect();
    if put.is_empty() && delete.is_empty() {
        return Ok(Vec::new());
    }
    let signers = signer::load_all(settings)?;
    let signers: Vec<&dyn Signer> = signers.iter().map(AsRef::as_ref).collect();
    let (document, signatures) =
        sign_plan(fleet(settings)?, &put, &delete, now, &signers).map_err(|error| Failure::of(FailureKind::User, error))?;
    let request = PlanRequest {
        put,
        delete,
        document: String::from_utf8_lossy(&document).into_owned(),
        signatures: signatures.iter().map(Signature::to_armor).collect(),
    };
    let mut answers: Vec<Answer> = client.post(PATH, &request).await?;
    // Each coordinator speaks to the machines that are connected to it.
    let places: BTreeSet<String> =
        answers.iter().filter(|answer| !answer.online).filter_map(|answer| answer.elsewhere.first().cloned()).collect();
    for place in places {
        match client.post_to::<_, Vec<Answer>>(&place, PATH, &request).await {
            Ok(more) => take_in(&mut answers, more),
            Err(error) => tracing::warn!(place, %error, "another coordinator could not be asked for its machines"),
        }
    }
    Ok(answers)
}

/// What machines said themselves replaces what was said for them.
fn take_in(answers: &mut [Answer], more: Vec<Answer>) {
    for answer in more.into_iter().filter(|answer| answer.online) {
        if let Some(place) = answers.iter_mut().find(|present| present.machine == answer.machine && !present.online) {
            *place = answer;
        }
    }
}

/// Where coordinators are asked for plans.
const PATH: &str = "/stead/v1/plan";

/// The answers, machine by machine; steps that several machines share are said once for each, so that `grep` finds them.
pub(super) fn render(answers: &[Answer], terminal: Terminal) -> String {
    let mut out = String::new();
    for answer in answers {
        let Answer { machine, online, as_of, plan, elsewhere: _ } = answer;
        let steps: usize = plan.units.iter().map(|unit| unit.steps.len()).sum();
        let when = match (online, as_of) {
            (true, _) => String::new(),
            (false, Some(moment)) => format!(", off line, last seen {moment}"),
            (false, None) => ", off line".to_owned(),
        };
        let heading = match (&plan.error, steps) {
            (Some(error), _) => format!("machine/{}: no answer: {error}{when}", machine),
            (None, 0) => format!("machine/{}: nothing to do{when}", machine),
            (None, 1) => format!("machine/{}: 1 step{when}", machine),
            (None, steps) => format!("machine/{}: {steps} steps{when}", machine),
        };
        out.push_str(&terminal.on_stdout(Style::Strong, &heading));
        out.push('\n');
        for unit in plan.units.iter().filter(|unit| !unit.steps.is_empty() || !unit.message.is_empty()) {
            let going = if unit.removal { " (goes away)" } else { "" };
            out.push_str(&format!("  {}{going}\n", unit.unit));
            if !unit.message.is_empty() {
                out.push_str(&format!("    {}\n", terminal.on_stdout(Style::Bad, &format!("! {}", unit.message))));
            }
            for step in &unit.steps {
                out.push_str(&format!("    {}\n", terminal.on_stdout(Style::Good, &format!("+ {step}"))));
            }
        }
    }
    if answers.is_empty() {
        out.push_str("No machine is concerned.\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plans_in_words() {
        let answers: Vec<Answer> = serde_json::from_value(json!([
            {"machine": "web-1", "online": true, "units": [
                {"unit": "file:/etc/motd", "steps": ["write 12 bytes", "chmod 0644"]}, {"unit": "link:/a", "removal": true, "message": "a person changed it"}
            ]},
            {"machine": "web-2", "online": false, "asOf": "2026-01-01T00:00:00Z", "units": []},
        ]))
        .unwrap();
        assert_eq!(
            render(&answers, Terminal::plain()),
            "machine/web-1: 2 steps\n  file:/etc/motd\n    + write 12 bytes\n    + chmod 0644\n  link:/a (goes away)\n    ! a person changed it\n\
             machine/web-2: nothing to do, off line, last seen 2026-01-01T00:00:00Z\n"
        );
    }
}
