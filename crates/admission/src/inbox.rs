//! What people ask for through the database itself: admitted as if it had come by the API, and answered where it was asked.

use serde_json::Value;
use stead_model::{Object, Revision};
use stead_store::{Asked, AskedKind, CommitError, EngineError, Expect, Settled};
use stead_trust::Submission;

use crate::admission::{Admission, Beside, Caller, Write};
use crate::error::WriteError;

/// What a proposal's Change says of itself.
const MESSAGE: &str = "proposed through the database";

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    /// It is no signed Change.
    #[error("this is no signed change: {0}")]
    NoSubmission(serde_json::Error),
    /// It is no object.
    #[error("this is no object that can be proposed: {0}")]
    NoObject(String),
    /// It was checked as any other write, and refused.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl RequestError {
    /// Whether the record, and not the request, is the reason, so that it is tried again later.
    const fn is_temporary(&self) -> bool {
        matches!(self, Self::Write(error) if error.is_temporary())
    }
}

impl Admission {
    /// Takes what people ask for through the database, for as long as the record is open.
    pub async fn serve_inbox(&self) {
        loop {
            match self.store().asked().await {
                Ok(requests) => {
                    for request in requests {
                        self.answer(request).await;
                    }
                }
                Err(EngineError::Closed) => return,
                // It is asked again when the database is back: what waits there waits.
                Err(error) => tracing::debug!(%error, "requests in the database are not seen"),
            }
        }
    }

    async fn answer(&self, request: Asked) {
        let settled = match self.take(&request).await {
            Ok((revision, message)) => Settled { id: request.id, revision: Some(revision), message },
            // Another coordinator was first.
            Err(RequestError::Write(WriteError::Commit(CommitError::Settled { .. }))) => return,
            Err(error) if error.is_temporary() => {
                tracing::warn!(request = %request.id, %error, "a request in the database has to wait");
                return;
            }
            Err(error) => {
                tracing::info!(request = %request.id, by = %request.by, %error, "a request in the database is refused");
                Settled { id: request.id, revision: None, message: error.to_string() }
            }
        };
        // One that was done is noted in its own transaction; where it changed nothing, there was none.
        if let Err(error) = self.store().settle(&settled).await {
            tracing::warn!(request = %settled.id, %error, "the outcome of a request could not be noted");
        }
    }

    async fn take(&self, request: &Asked) -> Result<(Revision, String), RequestError> {
        let caller = Caller { name: format!("postgres:{}", request.by), key: None };
        let asked = Some(request.id.as_str());
        let write = match request.kind {
            AskedKind::Submit => {
                let submission: Submission = serde_json::from_str(&request.body).map_err(RequestError::NoSubmission)?;
                let (change, committed) =
                    self.submit_beside(&caller, &submission, &[], &Beside { asked, ..Beside::default() }).await?;
                return Ok((committed.revision, format!("change {}", change.id().to_ascii_lowercase())));
            }
            AskedKind::Put => Write::Put { object: object(&request.body)?, expect: Expect::Any },
            AskedKind::Delete => Write::Delete { key: object(&request.body)?.key(), expect: Expect::Exists },
        };
        let committed = self.write_asked(&caller, MESSAGE, &[write], false, asked).await?;
        Ok((committed.revision, String::new()))
    }
}

/// An object of a kind that is served, as its kind should be.
fn object(body: &str) -> Result<Object, RequestError> {
    let no_object = |reason: String| RequestError::NoObject(reason);
    let mut value: Value = serde_json::from_str(body).map_err(|error| no_object(error.to_string()))?;
    let word = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (word("apiVersion"), word("kind"));
    let info = stead_model::registry().iter().find(|info| info.kind == kind && info.api_version() == version);
    let info = info.ok_or_else(|| no_object(format!("no kind {kind:?} of {version:?} is served")))?;
    // As kubectl has it for who names no namespace.
    if info.namespaced
        && let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.entry("namespace").or_insert_with(|| "default".into());
    }
    info.parse(value).map_err(|error| no_object(error.to_string()))
}
