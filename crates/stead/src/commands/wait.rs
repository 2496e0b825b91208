//! `stead wait`: until something is true of objects.

mod why;

use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use stead_model::{Kind as _, KindInfo, Profile};
use tokio::time::timeout;

use super::Context;
use crate::Outcome;
use crate::cli::WaitArgs;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::follow::Follower;
use crate::kind_word::wanted;
use crate::output::{name_of, qualified_name};
use why::{Depth, ON, Reasons, Said};

/// How long the last look at what was in the way may take, when the time to wait is over.
const LAST_LOOK_SECONDS_MAX: u64 = 5;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The objects are gone.
    Deleted,
    /// A condition has a status.
    Condition { kind: String, status: String },
    /// A field has a value, or is there at all.
    Field { path: Vec<String>, value: Option<String> },
}

impl FromStr for Awaited {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || {
            format!("{text:?}: write condition=Ready, condition=Ready=False, delete, or a field such as status.phase=Approved")
        };
        if text == "delete" {
            return Ok(Self::Deleted);
        }
        if let Some(rest) = text.strip_prefix("condition=") {
            let (kind, status) = rest.split_once('=').unwrap_or((rest, "True"));
            let mut letters = status.chars();
            // `kubectl` takes the status in any case.
            let status: String =
                letters.next().into_iter().flat_map(char::to_uppercase).chain(letters.flat_map(char::to_lowercase)).collect();
            return if kind.is_empty() || status.is_empty() {
                Err(error())
            } else {
                Ok(Self::Condition { kind: kind.to_owned(), status })
            };
        }
        // kubectl's spelling: jsonpath='{.status.phase}'=Approved
        let bare = text.strip_prefix("jsonpath=").unwrap_or(text);
        let (path, value) = match bare.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((path, "")) => (path, None),
            Some((path, value)) => (path, Some(value.strip_prefix('=').ok_or_else(error)?)),
            None => bare.split_once('=').map_or((bare, None), |(path, value)| (path, Some(value))),
        };
        let path: Vec<String> = path.trim_start_matches('.').split('.').map(str::to_owned).collect();
        if path.len() < 2 || path.iter().any(String::is_empty) {
            return Err(error());
        }
        Ok(Self::Field { path, value: value.map(str::to_owned) })
    }
}

/// Whether a status that says which generation it speaks of speaks of the newest one; `kubectl wait` asks the same.
fn speaks_of_newest(object: &Value) -> bool {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    number("/status/observedGeneration").is_none_or(|observed| observed >= number("/metadata/generation").unwrap_or_default())
}

impl Awaited {
    /// Whether it is true of an object that is there.
    fn holds(&self, object: &Value) -> bool {
        match self {
            Self::Deleted => false,
            Self::Condition { kind, status } => {
                let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
                let is = |condition: &Value, name: &str, value: &str| condition.get(name).and_then(Value::as_str) == Some(value);
                let met = conditions
                    .into_iter()
                    .flatten()
                    .any(|condition| is(condition, "type", kind) && is(condition, "status", status));
                met && speaks_of_newest(object)
            }
            Self::Field { path, value } => {
                let found = path.iter().try_fold(object, |place, name| match place {
                    Value::Array(items) => name.parse::<usize>().ok().and_then(|index| items.get(index)),
                    other => other.get(name),
                });
                match (found, value) {
                    (None | Some(Value::Null), _) => false,
                    (Some(_), None) => true,
                    (Some(Value::String(text)), Some(value)) => text == value,
                    (Some(other), Some(value)) => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *other),
                }
            }
        }
    }
}

pub(super) async fn run(context: &Context, args: WaitArgs) -> Outcome {
    let wanted = wanted(&args.kind, &args.names)?;
    let client = Client::connect(&context.settings).await?;
    let mut follower = Follower::start(&client, wanted.info, wanted.names.clone(), &args.scope).await?;
    let waiting = Waiting { context, client: &client, awaited: &args.awaited, info: wanted.info, names: &wanted.names };
    let waited = timeout(args.timeout.to_duration(), waiting.until(&mut follower)).await;
    context.terminal.progress_end();
    if let Ok(outcome) = waited {
        outcome?;
        let lines = follower.objects().map(|object| format!("{} {}\n", qualified_name(wanted.info, object), met(&args.awaited)));
        context.print(&lines.collect::<String>())?;
        return Ok(ExitCode::Success);
    }
    let open = waiting.open(&follower);
    // The time is over: what cannot be asked for at once is left out.
    let reasons = timeout(Duration::from_secs(LAST_LOOK_SECONDS_MAX), waiting.reasons(follower.objects(), Depth::All)).await;
    let reasons = reasons.ok().and_then(Result::ok).unwrap_or_default();
    let what = match open.is_empty() {
        true => format!("there are no {}", wanted.info.plural),
        false => format!(
            "not yet: {} {}{}",
            open.len(),
            if open.len() == 1 { wanted.info.singular } else { wanted.info.plural },
            why::listed(&open, &reasons)
        ),
    };
    Err(Failure::new(FailureKind::Timeout, format!("waited {} in vain; {what}", args.timeout))
        .hint(format!("`stead describe {} NAME` says what is known of one.", wanted.info.singular)))
}

/// What is waited for, and for whom.
struct Waiting<'a> {
    context: &'a Context,
    client: &'a Client,
    awaited: &'a Awaited,
    info: &'static KindInfo,
    names: &'a [String],
}

impl Waiting<'_> {
    async fn until(&self, follower: &mut Follower<'_>) -> Result<(), Failure> {
        let mut said = Said::default();
        let mut news = said.news(&self.reasons(follower.objects(), Depth::Wrong).await?);
        loop {
            let total = follower.objects().count().max(self.names.len());
            let met = follower.objects().filter(|object| self.awaited.holds(object)).count();
            let done = match self.awaited {
                Awaited::Deleted => follower.objects().next().is_none(),
                _ => total > 0 && met == total,
            };
            if done {
                return Ok(());
            }
            if !news.is_empty() {
                self.context.terminal.progress_end();
                news.iter().for_each(|line| self.context.say(line));
            }
            let left = follower.objects().find(|object| !self.awaited.holds(object)).map(name_of).unwrap_or_default();
            self.context.terminal.progress(&format!("{met} of {total} so far; waiting for {left}"));
            let event = follower.next().await?;
            let touched = Some(&event.object).filter(|_| event.kind != "DELETED");
            news = said.news(&self.reasons(touched.into_iter(), Depth::Wrong).await?);
        }
    }

    /// The objects that are not there yet, and those that are missing.
    fn open(&self, follower: &Follower<'_>) -> Vec<String> {
        let open = follower.objects().filter(|object| !self.awaited.holds(object)).map(name_of);
        let is_there = |name: &str| follower.objects().any(|object| name_of(object) == name);
        let missing = self.names.iter().map(String::as_str).filter(|name| *self.awaited != Awaited::Deleted && !is_there(name));
        open.chain(missing).map(str::to_owned).collect()
    }

    /// What they say. Of a profile, it is its machines that say it.
    async fn reasons(&self, objects: impl Iterator<Item = &Value>, depth: Depth) -> Result<Reasons, Failure> {
        let mut reasons = Reasons::new();
        for object in objects.filter(|object| !self.awaited.holds(object)) {
            let own = why::reasons(self.info, object, self.awaited, depth);
            if !own.is_empty() {
                reasons.insert(name_of(object).to_owned(), own);
            }
            if self.info.kind == Profile::KIND && *self.awaited != Awaited::Deleted {
                for (machine, lines) in why::of_profile(self.client, object).await? {
                    reasons.insert(format!("{}{ON}{machine}", name_of(object)), lines);
                }
            }
        }
        Ok(reasons)
    }
}

fn met(awaited: &Awaited) -> &'static str {
    match awaited {
        Awaited::Deleted => "deleted",
        Awaited::Condition { .. } | Awaited::Field { .. } => "condition met",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for() {
        let object = serde_json::json!({
            "status": {"phase": "Approved", "revision": 7, "conditions": [{"type": "Ready", "status": "False"}], "units": [{"state": "Failed"}]}
        });
        let cases = [
            ("condition=Ready", false),
            ("condition=Ready=false", true),
            ("condition=Other", false),
            ("delete", false),
            ("status.phase=Approved", true),
            ("status.phase=Denied", false),
            ("jsonpath={.status.phase}=Approved", true),
            ("jsonpath={.status.phase}", true),
            (".status.revision=7", true),
            ("status.units.0.state=Failed", true),
            ("status.nothing", false),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Awaited>().unwrap().holds(&object), expected, "{text}");
        }
        for bad in ["", "condition=", "status", "jsonpath={.status.phase}Approved", "a..b"] {
            assert!(bad.parse::<Awaited>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_condition_of_an_earlier_generation_does_not_count() {
        let awaited: Awaited = "condition=Converged".parse().unwrap();
        for (observed, expected) in [(1, false), (2, true), (3, true)] {
            let object = serde_json::json!({"metadata": {"generation": 2}, "status": {"observedGeneration": observed,
                "conditions": [{"type": "Converged", "status": "True"}]}});
            assert_eq!(awaited.holds(&object), expected, "{observed}");
        }
    }
}
