//! The shape of a body: how deep it is, and how much is in it. What is past a limit is refused before anything is done with it.

use serde_json::Value;

use crate::limits::{JSON_DEPTH_MAX, JSON_MEMBERS_MAX};
use crate::status::{ApiError, ApiResult};

/// Refuses a body that is too deep or has too much in it.
pub(crate) fn check(body: &Value) -> ApiResult<()> {
    let mut members = 0_usize;
    // A stack of its own: what is checked here must not take the thread's.
    let mut waiting = vec![(body, 1_usize)];
    while let Some((value, depth)) = waiting.pop() {
        let inner: Box<dyn Iterator<Item = &Value>> = match value {
            Value::Array(items) => Box::new(items.iter()),
            Value::Object(fields) => Box::new(fields.values()),
            _ => continue,
        };
        if depth > JSON_DEPTH_MAX {
            return Err(too_deep());
        }
        for value in inner {
            members = members.saturating_add(1);
            if members > JSON_MEMBERS_MAX {
                let message = format!("the body has more than {JSON_MEMBERS_MAX} fields and items");
                return Err(ApiError::too_large(message).past("JSON_MEMBERS_MAX"));
            }
            if value.is_array() || value.is_object() {
                waiting.push((value, depth.saturating_add(1)));
            }
        }
    }
    Ok(())
}

/// What a body is answered that nests deeper than anything that is served.
pub(crate) fn too_deep() -> ApiError {
    ApiError::bad_request(format!("the body nests more than {JSON_DEPTH_MAX} objects and lists in one another"))
        .past("JSON_DEPTH_MAX")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nested(depth: usize) -> Value {
        (1..depth).fold(json!([]), |inner, _| json!([inner]))
    }

    #[test]
    fn what_is_at_a_limit_passes_and_what_is_past_it_does_not() {
        let items = |count: usize| Value::Array(vec![Value::Null; count]);
        for (body, passes) in [
            (nested(JSON_DEPTH_MAX), true),
            (nested(JSON_DEPTH_MAX + 1), false),
            (items(JSON_MEMBERS_MAX), true),
            (items(JSON_MEMBERS_MAX + 1), false),
            (json!([items(JSON_MEMBERS_MAX - 1)]), true),
            (json!({"a": items(JSON_MEMBERS_MAX / 2), "b": items(JSON_MEMBERS_MAX / 2)}), false),
            (json!(5), true),
        ] {
            assert_eq!(check(&body).is_ok(), passes);
        }
    }
}
