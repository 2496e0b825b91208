//! `/stead/v1/…`: login, the fleet's trust roots, how the coordinator is doing, sequences to sign for, what was signed before, tickets
//! and plans.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use stead_admission::FRESHNESS_LEASE;
use stead_model::{GroupKind, ObjectKey};
use stead_trust::{SignedFreshness, SignedLogin};

use crate::api::Call;
use crate::body;
use crate::resource::Resource;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};

/// Names of one question for sequences: as many as one Change has entries.
const SEQUENCES_MAX: usize = 10_000;

/// Serves what Kubernetes has no word for.
pub(crate) async fn serve(call: Call, path: &str) -> ApiResult<Answer> {
    match (&call.method, path) {
        (&Method::GET, "login") => challenge(&call),
        (&Method::POST, "login") => login(&call),
        (&Method::GET, "fleet") => Ok(fleet(&call)),
        (&Method::GET, "status") => Ok(response::json(StatusCode::OK, &call.api.fleet().status())),
        (&Method::GET, "pulse") => {
            Ok(response::json(StatusCode::OK, &call.api.fleet().pulse(&call.query.list_options()?.labels)))
        }
        (&Method::POST, "sequences") => sequences(&call),
        (&Method::POST, "ticket") => {
            let answer = call.api.fleet().ticket(body::json(&call.body)?).await;
            answered(answer)
        }
        (&Method::POST, "plan") => {
            let request = body::json(&call.body)?;
            let names = planned(&request);
            let answer = call.api.fleet().plan(request).await;
            Ok(super::awaited::warned(&call, answered(answer)?, &names))
        }
        (&Method::POST, "entries") => super::history::entries(&call).await,
        (&Method::GET, path) if path.starts_with("changes/") => {
            super::history::change(&call, path.trim_start_matches("changes/")).await
        }
        (&Method::POST, "freshness") => freshness(&call).await,
        (&Method::POST, "proposals") => super::proposals::propose(&call).await,
        (&Method::POST, path) if path.starts_with("proposals/") => {
            super::proposals::act(&call, path.trim_start_matches("proposals/")).await
        }
        (_, "entries" | "freshness" | "proposals" | "login" | "fleet" | "status" | "pulse" | "sequences" | "ticket" | "plan") => {
            Err(ApiError::method_not_allowed())
        }
        _ => Err(ApiError::no_such_path()),
    }
}

fn answered(answer: Result<Value, String>) -> ApiResult<Answer> {
    answer.map(|value| response::json(StatusCode::OK, &value)).map_err(ApiError::bad_request)
}

/// The names that whoever asks for plans is about to write.
fn planned(request: &Value) -> Vec<ObjectKey> {
    let list = |name: &str| request.get(name).and_then(Value::as_array).into_iter().flatten();
    let put = list("put").filter_map(|object| object.pointer("/metadata/name"));
    let profile = |name: &str| ObjectKey::new(GroupKind::new(stead_model::GROUP, "Profile"), "", name);
    put.chain(list("delete")).filter_map(Value::as_str).map(profile).collect()
}

/// What a client signs to log in.
fn challenge(call: &Call) -> ApiResult<Answer> {
    let admission = call.api.admission();
    let mut random = [0; 8];
    (admission.environment().random)(&mut random);
    let nonce = call.api.nonces().give(random, call.now());
    let time = crate::instant::spell(call.now(), false);
    let value = json!({"fleet": admission.fleet(), "coordinator": admission.online_key(), "nonce": nonce, "time": time});
    Ok(response::json(StatusCode::OK, &value))
}

/// Checks what the client signed, and gives it a token.
fn login(call: &Call) -> ApiResult<Answer> {
    #[derive(Deserialize)]
    struct Claim {
        nonce: String,
    }
    let signed: SignedLogin = serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::bad_request(format!("the body of the request is no signed login: {error}")))?;
    let admission = call.api.admission();
    let refused = |message: String| ApiError::unauthorized(format!("Unauthorized: {message}"));
    // The nonce says only which challenge is answered; that it was signed is checked below.
    let claim: Claim = serde_json::from_slice(&signed.document).map_err(|error| refused(format!("the login: {error}")))?;
    let stale = || refused("the login's nonce is none of this coordinator's, was used, or is too old; log in again".to_owned());
    if !call.api.nonces().is_fresh(&claim.nonce, call.now()) {
        return Err(stale());
    }
    let presence = admission.root().user_presence();
    let key = signed
        .verify(&admission.fleet(), admission.online_key(), &claim.nonce, call.now(), presence)
        .map_err(|error| refused(error.to_string()))?;
    if !admission.is_owner(&key) {
        return Err(refused(format!("the trust root names no owner with the key {}", key.fingerprint())));
    }
    if !call.api.nonces().use_up(&claim.nonce, call.now()) {
        return Err(stale());
    }
    let issued = call.api.issue_token(&key);
    let (token, until) = issued.map_err(|error| ApiError::internal(error.to_string()))?;
    tracing::info!(key = %key.fingerprint(), "login");
    Ok(response::json(StatusCode::OK, &json!({"token": token, "expirationTimestamp": crate::instant::spell(until, false)})))
}

/// Who this fleet is, for whoever asks: all of it is signed or public.
fn fleet(call: &Call) -> Answer {
    let admission = call.api.admission();
    let chain = admission.chain();
    let value = json!({
        "fleet": admission.fleet(), "coordinator": admission.online_key(), "roots": chain.signed(),
        "freshness": admission.freshness().map(|(signed, _)| signed),
    });
    response::json(StatusCode::OK, &value)
}

/// Takes an owner's word that the owners are there.
async fn freshness(call: &Call) -> ApiResult<Answer> {
    let signed: SignedFreshness = serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::bad_request(format!("the body of the request is no freshness statement: {error}")))?;
    let resource = Resource::by_path("coordination.k8s.io", "v1", "leases");
    let resource = resource.ok_or_else(|| ApiError::internal("there is no kind Lease"))?;
    let taken = call.api.admission().submit_freshness(&signed).await;
    let fresh = taken.map_err(|error| super::refused::refused(resource, FRESHNESS_LEASE, &error))?;
    tracing::info!(author = %fresh.author.fingerprint(), time = %fresh.time, "the owners are there");
    Ok(response::json(
        StatusCode::CREATED,
        &json!({"author": fresh.author, "time": fresh.time, "rootVersion": fresh.root_version}),
    ))
}

/// How far the signed changes of some names have come.
fn sequences(call: &Call) -> ApiResult<Answer> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Name {
        api_version: String,
        kind: String,
        #[serde(default)]
        namespace: String,
        name: String,
    }
    let names: Vec<Name> = serde_json::from_value(body::json(&call.body)?)
        .map_err(|error| ApiError::bad_request(format!("expected a list of apiVersion, kind, namespace and name: {error}")))?;
    if names.len() > SEQUENCES_MAX {
        return Err(ApiError::too_large(format!("{} names are asked for; {SEQUENCES_MAX} is the limit", names.len())));
    }
    let snapshot = call.api.admission().store().snapshot();
    let key =
        |name: &Name| ObjectKey::new(GroupKind::from_api_version(&name.api_version, &name.kind), &name.namespace, &name.name);
    let keys: Vec<ObjectKey> = names.iter().map(key).collect();
    let answers: Vec<Value> = names
        .into_iter()
        .zip(&keys)
        .map(|(name, key)| {
            let sequence = snapshot.sequence(key);
            json!({
                "apiVersion": name.api_version, "kind": name.kind, "namespace": name.namespace, "name": name.name,
                "sequence": sequence.map_or(0, |sequence| sequence.sequence),
                "deleted": sequence.is_some_and(|sequence| sequence.deleted),
            })
        })
        .collect();
    // Whoever asks this is about to sign, perhaps.
    Ok(super::awaited::warned(call, response::json(StatusCode::OK, &Value::Array(answers)), &keys))
}
