//! Answers on their way out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY, WARNING};
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::gate::Permit;
use crate::status::ApiError;

/// A body: whole, or line by line as a watch makes it.
pub(crate) enum ResponseBody {
    Whole(Option<Bytes>),
    Lines {
        lines: mpsc::Receiver<Bytes>,
        /// Held for as long as the body is.
        _permit: Permit,
    },
    /// Part by part, as a large list is made. An error cuts the answer off, so that nobody takes the rest for all there is.
    Parts {
        parts: mpsc::Receiver<io::Result<Bytes>>,
        /// Held for as long as the body is.
        _permit: Permit,
    },
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Lines { lines, .. } => lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line)))),
            Self::Parts { parts, .. } => parts.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Lines { .. } | Self::Parts { .. } => SizeHint::default(),
        }
    }
}

/// What a handler gives back.
pub(crate) type Answer = Response<ResponseBody>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// JSON bytes.
pub(crate) fn json_bytes(code: StatusCode, bytes: impl Into<Bytes>) -> Answer {
    typed(code, JSON, bytes)
}

/// Bytes of a media type.
pub(crate) fn typed(code: StatusCode, media_type: HeaderValue, bytes: impl Into<Bytes>) -> Answer {
    let bytes: Bytes = bytes.into();
    let mut response = Response::new(ResponseBody::Whole((!bytes.is_empty()).then_some(bytes)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

/// JSON that comes part by part.
pub(crate) fn parts(parts: mpsc::Receiver<io::Result<Bytes>>, permit: Permit) -> Answer {
    let mut response = Response::new(ResponseBody::Parts { parts, _permit: permit });
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

/// A JSON value.
pub(crate) fn json(code: StatusCode, value: &Value) -> Answer {
    json_bytes(code, value.to_string())
}

/// A refusal.
pub(crate) fn refusal(error: &ApiError) -> Answer {
    let mut response = json(error.code, &error.to_status());
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.code == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Adds warnings, which clients print.
pub(crate) fn warn(mut response: Answer, warnings: &[String]) -> Answer {
    for warning in warnings {
        if let Some(value) = crate::warning::spell(warning) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}
