//! `/stead/v1/proposals…`: Changes that wait for signatures. They are read as objects, and written here alone.

use http::StatusCode;
use serde::Deserialize;
use stead_admission::WriteError;
use stead_model::Object;
use stead_trust::{Signature, Submission};

use crate::api::Call;
use crate::resource::Resource;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};

/// Signatures of one request: as many as one person has keys.
const SIGNATURES_MAX: usize = 32;

/// Takes a Change that waits for signatures.
pub(super) async fn propose(call: &Call) -> ApiResult<Answer> {
    let submission: Submission = serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::bad_request(format!("the body of the request is no signed change: {error}")))?;
    let proposed = call.api.admission().propose(call.caller()?, &submission, call.query.dry_run()?).await;
    let names = super::awaited::proposed(&proposed);
    Ok(super::awaited::warned(call, answer("", StatusCode::CREATED, proposed)?, &names))
}

/// Adds signatures to one, or takes it back: `NAME/sign`, `NAME/withdraw`.
pub(super) async fn act(call: &Call, path: &str) -> ApiResult<Answer> {
    match path.split_once('/') {
        Some((name, "sign")) => sign(call, name).await,
        Some((name, "withdraw")) => {
            let withdrawn = call.api.admission().withdraw_proposal(call.caller()?, name).await;
            answer(name, StatusCode::OK, withdrawn)
        }
        _ => Err(ApiError::no_such_path()),
    }
}

async fn sign(call: &Call, name: &str) -> ApiResult<Answer> {
    #[derive(Deserialize)]
    struct Signing {
        signatures: Vec<Signature>,
    }
    let signing: Signing = serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::bad_request(format!("the body of the request holds no signatures: {error}")))?;
    let count = signing.signatures.len();
    if count == 0 || count > SIGNATURES_MAX {
        return Err(ApiError::bad_request(format!("{count} signatures; expected 1 to {SIGNATURES_MAX}")));
    }
    let signed = call.api.admission().sign_proposal(call.caller()?, name, &signing.signatures).await;
    let names = super::awaited::proposed(&signed);
    Ok(super::awaited::warned(call, answer(name, StatusCode::OK, signed)?, &names))
}

fn answer(name: &str, code: StatusCode, proposal: Result<Object, WriteError>) -> ApiResult<Answer> {
    let resource = Resource::by_path(stead_model::GROUP, stead_model::VERSION, "proposals");
    let resource = resource.ok_or_else(|| ApiError::internal("there is no kind Proposal"))?;
    let proposal = proposal.map_err(|error| super::refused::refused(resource, name, &error))?;
    let value = serde_json::to_value(&proposal).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(response::json(code, &value))
}
