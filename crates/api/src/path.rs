//! What a path names.

use crate::query::decode;
use crate::resource::Resource;
use crate::status::{ApiError, ApiResult};

/// What a path names.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    Health,
    Version,
    CoreVersions,
    Groups,
    Group(String),
    Resources {
        group: String,
        version: String,
    },
    OpenApiV2,
    OpenApiV3,
    OpenApiV3Document(String),
    Metrics,
    /// The metrics of each machine.
    MachineMetrics,
    /// `/stead/v1/…`: what Kubernetes has no word for.
    Stead(String),
    Objects(ObjectsRoute),
}

/// A collection, an object in it, or a part of that.
#[derive(Clone, Debug)]
pub(crate) struct ObjectsRoute {
    pub(crate) resource: Resource,
    /// `None` for kinds of cluster scope, and for all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Route {
    /// Reads a path; a trailing slash changes nothing.
    pub(crate) fn parse(path: &str) -> ApiResult<Self> {
        let parts = path.split('/').filter(|part| !part.is_empty()).map(decode).collect::<ApiResult<Vec<_>>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["healthz" | "livez" | "readyz", ..] => Ok(Self::Health),
            ["version"] => Ok(Self::Version),
            ["metrics"] => Ok(Self::Metrics),
            ["metrics", "machines"] => Ok(Self::MachineMetrics),
            ["api"] => Ok(Self::CoreVersions),
            ["apis"] => Ok(Self::Groups),
            ["api", version] => Ok(Self::Resources { group: String::new(), version: (*version).to_owned() }),
            ["apis", group] => Ok(Self::Group((*group).to_owned())),
            ["apis", group, version] => Ok(Self::Resources { group: (*group).to_owned(), version: (*version).to_owned() }),
            ["openapi", "v2"] => Ok(Self::OpenApiV2),
            ["openapi", "v3"] => Ok(Self::OpenApiV3),
            ["openapi", "v3", rest @ ..] => Ok(Self::OpenApiV3Document(rest.join("/"))),
            ["stead", "v1", rest @ ..] => Ok(Self::Stead(rest.join("/"))),
            ["api", version, rest @ ..] => objects("", version, rest),
            ["apis", group, version, rest @ ..] => objects(group, version, rest),
            _ => Err(ApiError::no_such_path()),
        }
    }

    /// Whether everybody may ask: what a client needs before it can log in.
    pub(crate) fn is_anonymous(&self) -> bool {
        match self {
            Self::Objects(_) | Self::Metrics | Self::MachineMetrics => false,
            Self::Stead(path) => matches!(path.as_str(), "login" | "fleet"),
            _ => true,
        }
    }
}

fn objects(group: &str, version: &str, parts: &[&str]) -> ApiResult<Route> {
    let resource = |plural: &str| Resource::by_path(group, version, plural);
    let (namespace, rest) = match parts {
        // A namespace's own parts (`status`, `finalize`) have no resource of that name.
        ["namespaces", namespace, plural, rest @ ..] if resource(plural).is_some_and(|found| found.info.namespaced) => {
            (Some((*namespace).to_owned()), (*plural, rest))
        }
        [plural, rest @ ..] => (None, (*plural, rest)),
        [] => return Err(ApiError::no_such_path()),
    };
    let (plural, rest) = rest;
    let resource = resource(plural).ok_or_else(ApiError::no_such_path)?;
    let (name, subresource) = match rest {
        [] => (None, None),
        [name] => (Some((*name).to_owned()), None),
        [name, subresource] => (Some((*name).to_owned()), Some((*subresource).to_owned())),
        _ => return Err(ApiError::no_such_path()),
    };
    if name.is_some() && resource.info.namespaced && namespace.is_none() {
        return Err(ApiError::no_such_path());
    }
    Ok(Route::Objects(ObjectsRoute { resource, namespace, name, subresource }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_objects() {
        let cases = [
            ("/api/v1/namespaces", Some(("namespaces", None, None, None))),
            ("/api/v1/namespaces/a", Some(("namespaces", None, Some("a"), None))),
            ("/api/v1/namespaces/a/status", Some(("namespaces", None, Some("a"), Some("status")))),
            ("/api/v1/namespaces/a/events", Some(("events", Some("a"), None, None))),
            ("/api/v1/namespaces/a/events/e", Some(("events", Some("a"), Some("e"), None))),
            ("/api/v1/events", Some(("events", None, None, None))),
            ("/api/v1/events/e", None),
            ("/apis/stead.dev/v1/machines/m%31/status", Some(("machines", None, Some("m1"), Some("status")))),
            ("/apis/stead.dev/v1/namespaces/a/machines", None),
            ("/apis/stead.dev/v2/machines", None),
            ("/apis/stead.dev/v1/nothing", None),
            ("/apis/coordination.k8s.io/v1/namespaces/x/leases/", Some(("leases", Some("x"), None, None))),
        ];
        for (path, expected) in cases {
            let found = match Route::parse(path) {
                Ok(Route::Objects(route)) => Some((route.resource.info.plural, route.namespace, route.name, route.subresource)),
                Ok(other) => panic!("{path}: {other:?}"),
                Err(_) => None,
            };
            let expected = expected.map(|(plural, namespace, name, subresource)| {
                (plural, namespace.map(str::to_owned), name.map(str::to_owned), subresource.map(str::to_owned))
            });
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn documents_are_anonymous_and_objects_are_not() {
        for path in
            ["/version", "/version/", "/api", "/apis/", "/apis/stead.dev/v1", "/openapi/v3/apis/stead.dev/v1", "/stead/v1/login"]
        {
            assert!(Route::parse(path).unwrap().is_anonymous(), "{path}");
        }
        for path in ["/api/v1/namespaces", "/stead/v1/ticket", "/metrics", "/metrics/machines", "/apis/stead.dev/v1/machines/a"] {
            assert!(!Route::parse(path).unwrap().is_anonymous(), "{path}");
        }
    }
}
