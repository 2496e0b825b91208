//! `/stead/v1/changes/REFERENCE` and `/stead/v1/entries`: a Change by what a person calls it, and what was signed of an object before.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use stead_admission::{bundle_of_change, change_object};
use stead_model::{GroupKind, ObjectKey, Revision};
use stead_store::{Change, ChangeReference, Entry};

use crate::api::Call;
use crate::body;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};

/// Entries of one question: a page of an object's history.
const ENTRIES_MAX: usize = 100;
/// Entries that are read from the record at once, so that large objects do not fill the memory.
const ENTRIES_AT_ONCE: usize = 8;
/// Bytes of an answer after which the rest is left for the next question.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The least characters of an id's beginning that name a Change: fewer mean a day of them.
const PREFIX_CHARACTERS_MIN: usize = 6;

/// The Change that a person means: its id, an unambiguous beginning of it, `rev:N`, `@` or `latest`.
pub(super) async fn change(call: &Call, reference: &str) -> ApiResult<Answer> {
    let change = find(call, reference).await?;
    let entries = call.api.admission().store().entries(change.revision).await.map_err(|error| unreadable(&error))?;
    let object = change_object(&change, &entries).map_err(|error| ApiError::internal(error.to_string()))?;
    let value = serde_json::to_value(&object).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(response::json(StatusCode::OK, &value))
}

async fn find(call: &Call, reference: &str) -> ApiResult<Change> {
    let store = call.api.admission().store();
    let none = |what: String| ApiError::new(StatusCode::NOT_FOUND, "NotFound", what);
    if matches!(reference, "@" | "latest") {
        let newest = store.changes(None, 1).await.map_err(|error| unreadable(&error))?;
        return newest.into_iter().next().ok_or_else(|| none("there is no change yet".to_owned()));
    }
    if let Some(number) = reference.strip_prefix("rev:") {
        let revision = number.parse().map(Revision);
        let revision = revision.map_err(|_| ApiError::bad_request(format!("{reference:?}: write rev: and a whole number")))?;
        let found = store.change(ChangeReference::Revision(revision)).await.map_err(|error| unreadable(&error))?;
        return found.ok_or_else(|| none(format!("revision {revision} is no signed change")));
    }
    let prefix = reference.to_ascii_uppercase();
    if prefix.len() < PREFIX_CHARACTERS_MIN || !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let expected = format!(
            "{reference:?} names no change: give its id, the first {PREFIX_CHARACTERS_MIN} or more characters of it, rev:N or latest"
        );
        return Err(ApiError::bad_request(expected));
    }
    let mut found = store.changes_named(&prefix, 2).await.map_err(|error| unreadable(&error))?;
    match (found.pop(), found.pop()) {
        (None, _) => Err(none(format!("no change is called {reference:?}"))),
        (Some(one), None) => Ok(one),
        (Some(one), Some(other)) => Err(ApiError::bad_request(format!(
            "{reference:?} is the beginning of several changes, such as {} and {}; give more of it",
            other.id.to_ascii_lowercase(),
            one.id.to_ascii_lowercase()
        ))),
    }
}

/// What was signed of some names at some sequences, each with all that it takes to check it. The answer may be shorter than the
/// question: the rest is to be asked for again.
pub(super) async fn entries(call: &Call) -> ApiResult<Answer> {
    let wanted = wanted(call)?;
    let mut answers: Vec<Value> = Vec::new();
    let mut bytes = 0_usize;
    for some in wanted.chunks(ENTRIES_AT_ONCE) {
        if bytes > ANSWER_BYTES_MAX {
            break;
        }
        let found = call.api.admission().store().entries_at(some.to_vec()).await.map_err(|error| unreadable(&error))?;
        let mut found: BTreeMap<(ObjectKey, u64), (Change, Entry)> =
            found.into_iter().map(|(change, entry)| ((entry.key.clone(), entry.sequence), (change, entry))).collect();
        for name in some {
            let Some((change, entry)) = found.remove(name) else {
                answers.push(Value::Null);
                continue;
            };
            bytes = bytes.saturating_add(change.statement.len()).saturating_add(entry.object.as_ref().map_or(0, Vec::len));
            answers.push(answer(&change, &entry)?);
        }
    }
    Ok(response::json(StatusCode::OK, &Value::Array(answers)))
}

fn wanted(call: &Call) -> ApiResult<Vec<(ObjectKey, u64)>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wanted {
        api_version: String,
        kind: String,
        #[serde(default)]
        namespace: String,
        name: String,
        sequence: u64,
    }
    let wanted: Vec<Wanted> = serde_json::from_value(body::json(&call.body)?).map_err(|error| {
        ApiError::bad_request(format!("expected a list of apiVersion, kind, namespace, name and sequence: {error}"))
    })?;
    if wanted.len() > ENTRIES_MAX {
        return Err(ApiError::too_large(format!("{} entries are asked for; {ENTRIES_MAX} is the limit", wanted.len())));
    }
    let key =
        |name: &Wanted| ObjectKey::new(GroupKind::from_api_version(&name.api_version, &name.kind), &name.namespace, &name.name);
    Ok(wanted.iter().map(|name| (key(name), name.sequence)).collect())
}

fn answer(change: &Change, entry: &Entry) -> ApiResult<Value> {
    let bundle = bundle_of_change(change, std::slice::from_ref(entry)).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(json!({
        "change": change.id.to_ascii_lowercase(),
        "revision": change.revision.0,
        "admitted": crate::instant::spell(change.time, false),
        "bundle": bundle,
    }))
}

fn unreadable(error: &impl std::fmt::Display) -> ApiError {
    ApiError::unavailable(error.to_string())
}
