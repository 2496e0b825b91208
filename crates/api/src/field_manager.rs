//! Who writes, as `managedFields` names clients: by `fieldManager`, or by what the user agent starts with.

use http::HeaderMap;
use http::header::USER_AGENT;
use stead_model::{Cause, CauseReason, GroupKind};

use crate::query::Query;
use crate::status::{ApiError, ApiResult};

/// Bytes of a manager's name, as in Kubernetes.
const MANAGER_BYTES_MAX: usize = 128;
/// The name of a client that gives none.
const UNKNOWN: &str = "unknown";

/// The manager of a plain patch. It cannot be forced: it never conflicts.
pub(crate) fn of_patch(query: &Query, headers: &HeaderMap) -> ApiResult<String> {
    if query.get("force").is_some() {
        return Err(invalid("force", CauseReason::Forbidden, "Forbidden: may not be specified for non-apply patch"));
    }
    of_write(query, headers)
}

/// The manager of any other plain write.
pub(crate) fn of_write(query: &Query, headers: &HeaderMap) -> ApiResult<String> {
    Ok(match given(query)? {
        Some(manager) => manager,
        None => of_agent(headers),
    })
}

/// The manager of a server-side apply, which must say who it is, and whether it takes what others manage.
pub(crate) fn of_apply(query: &Query) -> ApiResult<(String, bool)> {
    let missing = || invalid("fieldManager", CauseReason::Required, "Required value: is required for apply patch");
    Ok((given(query)?.ok_or_else(missing)?, query.flag("force")?.unwrap_or(false)))
}

fn given(query: &Query) -> ApiResult<Option<String>> {
    let Some(manager) = query.get("fieldManager") else { return Ok(None) };
    if manager.len() > MANAGER_BYTES_MAX {
        let message = format!("Too long: may not be more than {MANAGER_BYTES_MAX} bytes");
        return Err(invalid("fieldManager", CauseReason::Invalid, &message));
    }
    if manager.chars().any(char::is_control) {
        let message = format!("Invalid value: {manager:?}: should only contain printable characters");
        return Err(invalid("fieldManager", CauseReason::Invalid, &message));
    }
    Ok(Some(manager.to_owned()))
}

fn of_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let name = agent.split('/').next().unwrap_or_default();
    // A header's text is ASCII, so that a character is a byte.
    let name: String = name.chars().filter(|character| !character.is_control()).take(MANAGER_BYTES_MAX).collect();
    if name.is_empty() { UNKNOWN.to_owned() } else { name }
}

fn invalid(field: &str, reason: CauseReason, message: &str) -> ApiError {
    ApiError::invalid(&GroupKind::new("meta.k8s.io", "PatchOptions"), "", &[Cause::new(field, reason, message)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_are_named_by_the_query_or_the_agent() {
        let headers = |agent: &str| HeaderMap::from_iter([(USER_AGENT, agent.parse().unwrap())]);
        let query = |text: &str| Query::parse(text).unwrap();
        assert_eq!(of_write(&query("fieldManager=me"), &headers("kubectl/v1")).unwrap(), "me");
        assert_eq!(of_write(&query("fieldManager="), &headers("kubectl/v1.32 (linux)")).unwrap(), "kubectl");
        assert_eq!(of_write(&query(""), &HeaderMap::new()).unwrap(), UNKNOWN);
        assert_eq!(of_write(&query(""), &headers(&"a".repeat(200))).unwrap().len(), MANAGER_BYTES_MAX);
        assert_eq!(of_apply(&query("fieldManager=me&force=true")).unwrap(), ("me".to_owned(), true));
        assert_eq!(of_apply(&query("fieldManager=me")).unwrap(), ("me".to_owned(), false));
        let missing = of_apply(&query("force=true")).unwrap_err();
        assert_eq!(
            missing.message,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        );
        let long = format!("fieldManager={}", "a".repeat(MANAGER_BYTES_MAX + 1));
        for wrong in [&long, "fieldManager=a%00b", "fieldManager=me&force=true"] {
            assert_eq!(of_patch(&query(wrong), &HeaderMap::new()).unwrap_err().code.as_u16(), 422, "{wrong}");
        }
        assert_eq!(of_apply(&query("fieldManager=me&force=maybe")).unwrap_err().code.as_u16(), 400);
    }
}
