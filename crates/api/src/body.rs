//! Bodies of requests, as JSON whatever they came as, and as objects that fit their kind.

use http::HeaderMap;
use serde_json::{Map, Value};
use stead_model::{Cause, CauseReason, Object};

use crate::instant;
use crate::media::{self, Encoding};
use crate::protobuf;
use crate::query::FieldValidation;
use crate::resource::Resource;
use crate::shape;
use crate::status::{ApiError, ApiResult};

/// An object that came in, and what the client is to be warned of.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) object: Object,
    pub(crate) warnings: Vec<String>,
}

/// Reads the body of a create, an update or a deletion.
pub(crate) fn decode(headers: &HeaderMap, body: &[u8]) -> ApiResult<Value> {
    decode_as(media::encoding(headers)?, body)
}

fn decode_as(encoding: Encoding, body: &[u8]) -> ApiResult<Value> {
    match encoding {
        Encoding::Json => json(body),
        Encoding::Yaml => yaml(body),
        Encoding::Protobuf => protobuf::decode(body).map_err(|error| ApiError::bad_request(error.to_string())),
    }
}

/// Reads JSON.
pub(crate) fn json(body: &[u8]) -> ApiResult<Value> {
    let read = serde_json::from_slice(body).map_err(|error| match error.to_string() {
        // The parser's own bound is beyond ours.
        message if message.starts_with("recursion limit") => shape::too_deep(),
        message => ApiError::bad_request(format!("the body of the request is no JSON: {message}")),
    })?;
    shape::check(&read)?;
    Ok(read)
}

/// Reads one YAML document; aliases are bounded by the parser's budget.
pub(crate) fn yaml(body: &[u8]) -> ApiResult<Value> {
    // `y` and `off` are names, as Kubernetes' own reader has it.
    let options = serde_saphyr::options! { strict_booleans: true };
    let read = serde_saphyr::from_slice_with_options(body, options).map_err(|error| match error.to_string() {
        message if message.contains("budget breached: Depth") => shape::too_deep(),
        message => ApiError::bad_request(format!("the body of the request is no YAML: {message}")),
    })?;
    shape::check(&read)?;
    Ok(read)
}

/// The body as an object's members.
pub(crate) fn object(value: Value) -> ApiResult<Map<String, Value>> {
    match value {
        Value::Object(members) => Ok(members),
        other => Err(ApiError::bad_request(format!("the body of the request is no object: {}", shown(&other)))),
    }
}

fn shown(value: &Value) -> String {
    /// Enough to recognise the value by.
    const SHOWN_CHARACTERS_MAX: usize = 60;
    value.to_string().chars().take(SHOWN_CHARACTERS_MAX).collect()
}

/// Without a word from the client: our own kinds are refused whole rather than taken in part; Kubernetes' own are warned about.
pub(crate) fn default_validation(resource: Resource) -> FieldValidation {
    if resource.takes_strategic_patch() { FieldValidation::Warn } else { FieldValidation::Strict }
}

/// Reads a whole object as its kind. `patched` says that it came out of a patch, whose errors Kubernetes words otherwise.
pub(crate) fn parse(resource: Resource, value: Value, validation: FieldValidation, patched: bool) -> ApiResult<Parsed> {
    let mut value = resource.into_stored(value);
    if resource.takes_strategic_patch() {
        instant::normalise(&mut value);
    }
    check_type(resource, &value)?;
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = resource.info.group_kind();
    let parsed = resource.info.parse_lenient(value);
    let (object, unknown) = parsed.map_err(|error| ApiError::invalid(&kind, &name, error.causes()))?;
    let sentences: Vec<String> = unknown.iter().map(|cause| format!("unknown field {:?}", cause.path)).collect();
    match validation {
        _ if unknown.is_empty() => Ok(Parsed { object, warnings: Vec::new() }),
        FieldValidation::Ignore => Ok(Parsed { object, warnings: Vec::new() }),
        FieldValidation::Warn => Ok(Parsed { object, warnings: sentences }),
        FieldValidation::Strict if patched => Err(ApiError::invalid(&kind, &name, &unknown)),
        FieldValidation::Strict => {
            let (kind, version) = (resource.info.kind, resource.version);
            let message = format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
                sentences.join(", ")
            );
            Err(ApiError::bad_request(message).with_causes(&unknown))
        }
    }
}

pub(crate) fn check_type(resource: Resource, value: &Value) -> ApiResult<()> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let expected = resource.info.api_version();
    if text("apiVersion") == expected && text("kind") == resource.info.kind {
        return Ok(());
    }
    let message = format!(
        "the object provided is {} of {}, and this path serves {} of {}",
        text("kind"),
        text("apiVersion"),
        resource.info.kind,
        resource.api_version()
    );
    let field = if text("apiVersion") == expected { "kind" } else { "apiVersion" };
    let cause = Cause::new(field, CauseReason::Invalid, format!("Invalid value: {:?}", text(field)));
    Err(ApiError::bad_request(message).with_causes(&[cause]))
}

/// Makes the body's name and namespace those of the path; where it says others, it is refused.
pub(crate) fn settle_names(value: &mut Value, namespace: Option<&str>, name: Option<&str>) -> ApiResult<()> {
    let Some(members) = value.as_object_mut() else {
        return Err(ApiError::bad_request("the body of the request is no object"));
    };
    let metadata = members.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    let Some(metadata) = metadata.as_object_mut() else {
        return Err(ApiError::bad_request("metadata is no object"));
    };
    if let Some(name) = name {
        let given = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
        if !given.is_empty() && given != name {
            let message = format!("the name of the object ({given}) does not match the name on the URL ({name})");
            return Err(ApiError::bad_request(message));
        }
        metadata.insert("name".to_owned(), name.into());
    }
    let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    match namespace {
        Some(namespace) if given.is_empty() => {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        Some(namespace) if given != namespace => {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn profiles() -> Resource {
        Resource::by_path("stead.dev", "v1", "profiles").unwrap()
    }

    #[test]
    fn unknown_fields_are_refused_warned_of_or_dropped() {
        let sent = json!({"metadata": {"name": "web"}, "spec": {"selector": {}, "bog": 1}});
        let strict = parse(profiles(), sent.clone(), FieldValidation::Strict, false).unwrap_err();
        assert_eq!(
            strict.message,
            "Profile in version \"v1\" cannot be handled as a Profile: strict decoding error: unknown field \"spec.bog\""
        );
        assert_eq!(strict.code.as_u16(), 400);
        assert_eq!(parse(profiles(), sent.clone(), FieldValidation::Strict, true).unwrap_err().code.as_u16(), 422);
        let warned = parse(profiles(), sent.clone(), FieldValidation::Warn, false).unwrap();
        assert_eq!(warned.warnings, ["unknown field \"spec.bog\""]);
        assert_eq!(warned.object.spec(), &json!({"selector": {}}));
        assert!(parse(profiles(), sent, FieldValidation::Ignore, false).unwrap().warnings.is_empty());
    }

    #[test]
    fn yaml_is_taken_as_well() {
        let value = yaml(b"metadata:\n  name: y\nspec:\n  selector: {}\n").unwrap();
        assert_eq!(value, json!({"metadata": {"name": "y"}, "spec": {"selector": {}}}));
        assert!(yaml(b"a: [").is_err());
    }

    #[test]
    fn names_come_from_the_path() {
        let mut value = json!({"metadata": null});
        settle_names(&mut value, Some("a"), Some("n")).unwrap();
        assert_eq!(value, json!({"metadata": {"name": "n", "namespace": "a"}}));
        for (namespace, name) in [(Some("b"), None), (None, Some("m"))] {
            assert_eq!(settle_names(&mut value, namespace, name).unwrap_err().code.as_u16(), 400);
        }
    }

    #[test]
    fn another_kind_than_the_path_is_refused() {
        let sent = json!({"apiVersion": "stead.dev/v1", "kind": "Machine", "metadata": {"name": "web"}});
        assert_eq!(parse(profiles(), sent, FieldValidation::Strict, false).unwrap_err().code.as_u16(), 400);
    }
}
