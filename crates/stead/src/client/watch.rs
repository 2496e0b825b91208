//! Watches: one JSON object a line, for as long as the coordinator sends them.

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use stead_model::KindInfo;

use super::path::{collection, query};
use super::{Client, ClientError, StatusError};

/// The longest line of a watch in bytes: the largest object and its envelope.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Something that happened to an object.
#[derive(Debug, Deserialize)]
pub(crate) struct WatchEvent {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) object: Value,
}

/// An open watch.
pub(crate) struct Watch {
    response: reqwest::Response,
    server: String,
    buffered: Vec<u8>,
}

impl Client {
    /// Watches a kind from a revision on.
    pub(crate) async fn watch(
        &self,
        info: &KindInfo,
        namespace: &str,
        labels: &str,
        fields: &str,
        revision: &str,
    ) -> Result<Watch, ClientError> {
        let pairs = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", revision),
            ("labelSelector", labels),
            ("fieldSelector", fields),
        ];
        let path = format!("{}?{}", collection(info, namespace), query(&pairs));
        let response = self.send::<()>(Method::GET, &path, None, None).await?;
        Ok(Watch { response, server: self.server(), buffered: Vec::new() })
    }
}

impl Watch {
    /// The next event; none when the coordinator has closed the watch in good order.
    pub(crate) async fn next(&mut self) -> Result<Option<WatchEvent>, ClientError> {
        loop {
            if let Some(end) = self.buffered.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffered.split_off(end + 1);
                let line = std::mem::replace(&mut self.buffered, rest);
                return read(&line).map(Some);
            }
            if self.buffered.len() > LINE_BYTES_MAX {
                return Err(ClientError::Large { path: "a watch".to_owned() });
            }
            let piece = self.response.chunk().await;
            match piece.map_err(|source| ClientError::Unreachable { server: self.server.clone(), source })? {
                Some(piece) => self.buffered.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}

fn read(line: &[u8]) -> Result<WatchEvent, ClientError> {
    let answer = |source| ClientError::Answer { path: "a watch".to_owned(), source };
    let event: WatchEvent = serde_json::from_slice(line).map_err(answer)?;
    if event.kind != "ERROR" {
        return Ok(event);
    }
    let code = event.object.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let status = StatusError::read(
        code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        "a watch",
        event.object.to_string().as_bytes(),
    );
    // A revision that is gone only means: list again.
    if status.code == StatusCode::GONE { Err(ClientError::WatchEnded { message: status.message }) } else { Err(status.into()) }
}
