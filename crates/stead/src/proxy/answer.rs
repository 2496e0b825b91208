//! Requests as they came, answers as they stream through.

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use stead_api::SUBMISSION_BYTES_MAX;

use super::Proxy;
use crate::client::ClientError;
use crate::failure::Failure;

/// What the proxy gives back.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// A request that was let in.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Asked {
    pub(super) fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// The headers that are meant for the coordinator. Who asks is said by the proxy's own login.
    pub(super) fn headers_on(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, AUTHORIZATION] {
            headers.remove(name);
        }
        headers
    }
}

/// The whole body of a request: what a signed change takes, at most.
pub(super) async fn whole(body: Incoming) -> Result<Bytes, Answer> {
    match Limited::new(body, SUBMISSION_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(refusal(413, "RequestEntityTooLarge", &format!("the body cannot be read: {error}"))),
    }
}

/// A document as an answer.
pub(super) fn document(code: u16, value: &Value) -> Answer {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Adds what a coordinator warned of, which clients print.
pub(super) fn warned(mut answer: Answer, warnings: &[String]) -> Answer {
    for warning in warnings.iter().filter_map(|warning| stead_api::warning::spell(warning)) {
        answer.headers_mut().append(http::header::WARNING, warning);
    }
    answer
}

/// A refusal of the proxy's own.
pub(super) fn refusal(code: u16, reason: &str, message: &str) -> Answer {
    document(code, &status(code, reason, message, Value::Null))
}

pub(super) fn status(code: u16, reason: &str, message: &str, details: Value) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code,
    });
    if let (false, Some(members)) = (details.is_null(), status.as_object_mut()) {
        members.insert("details".to_owned(), details);
    }
    status
}

/// A failure on this side of the coordinator, in words that kubectl shows.
pub(super) fn failed(failure: &Failure) -> Answer {
    refusal(500, "InternalError", &failure.sentence())
}

/// A refusal of the coordinator's, as it came.
pub(super) fn refused(error: ClientError) -> Answer {
    match error {
        ClientError::Status(error) => {
            document(error.code.as_u16(), &status(error.code.as_u16(), &error.reason, &error.message, error.details))
        }
        error @ ClientError::Unreachable { .. } => refusal(503, "ServiceUnavailable", &error.to_string()),
        error => refusal(500, "InternalError", &error.to_string()),
    }
}

impl Proxy {
    /// Passes a request on as it is, and its answer back as it comes.
    pub(super) async fn pass(&self, asked: &Asked) -> Answer {
        match self.send(asked).await {
            Ok(response) => stream(response),
            Err(answer) => answer,
        }
    }

    /// Sends a request; where the login has run out, once more with a new one.
    pub(super) async fn send(&self, asked: &Asked) -> Result<reqwest::Response, Answer> {
        let send = async |client: &crate::client::Client| {
            client.raw(asked.method.clone(), &asked.target(), asked.headers_on(), asked.body.clone()).await
        };
        let response = send(self.client().await.as_ref()).await.map_err(refused)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let client = self.log_in_again().await.map_err(|failure| failed(&failure))?;
        send(client.as_ref()).await.map_err(refused)
    }
}

/// An answer that is passed through piece by piece, for as long as it lasts.
pub(super) fn stream(response: reqwest::Response) -> Answer {
    let (code, headers) = (response.status(), response.headers().clone());
    let pieces = response.bytes_stream().map_ok(Frame::data).map_err(std::io::Error::other);
    let mut answer = Response::new(StreamBody::new(pieces).boxed_unsync());
    *answer.status_mut() = code;
    *answer.headers_mut() = headers;
    for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        answer.headers_mut().remove(name);
    }
    answer
}
