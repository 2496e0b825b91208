//! Reviews: who asks, and what they may do. Answered from the trust root, never stored.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use stead_admission::Caller;
use stead_model::{
    AccessQuestion, Cause, CauseReason, RulesAnswer, SelfSubjectAccessReview, SelfSubjectAnswer, SelfSubjectReview,
    SelfSubjectRulesReview, UserInfo,
};
use stead_trust::Root;

use crate::api::Call;
use crate::path::ObjectsRoute;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};
use crate::{access, body};

/// Answers a review.
pub(super) fn serve(call: &Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    if route.name.is_some() {
        return Err(ApiError::no_such_path());
    }
    if call.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    crate::media::form(&call.headers)?;
    call.query.dry_run()?;
    let resource = route.resource;
    let mut sent = body::object(resource.into_stored(body::decode(&call.headers, &call.body)?))?;
    body::check_type(resource, &Value::Object(sent.clone()))?;
    let root = call.api.admission().root();
    let status = match resource.info.kind {
        "SelfSubjectAccessReview" => {
            let review: SelfSubjectAccessReview = read(&sent)?;
            check(&review.spec, call, route)?;
            let key = call.caller()?.key.as_ref();
            json!(access::answer(&root, key, &review.spec))
        }
        "SelfSubjectRulesReview" => {
            let _: SelfSubjectRulesReview = read(&sent)?;
            let (resource_rules, non_resource_rules) = access::rules(&root);
            json!(RulesAnswer { resource_rules, non_resource_rules, incomplete: false })
        }
        _ => {
            let _: SelfSubjectReview = read(&sent)?;
            json!(SelfSubjectAnswer { user_info: user(call.caller()?, &root) })
        }
    };
    sent.insert("status".to_owned(), status);
    Ok(response::json(StatusCode::CREATED, &Value::Object(sent)))
}

fn read<T: serde::de::DeserializeOwned>(sent: &Map<String, Value>) -> ApiResult<T> {
    let mut sent = sent.clone();
    // What clients write there (a null time, an empty answer) says nothing.
    sent.retain(|name, _| name != "metadata" && name != "status");
    sent.retain(|_, member| !member.is_null());
    serde_json::from_value(Value::Object(sent))
        .map_err(|error| ApiError::bad_request(format!("the body of the request is no review: {error}")))
}

fn check(question: &AccessQuestion, call: &Call, route: &ObjectsRoute) -> ApiResult<()> {
    call.caller()?;
    if question.resource_attributes.is_some() != question.non_resource_attributes.is_some() {
        return Ok(());
    }
    let message = "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified";
    let cause = Cause::new("spec.resourceAttributes", CauseReason::Invalid, message);
    Err(ApiError::invalid(&route.resource.info.group_kind(), "", &[cause]))
}

/// A caller as Kubernetes shows one. A key is a name, and the roles it has are its groups.
fn user(caller: &Caller, root: &Root) -> UserInfo {
    let mut user = UserInfo { username: caller.name.clone(), uid: caller.name.clone(), ..UserInfo::default() };
    let Some(key) = &caller.key else { return user };
    if root.owners.keys.contains(key) {
        user.groups.push("stead.dev:owners".to_owned());
    }
    let roles = root.roles.iter().filter(|role| role.keys.contains(key));
    user.groups.extend(roles.map(|role| format!("stead.dev:role:{}", role.name)));
    user.groups.push("system:authenticated".to_owned());
    user.extra.insert("stead.dev/key".to_owned(), vec![key.to_string()]);
    user
}
