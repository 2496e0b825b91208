//! Answers that need no record: health, version, discovery, OpenAPI, metrics.

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, LOCATION};
use serde_json::Value;

use crate::api::Call;
use crate::openapi::{self, Document, GNOSTIC_MEDIA_TYPE};
use crate::path::Route;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};
use crate::{discovery, media};

/// The OpenMetrics text format, as Prometheus asks for it.
const METRICS_MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves a document.
pub(crate) fn serve(call: &Call, route: &Route) -> ApiResult<Answer> {
    let found = |document: Option<Value>| {
        document.map(|document| response::json(StatusCode::OK, &document)).ok_or_else(ApiError::no_such_path)
    };
    match route {
        Route::Health => Ok(response::typed(StatusCode::OK, HeaderValue::from_static("text/plain; charset=utf-8"), "ok")),
        Route::Version => found(Some(discovery::version())),
        Route::CoreVersions => Ok(discovered(call, true)),
        Route::Groups => Ok(discovered(call, false)),
        Route::Group(group) => found(discovery::group(group)),
        Route::Resources { group, version } => found(discovery::resources(group, version)),
        Route::OpenApiV2 => {
            let gnostic = media::wants_gnostic(&call.headers);
            let document = openapi::v2(gnostic);
            let media_type = if gnostic { GNOSTIC_MEDIA_TYPE } else { "application/json" };
            Ok(tagged(&document, HeaderValue::from_static(media_type)))
        }
        Route::OpenApiV3 => found(Some(openapi::v3_index())),
        Route::OpenApiV3Document(path) => openapi_v3(call, path),
        Route::Metrics => Ok(metrics(call.api.fleet().metrics())),
        Route::MachineMetrics => Ok(metrics(call.api.fleet().machine_metrics())),
        Route::Stead(_) | Route::Objects(_) => Err(ApiError::no_such_path()),
    }
}

fn metrics(text: String) -> Answer {
    response::typed(StatusCode::OK, HeaderValue::from_static(METRICS_MEDIA_TYPE), text)
}

fn discovered(call: &Call, core: bool) -> Answer {
    let Some(version) = media::aggregated_discovery(&call.headers) else {
        let document = if core { discovery::core_versions() } else { discovery::groups() };
        return response::json(StatusCode::OK, &document);
    };
    let mut answer = response::json(StatusCode::OK, &discovery::aggregated(core, version));
    // Without these parameters a client takes the document for the older one and finds nothing in it.
    let media_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

fn tagged(document: &Document, media_type: HeaderValue) -> Answer {
    let mut answer = response::typed(StatusCode::OK, media_type, document.bytes.clone());
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", document.hash)) {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer
}

fn openapi_v3(call: &Call, path: &str) -> ApiResult<Answer> {
    let document = openapi::v3(path).ok_or_else(ApiError::no_such_path)?;
    let hash = call.query.get("hash");
    if hash.is_some_and(|hash| hash != document.hash) {
        let mut answer = response::json(StatusCode::MOVED_PERMANENTLY, &openapi::v3_index());
        if let Ok(place) = HeaderValue::from_str(&format!("/openapi/v3/{path}?hash={}", document.hash)) {
            answer.headers_mut().insert(LOCATION, place);
        }
        return Ok(answer);
    }
    let mut answer = tagged(&document, HeaderValue::from_static("application/json"));
    let cache = if hash.is_some() { "public, immutable, max-age=31536000" } else { "no-cache, private" };
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(answer)
}
