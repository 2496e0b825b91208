//! Content negotiation: in which form a client wants its answer, and in which its request is.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

use crate::status::{ApiError, ApiResult};

/// Media types in one `Accept`: kubectl sends three.
const ACCEPTED_TYPES_MAX: usize = 32;

/// What an answer that carries objects looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// The objects.
    Object,
    /// A `Table`.
    Table,
    /// Only their metadata.
    Metadata,
}

/// How a request's body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

/// One media type with its parameters, as a header lists them.
struct MediaType<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> MediaType<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let parameters = parts.filter_map(|part| part.split_once('=')).map(|(name, value)| (name.trim(), value.trim())).collect();
        Self { name, parameters }
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn is_json(&self) -> bool {
        ["application/json", "application/*", "*/*"].iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }
}

fn accepted(headers: &HeaderMap) -> Vec<MediaType<'_>> {
    let values = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .take(ACCEPTED_TYPES_MAX)
        .map(MediaType::parse)
        .collect()
}

/// The first form in `Accept` that is served. Without the header it is the plain object.
pub(crate) fn form(headers: &HeaderMap) -> ApiResult<Form> {
    let accepted = accepted(headers);
    if accepted.is_empty() {
        return Ok(Form::Object);
    }
    let form = accepted.iter().find_map(|media| match (media.is_json(), media.parameter("as")) {
        (true, None) => Some(Form::Object),
        (true, Some(form)) if media.parameter("g") == Some("meta.k8s.io") && media.parameter("v") == Some("v1") => match form {
            "Table" => Some(Form::Table),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Form::Metadata),
            _ => None,
        },
        _ => None,
    });
    form.ok_or_else(ApiError::not_acceptable)
}

/// The version of aggregated discovery that the client prefers to the older documents, if any.
pub(crate) fn aggregated_discovery(headers: &HeaderMap) -> Option<&'static str> {
    accepted(headers).iter().find_map(|media| {
        let wanted = media.is_json() && media.parameter("as") == Some("APIGroupDiscoveryList");
        match media.parameter("v") {
            Some("v2") if wanted => Some("v2"),
            Some("v2beta1") if wanted => Some("v2beta1"),
            _ => None,
        }
    })
}

/// Whether the client asks for OpenAPI v2 in gnostic's protobuf.
pub(crate) fn wants_gnostic(headers: &HeaderMap) -> bool {
    accepted(headers).iter().any(|media| media.name.starts_with("application/com.github.proto-openapi.spec.v2"))
}

/// The media type of the body, lowercase, without parameters; `None` where the client does not say.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let name = MediaType::parse(value).name.to_ascii_lowercase();
    (!name.is_empty()).then_some(name)
}

/// How the body of a create, an update or a deletion is written. Some clients leave the header out and send JSON.
pub(crate) fn encoding(headers: &HeaderMap) -> ApiResult<Encoding> {
    match content_type(headers).as_deref() {
        None | Some("application/json") => Ok(Encoding::Json),
        Some("application/yaml" | "application/x-yaml" | "text/yaml") => Ok(Encoding::Yaml),
        Some("application/vnd.kubernetes.protobuf") => Ok(Encoding::Protobuf),
        Some(_) => {
            Err(ApiError::unsupported_media_type("application/json, application/yaml, application/vnd.kubernetes.protobuf"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, value.parse().unwrap())])
    }

    #[test]
    fn the_first_form_that_is_served_wins() {
        for (value, expected) in [
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Some(Form::Table),
            ),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Some(Form::Object)),
            ("application/vnd.kubernetes.protobuf,application/json", Some(Form::Object)),
            ("application/vnd.kubernetes.protobuf", None),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Form::Metadata)),
            ("application/json, */*;q=0.8", Some(Form::Object)),
            ("*/*", Some(Form::Object)),
            ("text/html", None),
        ] {
            assert_eq!(form(&accept(value)).ok(), expected, "{value}");
        }
        assert_eq!(form(&HeaderMap::new()).unwrap(), Form::Object);
    }

    #[test]
    fn aggregated_discovery_is_asked_for_by_version() {
        let newer = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(aggregated_discovery(&accept(newer)), Some("v2"));
        let older = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(aggregated_discovery(&accept(older)), Some("v2beta1"));
        assert_eq!(aggregated_discovery(&accept("application/json, */*")), None);
    }
}
