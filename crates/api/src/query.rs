//! What stands after the question mark: lists, watches and writes have their options there.

use stead_model::{FieldSelector, Selector, SelectorError};

use crate::limits::{QUERY_PARAMETERS_MAX, SELECTOR_BYTES_MAX, SELECTOR_TERMS_MAX};
use crate::status::{ApiError, ApiResult};

/// Decoded pairs of a query, in order. Empty pairs are skipped: some clients send `?&limit=5`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

/// Whether a list must come from a certain revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevisionMatch {
    NotOlderThan,
    Exact,
}

/// What to do with a field that the kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// Options of a list or a watch.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    pub(crate) labels: Selector,
    pub(crate) fields: FieldSelector,
    /// 0 means all.
    pub(crate) limit: usize,
    pub(crate) continue_token: Option<String>,
    /// `None` where it is not given; 0 means "any".
    pub(crate) revision: Option<u64>,
    pub(crate) revision_match: Option<RevisionMatch>,
    pub(crate) watch: bool,
    pub(crate) bookmarks: bool,
    pub(crate) initial_events: Option<bool>,
    pub(crate) timeout_seconds: Option<u64>,
}

impl Query {
    pub(crate) fn parse(text: &str) -> ApiResult<Self> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let mut parsed = Vec::new();
        for pair in pairs {
            if parsed.len() >= QUERY_PARAMETERS_MAX {
                let message = format!("the query has more than {QUERY_PARAMETERS_MAX} parameters");
                return Err(ApiError::bad_request(message).past("QUERY_PARAMETERS_MAX"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parsed.push((decode(name)?, decode(value)?));
        }
        Ok(Self(parsed))
    }

    /// The first value of a parameter; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(crate) fn flag(&self, name: &str) -> ApiResult<Option<bool>> {
        match self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str()) {
            None => Ok(None),
            Some("" | "true" | "1" | "True" | "t") => Ok(Some(true)),
            Some("false" | "0" | "False" | "f") => Ok(Some(false)),
            Some(other) => Err(ApiError::bad_request(format!("{name}: {other:?} is neither true nor false"))),
        }
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> ApiResult<Option<T>> {
        let wrong = |value: &str| ApiError::bad_request(format!("{name}: {value:?} is no whole number in range"));
        self.get(name).map(|value| value.parse().map_err(|_| wrong(value))).transpose()
    }

    /// Whether nothing is to be written. Only `All` is a value.
    pub(crate) fn dry_run(&self) -> ApiResult<bool> {
        let given: Vec<&str> = self.0.iter().filter(|(name, _)| name == "dryRun").map(|(_, value)| value.as_str()).collect();
        dry_run(&given)
    }

    pub(crate) fn field_validation(&self, default: FieldValidation) -> ApiResult<FieldValidation> {
        match self.get("fieldValidation") {
            None => Ok(default),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Warn") => Ok(FieldValidation::Warn),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => Err(ApiError::invalid_option(
                "fieldValidation",
                &format!("Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""),
            )),
        }
    }

    fn selector<T: std::str::FromStr<Err = SelectorError>>(&self, name: &str) -> ApiResult<T> {
        let text = self.get(name).unwrap_or_default();
        if text.len() > SELECTOR_BYTES_MAX {
            let message = format!("{name} has {} bytes; {SELECTOR_BYTES_MAX} is the limit", text.len());
            return Err(ApiError::bad_request(message).past("SELECTOR_BYTES_MAX"));
        }
        text.parse().map_err(|error: SelectorError| ApiError::bad_request(error.to_string()))
    }

    pub(crate) fn list_options(&self) -> ApiResult<ListOptions> {
        let (labels, fields): (Selector, FieldSelector) = (self.selector("labelSelector")?, self.selector("fieldSelector")?);
        check_terms("labelSelector", labels.match_expressions.len())?;
        check_terms("fieldSelector", fields.requirements.len())?;
        let revision_match = match self.get("resourceVersionMatch") {
            None => None,
            Some("NotOlderThan") => Some(RevisionMatch::NotOlderThan),
            Some("Exact") => Some(RevisionMatch::Exact),
            Some(other) => {
                let message = format!("Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\"");
                return Err(ApiError::invalid_option("resourceVersionMatch", &message));
            }
        };
        let options = ListOptions {
            labels,
            fields,
            limit: usize::try_from(self.number::<i64>("limit")?.unwrap_or(0)).unwrap_or(0),
            continue_token: self.get("continue").map(str::to_owned),
            revision: self.number("resourceVersion")?,
            revision_match,
            watch: self.flag("watch")?.unwrap_or(false),
            bookmarks: self.flag("allowWatchBookmarks")?.unwrap_or(false),
            initial_events: self.flag("sendInitialEvents")?,
            // 0 means the server's own, as with Kubernetes.
            timeout_seconds: self
                .number::<i64>("timeoutSeconds")?
                .and_then(|seconds| u64::try_from(seconds).ok())
                .filter(|seconds| *seconds > 0),
        };
        options.check()?;
        Ok(options)
    }
}

fn check_terms(name: &str, terms: usize) -> ApiResult<()> {
    if terms <= SELECTOR_TERMS_MAX {
        return Ok(());
    }
    let message = format!("{name} has {terms} requirements; {SELECTOR_TERMS_MAX} is the limit");
    Err(ApiError::bad_request(message).past("SELECTOR_TERMS_MAX"))
}

impl ListOptions {
    /// The combinations that Kubernetes refuses.
    fn check(&self) -> ApiResult<()> {
        let forbidden = |field: &str, why: &str| Err(ApiError::invalid_option(field, &format!("Forbidden: {why}")));
        let matched = self.revision_match.is_some();
        if self.watch {
            match self.initial_events {
                None if matched => {
                    return forbidden(
                        "resourceVersionMatch",
                        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                    );
                }
                Some(_) if self.revision_match != Some(RevisionMatch::NotOlderThan) => {
                    return forbidden(
                        "resourceVersionMatch",
                        "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                    );
                }
                _ => return Ok(()),
            }
        }
        if self.initial_events.is_some() {
            return forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
        }
        if matched && self.revision.is_none() {
            return forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if self.revision_match == Some(RevisionMatch::Exact) && self.revision == Some(0) {
            return forbidden("resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
        if self.continue_token.is_some() && self.revision.is_some_and(|revision| revision != 0) {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
        Ok(())
    }
}

/// Reads the values of `dryRun`, from a query or from `DeleteOptions`.
pub(crate) fn dry_run(values: &[&str]) -> ApiResult<bool> {
    match values.iter().find(|value| **value != "All" && !value.is_empty()) {
        Some(other) => {
            Err(ApiError::invalid_option("dryRun", &format!("Unsupported value: {other:?}: supported values: \"All\"")))
        }
        None => Ok(values.contains(&"All")),
    }
}

/// Decodes `application/x-www-form-urlencoded` text.
pub(crate) fn decode(text: &str) -> ApiResult<String> {
    let wrong = || ApiError::bad_request(format!("{text:?} is not percent-encoded UTF-8"));
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit(bytes.next()), digit(bytes.next()));
                let value = high.zip(low).map(|(high, low)| high * 16 + low).ok_or_else(wrong)?;
                u8::try_from(value).map_err(|_| wrong())?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_send() {
        let query = Query::parse("?&labelSelector=a+in+%28b%2Cc1%29%2Cx%21%3Dy&limit=500&".trim_start_matches('?')).unwrap();
        let options = query.list_options().unwrap();
        assert_eq!(options.limit, 500);
        assert_eq!(options.labels.match_expressions.len(), 2);
        let query = Query::parse("fieldSelector=metadata.name%3Dm1&watch&limit=-1").unwrap();
        let options = query.list_options().unwrap();
        assert!(options.watch && options.limit == 0);
        let timeout = |text: &str| Query::parse(text).unwrap().list_options().unwrap().timeout_seconds;
        assert_eq!((timeout("timeoutSeconds=5"), timeout("timeoutSeconds=0"), timeout("")), (Some(5), None, None));
        assert_eq!(options.fields.requirements.len(), 1);
    }

    #[test]
    fn refuses_what_kubernetes_refuses() {
        for (text, code) in [
            ("resourceVersionMatch=Exact", 422),
            ("resourceVersionMatch=Exact&resourceVersion=0", 422),
            ("continue=x&resourceVersion=5", 400),
            ("sendInitialEvents=true", 422),
            ("watch=true&sendInitialEvents=true", 422),
            ("watch=true&resourceVersionMatch=NotOlderThan", 422),
            ("resourceVersion=abc", 400),
            ("labelSelector=a%20b", 400),
            ("limit=x", 400),
        ] {
            let error = Query::parse(text).unwrap().list_options().unwrap_err();
            assert_eq!(error.code.as_u16(), code, "{text}: {}", error.message);
        }
        assert_eq!(Query::parse("dryRun=true").unwrap().dry_run().unwrap_err().code.as_u16(), 422);
        assert!(Query::parse("dryRun=All").unwrap().dry_run().unwrap());
        assert!(Query::parse("a=%zz").is_err());
        assert!(Query::parse(&"a=b&".repeat(65)).is_err());
    }
}
