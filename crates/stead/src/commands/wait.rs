//! `stead wait`: until something is true of objects.

use std::str::FromStr;

use serde_json::Value;
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
    let waited = timeout(args.timeout.to_duration(), until(context, &args.awaited, &wanted.names, &mut follower)).await;
    context.terminal.progress_end();
    if let Ok(outcome) = waited {
        outcome?;
        let lines = follower.objects().map(|object| format!("{} {}\n", qualified_name(wanted.info, object), met(&args.awaited)));
        context.print(&lines.collect::<String>())?;
        return Ok(ExitCode::Success);
    }
    let open: Vec<&str> = follower.objects().filter(|object| !args.awaited.holds(object)).map(name_of).collect();
    let missing =
        wanted.names.iter().map(String::as_str).filter(|name| !follower.objects().any(|object| name_of(object) == *name));
    let open = if args.awaited == Awaited::Deleted { open } else { open.into_iter().chain(missing).collect() };
    let open =
        if open.is_empty() { format!("there are no {}", wanted.info.plural) } else { format!("not yet: {}", open.join(", ")) };
    Err(Failure::new(FailureKind::Timeout, format!("waited {} in vain; {open}", args.timeout))
        .hint(format!("`stead describe {} NAME` says what is known of one.", wanted.info.singular)))
}

async fn until(context: &Context, awaited: &Awaited, names: &[String], follower: &mut Follower<'_>) -> Result<(), Failure> {
    loop {
        let total = follower.objects().count().max(names.len());
        let met = follower.objects().filter(|object| awaited.holds(object)).count();
        let done = match awaited {
            Awaited::Deleted => follower.objects().next().is_none(),
            _ => total > 0 && met == total,
        };
        if done {
            return Ok(());
        }
        let left = follower.objects().find(|object| !awaited.holds(object)).map(name_of).unwrap_or_default();
        context.terminal.progress(&format!("{met} of {total} so far; waiting for {left}"));
        follower.next().await?;
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
