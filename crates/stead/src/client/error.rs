//! What a coordinator answers instead of what was asked for, and what that means for the exit code.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::UNAUTHORIZED;
use crate::failure::{Failure, FailureKind};

/// The longest text of an answer that is no `Status`, in characters, that is shown.
const TEXT_CHARACTERS_MAX: usize = 200;

/// Why a request had no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("the HTTP client cannot be set up")]
    Build(#[source] reqwest::Error),
    #[error("the coordinator at {server} cannot be reached")]
    Unreachable {
        server: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("no coordinator is set")]
    NoServer,
    #[error("the coordinator's answer to {path} is too large")]
    Large { path: String },
    #[error("the coordinator's answer to {path} cannot be read")]
    Answer {
        path: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(transparent)]
    Status(#[from] StatusError),
    #[error("the coordinator ended the watch: {message}")]
    WatchEnded { message: String },
}

impl ClientError {
    /// Whether nobody answers. What was asked may have arrived all the same. One that answers with another certificate than the pinned
    /// one is there, and somebody has to look at that.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable { .. }) && !chain(self).contains("certificate")
    }
}

impl Failure {
    /// Whether it says that nobody answers.
    pub(crate) fn is_away(&self) -> bool {
        self.cause::<ClientError>().is_some_and(ClientError::is_away)
    }
}

/// A refusal, as Kubernetes' `Status` says it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct StatusError {
    pub(crate) code: StatusCode,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) details: Value,
}

#[derive(Deserialize)]
struct StatusDocument {
    kind: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    details: Value,
}

impl StatusError {
    /// Reads the body of a refusal, whatever it is.
    pub(super) fn read(code: StatusCode, path: &str, body: &[u8]) -> Self {
        match serde_json::from_slice::<StatusDocument>(body) {
            Ok(status) if status.kind == "Status" => {
                Self { code, reason: status.reason, message: status.message, details: status.details }
            }
            _ => {
                let text: String = String::from_utf8_lossy(body).trim().chars().take(TEXT_CHARACTERS_MAX).collect();
                let message = format!("{path} was answered with {code}: {text}");
                Self { code, reason: String::new(), message, details: Value::Null }
            }
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.code == StatusCode::NOT_FOUND
    }

    /// Whether an object is not as the change was made for: it has to be looked at, and the change signed again.
    pub(crate) fn needs_signing(&self) -> bool {
        let causes = self.details.get("causes").and_then(Value::as_array).into_iter().flatten();
        let mut reasons = causes.filter_map(|cause| cause.get("reason").and_then(Value::as_str)).chain([self.reason.as_str()]);
        reasons.any(|reason| matches!(reason, "NeedsSigning" | "PreconditionFailed"))
    }

    /// Whether a cause of this reason is given.
    pub(crate) fn has_cause(&self, reason: &str) -> bool {
        let causes = self.details.get("causes").and_then(Value::as_array).into_iter().flatten();
        causes.filter_map(|cause| cause.get("reason").and_then(Value::as_str)).any(|given| given == reason)
    }

    fn kind(&self) -> FailureKind {
        match self.code {
            StatusCode::NOT_FOUND => FailureKind::NotFound,
            _ if self.needs_signing() => FailureKind::NeedsSigning,
            StatusCode::GATEWAY_TIMEOUT
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::TOO_MANY_REQUESTS => FailureKind::Unreachable,
            code if code.is_client_error() => FailureKind::Refused,
            _ => FailureKind::Internal,
        }
    }

    /// Each field that is wrong, where the answer names some.
    fn causes(&self) -> Vec<String> {
        let causes = self.details.get("causes").and_then(Value::as_array).into_iter().flatten();
        let text = |cause: &Value, name: &str| cause.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let sentence = |cause: &Value| match text(cause, "field") {
            field if field.is_empty() => text(cause, "message"),
            field => format!("{field}: {}", text(cause, "message")),
        };
        causes.map(sentence).collect()
    }
}

impl From<StatusError> for Failure {
    fn from(error: StatusError) -> Self {
        let (kind, code, causes) = (error.kind(), error.code, error.causes());
        let single = causes.len() < 2;
        let failure = Self::of(kind, error);
        let failure = if single { failure } else { causes.into_iter().fold(failure, |failure, cause| failure.hint(cause)) };
        match code {
            UNAUTHORIZED => failure.hint("Run the command again to log in anew, with a key that the trust root names (--key)."),
            StatusCode::NOT_FOUND => failure.hint("`stead get KIND` lists what there is."),
            _ => failure,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Status(status) => status.into(),
            error @ ClientError::Unreachable { .. } => {
                let certificate = chain(&error).contains("certificate");
                let hint = if certificate {
                    "Its certificate is not the pinned one: give the right file with --ca-file, or ask who changed it."
                } else {
                    "Is the coordinator running, and is --server right? `stead config show --origin` says where that comes from."
                };
                Self::of(FailureKind::Unreachable, error).hint(hint)
            }
            error @ ClientError::WatchEnded { .. } => Self::of(FailureKind::Unreachable, error),
            error => Self::of(FailureKind::Internal, error)
                .hint("Is that a Stead coordinator, of about this version? `stead version` says what this one is."),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::ExitCode;

    #[test]
    fn refusals_have_their_exit_codes() {
        let cases = [
            (404, "NotFound", ExitCode::NotFound),
            (403, "Forbidden", ExitCode::Refused),
            (401, "Unauthorized", ExitCode::Refused),
            (422, "Invalid", ExitCode::Refused),
            (409, "AlreadyExists", ExitCode::Refused),
            (409, "NeedsSigning", ExitCode::NeedsSigning),
            (503, "ServiceUnavailable", ExitCode::Unreachable),
            (500, "InternalError", ExitCode::Internal),
        ];
        for (code, reason, expected) in cases {
            let body = serde_json::json!({"kind": "Status", "message": "no", "reason": reason}).to_string();
            let error = StatusError::read(StatusCode::from_u16(code).unwrap(), "/x", body.as_bytes());
            assert_eq!(Failure::from(error).exit_code(), expected, "{code} {reason}");
        }
    }

    #[test]
    fn an_answer_of_something_else_is_shown() {
        let error = StatusError::read(StatusCode::NOT_FOUND, "/x", b"404 page not found\n");
        assert_eq!(error.message, "/x was answered with 404 Not Found: 404 page not found");
    }
}
