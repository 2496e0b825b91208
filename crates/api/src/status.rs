//! `Status`: how every refusal looks, in the words that Kubernetes' clients know.

use http::StatusCode;
use serde_json::{Map, Value, json};
use stead_model::{Cause, GroupKind};

use crate::resource::Resource;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) code: StatusCode,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Map<String, Value>,
    /// Where a list can go on that cannot go on as it was.
    pub(crate) continue_token: Option<String>,
}

/// The result of whatever serves a request.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Map::new(), continue_token: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// No such path.
    pub(crate) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    /// No such object.
    pub(crate) fn not_found(resource: Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified_plural());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(resource, name)
    }

    pub(crate) fn already_exists(resource: Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified_plural());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(resource, name)
    }

    pub(crate) fn conflict(resource: Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified_plural());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name)
    }

    /// Optimistic concurrency: somebody else was first.
    pub(crate) fn modified(resource: Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// Fields of an object that are wrong.
    pub(crate) fn invalid(kind: &GroupKind, name: &str, causes: &[Cause]) -> Self {
        let sentences: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.path, cause.message)).collect();
        let message = match sentences.as_slice() {
            [one] => format!("{kind} {name:?} is invalid: {one}"),
            several => format!("{kind} {name:?} is invalid: [{}]", several.join(", ")),
        };
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with_causes(causes);
        error.name_kind(kind.group(), kind.kind(), name);
        error
    }

    /// One field of the request's options that is wrong.
    pub(crate) fn invalid_option(field: &str, message: &str) -> Self {
        let kind = GroupKind::new("meta.k8s.io", "Options");
        Self::invalid(&kind, "", &[Cause::new(field, stead_model::CauseReason::Invalid, message)])
    }

    pub(crate) fn forbidden(resource: Resource, name: &str, why: &str) -> Self {
        // A submission has no name yet; kubectl's sentence is for objects that have one.
        let subject =
            if name.is_empty() { resource.qualified_plural() } else { format!("{} {name:?}", resource.qualified_plural()) };
        let message = format!("{subject} is forbidden: {why}");
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(resource, name)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub(crate) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// A JSON patch that does not apply.
    pub(crate) fn patch_rejected(message: &str) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            format!("the server rejected our request due to an error in our request: {message}"),
        )
    }

    /// What the client holds on to is no longer kept.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub(crate) fn too_many(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).retry_after(1)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message).retry_after(1)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// Names the object in the details, by its plural.
    pub(crate) fn about(mut self, resource: Resource, name: &str) -> Self {
        self.name_kind(resource.group, resource.info.plural, name);
        self
    }

    fn name_kind(&mut self, group: &str, kind: &str, name: &str) {
        for (field, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                self.details.insert(field.to_owned(), value.into());
            }
        }
    }

    pub(crate) fn with_causes(self, causes: &[Cause]) -> Self {
        let causes =
            causes.iter().map(|cause| json!({"reason": cause.reason.as_str(), "message": cause.message, "field": cause.path}));
        self.with_raw_causes(causes.collect())
    }

    pub(crate) fn with_raw_causes(mut self, causes: Vec<Value>) -> Self {
        self.details.insert("causes".to_owned(), Value::Array(causes));
        self
    }

    /// Names the limit that was passed, so that a program need not read the sentence.
    pub(crate) fn past(self, limit: &str) -> Self {
        let cause = json!({"reason": "LimitExceeded", "message": self.message, "field": limit});
        self.with_raw_causes(vec![cause])
    }

    pub(crate) fn continue_with(mut self, token: String) -> Self {
        self.continue_token = Some(token);
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.details.insert("retryAfterSeconds".to_owned(), seconds.into());
        self
    }

    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        self.details.get("retryAfterSeconds").and_then(Value::as_u64)
    }

    /// The body: what a client prints, and what an `ERROR` event of a watch carries.
    pub(crate) fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code.as_u16(),
        });
        if let (false, Some(members)) = (self.details.is_empty(), status.as_object_mut()) {
            members.insert("details".to_owned(), Value::Object(self.details.clone()));
        }
        if let (Some(token), Some(metadata)) = (&self.continue_token, status.get_mut("metadata")) {
            *metadata = json!({"continue": token});
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::CauseReason;

    #[test]
    fn a_status_names_itself_and_the_field() {
        let cause = Cause::new("spec.files[0].path", CauseReason::Required, "Required value");
        let status = ApiError::invalid(&GroupKind::new("stead.dev", "Profile"), "web", &[cause]).to_status();
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["apiVersion"], "v1");
        assert_eq!(status["message"], "Profile.stead.dev \"web\" is invalid: spec.files[0].path: Required value");
        assert_eq!(status["details"]["causes"][0]["field"], "spec.files[0].path");
        assert_eq!(status["details"]["kind"], "Profile");
        assert_eq!(status["code"], 422);
    }

    #[test]
    fn the_plural_names_what_is_not_there() {
        let resource = Resource::by_path("", "v1", "namespaces").unwrap();
        let status = ApiError::not_found(resource, "x").to_status();
        assert_eq!(status["message"], "namespaces \"x\" not found");
        assert_eq!(status["details"], json!({"name": "x", "kind": "namespaces"}));
    }
}
