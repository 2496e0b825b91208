//! Follows the objects of a kind: a list, then a watch, and again from the start where the watch is cut off.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use stead_model::KindInfo;

use crate::cli::Scope;
use crate::client::{Client, ClientError, Watch, WatchEvent};
use crate::failure::Failure;
use crate::kind_word::namespace_of;
use crate::output::name_of;

/// How long to wait before the coordinator is asked again: after it was away, or for what an older one does not let anybody watch.
const PAUSE_SECONDS: u64 = 1;

/// Objects that are followed.
pub(crate) struct Follower<'a> {
    client: &'a Client,
    info: &'static KindInfo,
    namespace: String,
    labels: String,
    fields: String,
    names: Vec<String>,
    objects: BTreeMap<String, Value>,
    revision: String,
    watch: Option<Watch>,
    /// Whether the open watch has told anything.
    told: bool,
    pending: VecDeque<WatchEvent>,
}

impl<'a> Follower<'a> {
    /// Reads what there is, and starts to watch.
    pub(crate) async fn start(
        client: &'a Client,
        info: &'static KindInfo,
        names: Vec<String>,
        scope: &Scope,
    ) -> Result<Self, Failure> {
        let namespace = if scope.all_namespaces { "" } else { namespace_of(info, &scope.namespace) };
        // One name is a selector that the coordinator looks up; several are picked out here.
        let named = if let [name] = names.as_slice() { format!("metadata.name={name}") } else { String::new() };
        let fields = [named, scope.field_selector.clone()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let mut follower = Self {
            client,
            info,
            namespace: namespace.to_owned(),
            labels: scope.selector.as_ref().map(ToString::to_string).unwrap_or_default(),
            fields: fields.join(","),
            names,
            objects: BTreeMap::new(),
            revision: String::new(),
            watch: None,
            told: false,
            pending: VecDeque::new(),
        };
        follower.list().await?;
        follower.pending.clear();
        Ok(follower)
    }

    /// The objects as they are known, in the order of their names.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Value> {
        self.objects.values()
    }

    /// The next thing that happens. What was missed while the coordinator was away comes as changes too.
    pub(crate) async fn next(&mut self) -> Result<WatchEvent, Failure> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            match self.step().await {
                Ok(()) => {}
                Err(error @ (ClientError::Unreachable { .. } | ClientError::WatchEnded { .. })) => {
                    tracing::info!(error = %error, "the watch was cut off; starting again");
                    self.watch = None;
                    self.revision.clear();
                    tokio::time::sleep(Duration::from_secs(PAUSE_SECONDS)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn step(&mut self) -> Result<(), ClientError> {
        if self.revision.is_empty() {
            self.list().await?;
        }
        let watch = match &mut self.watch {
            Some(watch) => watch,
            None => {
                let opened = self.client.watch(self.info, &self.namespace, &self.labels, &self.fields, &self.revision).await;
                match opened {
                    // Trust roots of an older coordinator are not watched: they are looked at again and again.
                    Err(ClientError::Status(status)) if status.code == StatusCode::METHOD_NOT_ALLOWED => {
                        tokio::time::sleep(Duration::from_secs(PAUSE_SECONDS)).await;
                        return self.list().await;
                    }
                    opened => self.watch.insert(opened?),
                }
            }
        };
        match watch.next().await? {
            Some(event) => self.take(event),
            // Closed in good order: go on from where it ended, and not without a pause where it had told nothing.
            None => {
                self.watch = None;
                if !std::mem::take(&mut self.told) {
                    tokio::time::sleep(Duration::from_secs(PAUSE_SECONDS)).await;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, event: WatchEvent) {
        self.told = true;
        if let Some(revision) = event.object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
            self.revision = revision.to_owned();
        }
        if event.kind == "BOOKMARK" || !self.is_meant(&event.object) {
            return;
        }
        if event.kind == "DELETED" {
            self.objects.remove(&key_of(&event.object));
        } else {
            self.objects.insert(key_of(&event.object), event.object.clone());
        }
        self.pending.push_back(event);
    }

    fn is_meant(&self, object: &Value) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| name == name_of(object))
    }

    /// Reads everything, and turns what differs from what is known into events.
    async fn list(&mut self) -> Result<(), ClientError> {
        let list = self.client.list(self.info, &self.namespace, &self.labels, &self.fields).await?;
        let now: BTreeMap<String, Value> =
            list.items.into_iter().filter(|object| self.is_meant(object)).map(|object| (key_of(&object), object)).collect();
        let event = |kind: &str, object: &Value| WatchEvent { kind: kind.to_owned(), object: object.clone() };
        for (key, object) in &self.objects {
            if !now.contains_key(key) {
                self.pending.push_back(event("DELETED", object));
            }
        }
        for (key, object) in &now {
            match self.objects.get(key) {
                None => self.pending.push_back(event("ADDED", object)),
                Some(known) if known != object => self.pending.push_back(event("MODIFIED", object)),
                Some(_) => {}
            }
        }
        self.objects = now;
        self.revision = list.revision;
        Ok(())
    }
}

fn key_of(object: &Value) -> String {
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    format!("{namespace}/{}", name_of(object))
}
