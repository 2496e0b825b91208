//! What a write would make of an object, worked out before it is sent: for a proxy that signs what passes.
//!
//! It reads bodies and patches with the API's own code, so that what is signed is what the API would have written.

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use stead_model::{KindInfo, Object, ObjectKey};

use crate::body;
use crate::patch::Patch;
use crate::path::{ObjectsRoute, Route};
use crate::query::Query;
use crate::status::{ApiError, ApiResult};

/// What a request does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Makes it.
    Create,
    /// Replaces it.
    Update,
    /// Changes some of it.
    Patch,
    /// Removes it.
    Delete,
    /// Removes all that a selector finds.
    DeleteCollection,
}

/// A write of objects, by its method and path.
#[derive(Clone, Debug)]
pub struct Meaning {
    verb: Verb,
    route: ObjectsRoute,
    query: Query,
}

/// A refusal in the API's own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status code.
    pub code: u16,
    /// The `Status` document.
    pub status: Value,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { code: error.code.as_u16(), status: error.to_status() }
    }
}

impl Meaning {
    /// The write that a request is; none for what only reads, for `status`, and for what is no object.
    pub fn of(method: &Method, path: &str, query: &str) -> Option<Self> {
        let Ok(Route::Objects(route)) = Route::parse(path) else { return None };
        let verb = match (method, &route.name, &route.subresource) {
            (&Method::POST, None, None) => Verb::Create,
            (&Method::PUT, Some(_), None) => Verb::Update,
            (&Method::PATCH, Some(_), None) => Verb::Patch,
            (&Method::DELETE, Some(_), None) => Verb::Delete,
            (&Method::DELETE, None, None) => Verb::DeleteCollection,
            _ => return None,
        };
        let written = !route.resource.is_document() && !route.resource.info.read_only;
        let query = Query::parse(query).ok()?;
        written.then_some(Self { verb, route, query })
    }

    /// What it does.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// The kind that it writes.
    pub fn info(&self) -> &'static KindInfo {
        self.route.resource.info
    }

    /// The object that the path names; its name is empty where the body names it.
    pub fn key(&self) -> ObjectKey {
        let (namespace, name) = (self.route.namespace.as_deref(), self.route.name.as_deref());
        ObjectKey::new(self.info().group_kind(), namespace.unwrap_or_default(), name.unwrap_or_default())
    }

    /// Whether nothing is to be written. A deletion may say so in its body.
    ///
    /// # Errors
    ///
    /// [`Refusal`] for a value that the API does not take.
    pub fn dry_run(&self, headers: &HeaderMap, bytes: &[u8]) -> Result<bool, Refusal> {
        if self.verb == Verb::Delete && !bytes.is_empty() {
            let options = body::decode(headers, bytes)?;
            let given = options.get("dryRun").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            return Ok(crate::query::dry_run(&given.collect::<Vec<_>>())?);
        }
        Ok(self.query.dry_run()?)
    }

    /// The uid that a deletion is meant for, where it says one.
    ///
    /// # Errors
    ///
    /// [`Refusal`] for a body that cannot be read.
    pub fn expected_uid(&self, headers: &HeaderMap, bytes: &[u8]) -> Result<Option<String>, Refusal> {
        if self.verb != Verb::Delete || bytes.is_empty() {
            return Ok(None);
        }
        let options = body::decode(headers, bytes)?;
        Ok(options.pointer("/preconditions/uid").and_then(Value::as_str).map(str::to_owned))
    }

    /// The object as the write would leave it, and whether the client named the revision that it is meant for. `current` is the object
    /// as it is; a patch needs it.
    ///
    /// # Errors
    ///
    /// [`Refusal`], as the API would give it.
    pub fn object(&self, headers: &HeaderMap, bytes: &[u8], current: Option<&Value>) -> Result<(Object, bool), Refusal> {
        Ok(self.read(headers, bytes, current)?)
    }

    fn read(&self, headers: &HeaderMap, bytes: &[u8], current: Option<&Value>) -> ApiResult<(Object, bool)> {
        let resource = self.route.resource;
        let validation = self.query.field_validation(body::default_validation(resource))?;
        let patched = self.verb == Verb::Patch;
        if patched && crate::media::content_type(headers).is_some_and(|media_type| media_type.contains("apply-patch")) {
            // What it makes of an object hangs on who managed which field, and that is nothing that anybody signed.
            let why = "server-side apply is not signed by a proxy; use client-side apply";
            return Err(ApiError::new(http::StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", why));
        }
        let mut value = match (patched, current) {
            (true, Some(current)) => Patch::read(resource, headers, bytes)?.apply(current.clone())?,
            (true, None) => return Err(ApiError::not_found(resource, &self.key().name)),
            (false, _) => body::decode(headers, bytes)?,
        };
        body::settle_names(&mut value, self.route.namespace.as_deref(), self.route.name.as_deref())?;
        let names_revision = String::from_utf8_lossy(bytes).contains("resourceVersion");
        let object = body::parse(resource, value, validation, patched)?.object;
        if let (Some(current), true) = (current, names_revision) {
            let own = current.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
            if !object.metadata.resource_version.is_empty() && object.metadata.resource_version != own {
                return Err(ApiError::modified(resource, &object.metadata.name));
            }
        }
        Ok((object, names_revision))
    }

    /// The refusal of a write that a proxy does not sign.
    pub fn refused(&self, why: &str) -> Refusal {
        ApiError::forbidden(self.route.resource, &self.key().name, why).into()
    }

    /// How the API answers a deletion that is done.
    pub fn deleted(&self, uid: &str) -> Value {
        let details = json!({"name": self.key().name, "group": self.info().group, "kind": self.info().plural, "uid": uid});
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{CONTENT_TYPE, HeaderValue};

    const WEB: &str = "/apis/stead.dev/v1/profiles/web";

    fn headers(media_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))])
    }

    #[test]
    fn writes_are_told_from_the_rest() {
        let verb = |method: Method, path: &str| Meaning::of(&method, path, "").map(|meaning| meaning.verb());
        let profiles = "/apis/stead.dev/v1/profiles";
        assert_eq!(verb(Method::POST, profiles), Some(Verb::Create));
        assert_eq!(verb(Method::PUT, WEB), Some(Verb::Update));
        assert_eq!(verb(Method::PATCH, WEB), Some(Verb::Patch));
        assert_eq!(verb(Method::DELETE, WEB), Some(Verb::Delete));
        assert_eq!(verb(Method::DELETE, profiles), Some(Verb::DeleteCollection));
        for (method, path) in [
            (Method::GET, WEB),
            (Method::PUT, "/apis/stead.dev/v1/profiles/web/status"),
            (Method::POST, "/apis/stead.dev/v1/changes"),
            (Method::POST, "/stead/v1/sequences"),
            (Method::POST, "/apis"),
        ] {
            assert_eq!(verb(method, path), None, "{path}");
        }
    }

    #[test]
    fn a_patch_is_applied_as_the_api_applies_it() {
        let current = json!({
            "apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "web", "resourceVersion": "7"},
            "spec": {"selector": {}, "files": [{"path": "/a", "content": "1"}]},
        });
        let patch = Meaning::of(&Method::PATCH, WEB, "").unwrap();
        let merge = headers("application/merge-patch+json");
        let (object, named) =
            patch.object(&merge, br#"{"spec":{"files":[{"path":"/a","content":"2"}]}}"#, Some(&current)).unwrap();
        assert_eq!(object.spec()["files"][0]["content"], "2");
        assert!(!named);
        let stale = br#"{"metadata":{"resourceVersion":"6"},"spec":{"files":[]}}"#;
        assert_eq!(patch.object(&merge, stale, Some(&current)).unwrap_err().code, 409);
        assert_eq!(patch.object(&merge, br#"{"spec":{"fils":[]}}"#, Some(&current)).unwrap_err().code, 422);
        assert_eq!(patch.object(&merge, b"{}", None).unwrap_err().code, 404);
        let apply = patch.object(&headers("application/apply-patch+yaml"), b"{}", Some(&current)).unwrap_err();
        assert!(apply.code == 415 && apply.status["message"].as_str().unwrap().contains("client-side apply"), "{apply:?}");
        assert_eq!(patch.object(&headers("text/plain"), b"{}", Some(&current)).unwrap_err().code, 415);
    }
}
