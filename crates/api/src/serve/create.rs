//! Create.

use http::StatusCode;
use serde_json::Value;
use stead_admission::Write;
use stead_model::NAME_BYTES_MAX;
use stead_store::{Expect, Outcome};

use crate::api::Call;
use crate::body::{self, Parsed};
use crate::field_manager;
use crate::ownership;
use crate::path::ObjectsRoute;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};

/// Random characters after `generateName`, as Kubernetes has it.
const SUFFIX_CHARACTERS: usize = 5;
/// Letters and digits that make no words and are not taken for each other.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How often another name is tried where a generated one is taken.
const GENERATED_NAMES_MAX: usize = 8;

/// Creates an object.
pub(super) async fn serve(call: &Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    let resource = route.resource;
    if resource.info.namespaced && route.namespace.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let renderer = super::renderer(call, route)?;
    let dry_run = call.query.dry_run()?;
    let validation = call.query.field_validation(body::default_validation(resource))?;
    let manager = field_manager::of_write(&call.query, &call.headers)?;
    let mut sent = body::decode(&call.headers, &call.body)?;
    body::settle_names(&mut sent, route.namespace.as_deref(), None)?;
    if text(&sent, "/metadata/resourceVersion").is_some() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let generated = text(&sent, "/metadata/name").is_none().then(|| text(&sent, "/metadata/generateName")).flatten();
    let mut attempts = if generated.is_some() { GENERATED_NAMES_MAX } else { 1 };
    loop {
        attempts = attempts.saturating_sub(1);
        let mut value = sent.clone();
        if let Some(prefix) = &generated {
            body::settle_names(&mut value, None, Some(&name_with_suffix(call, prefix)))?;
        }
        let mut parsed = body::parse(resource, value, validation, false)?;
        let writer = ownership::Write { resource, manager: &manager, status: false, now: call.now() };
        writer.settle(None, &mut parsed.object)?;
        match write(call, route, parsed, dry_run).await {
            Err(error) if error.reason == "AlreadyExists" && attempts > 0 => {}
            Err(error) => return Err(error),
            Ok((outcome, warnings)) => {
                let hidden = dry_run.then_some("");
                let answer = super::written(&renderer, &outcome, StatusCode::CREATED, hidden)?;
                return Ok(super::awaited::warned_of(call, response::warn(answer, &warnings), None, &outcome));
            }
        }
    }
}

async fn write(call: &Call, route: &ObjectsRoute, parsed: Parsed, dry_run: bool) -> ApiResult<(Outcome, Vec<String>)> {
    let Parsed { object, warnings } = parsed;
    let (name, message) = (object.metadata.name.clone(), super::message(call, "create", &object.key()));
    let write = Write::Put { object, expect: Expect::Absent };
    let outcomes = call.api.admission().write(call.caller()?, &message, vec![write], dry_run).await;
    let outcomes = outcomes.map_err(|error| super::refused::refused(route.resource, &name, &error))?;
    let outcome = outcomes.into_iter().next().ok_or_else(|| ApiError::internal("the record gave no answer"))?;
    Ok((outcome, warnings))
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn name_with_suffix(call: &Call, prefix: &str) -> String {
    let mut bytes = [0; SUFFIX_CHARACTERS];
    (call.api.admission().environment().random)(&mut bytes);
    let letters = bytes.iter().filter_map(|byte| SUFFIX_ALPHABET.get(usize::from(*byte) % SUFFIX_ALPHABET.len()));
    let kept = prefix.chars().take(NAME_BYTES_MAX.saturating_sub(SUFFIX_CHARACTERS));
    kept.chain(letters.map(|letter| char::from(*letter))).collect()
}
