//! Deletion: of an object, of what a selector finds, and of a namespace with what lives in it.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use stead_admission::{Write, WriteError};
use stead_model::{ObjectKey, Revision, Selector, registry};
use stead_store::{CommitError, Expect, List, Outcome, Snapshot, Stored};
use tokio::time::Instant;

use crate::api::Call;
use crate::body;
use crate::fields::FieldMatcher;
use crate::path::ObjectsRoute;
use crate::query::dry_run;
use crate::render::ListMeta;
use crate::resource::Resource;
use crate::response::{self, Answer};
use crate::status::{ApiError, ApiResult};

/// Objects of one transaction when many are deleted.
const DELETIONS_PER_WRITE_MAX: usize = 2_000;
/// How often a deletion of many is tried again when some of them have gone meanwhile.
const ATTEMPTS_MAX: usize = 8;
/// The namespace that is always there.
const DEFAULT_NAMESPACE: &str = "default";

/// What a deletion may say.
#[derive(Debug, Default)]
struct DeleteOptions {
    dry_run: bool,
    uid: Option<String>,
    revision: Option<Revision>,
}

impl DeleteOptions {
    /// A body that is there counts alone; the query counts only without one.
    fn read(call: &Call) -> ApiResult<Self> {
        if call.body.is_empty() {
            policy(call.query.get("propagationPolicy"))?;
            return Ok(Self { dry_run: call.query.dry_run()?, ..Self::default() });
        }
        let value = body::decode(&call.headers, &call.body)?;
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        policy(text("/propagationPolicy"))?;
        let dry_runs: Vec<&str> =
            value.get("dryRun").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let revision = text("/preconditions/resourceVersion").map(|revision| {
            revision
                .parse()
                .map(Revision)
                .map_err(|_| ApiError::bad_request(format!("preconditions.resourceVersion: {revision:?} is no revision")))
        });
        Ok(Self {
            dry_run: dry_run(&dry_runs)?,
            uid: text("/preconditions/uid").map(str::to_owned),
            revision: revision.transpose()?,
        })
    }

    /// What must hold of the object.
    fn expect(&self, resource: Resource, stored: &Stored) -> ApiResult<Expect> {
        if let Some(uid) = self.uid.as_ref().filter(|uid| *uid != stored.uid()) {
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", stored.uid());
            return Err(ApiError::conflict(resource, stored.name(), &why));
        }
        Ok(match (self.revision, &self.uid) {
            (Some(revision), _) => Expect::Revision(revision),
            (None, Some(uid)) => Expect::Uid(uid.clone()),
            (None, None) => Expect::Exists,
        })
    }
}

/// Nothing here owns anything that would have to go first, so that every policy means the same.
fn policy(value: Option<&str>) -> ApiResult<()> {
    match value {
        None | Some("Background" | "Foreground" | "Orphan") => Ok(()),
        Some(other) => Err(ApiError::invalid_option(
            "propagationPolicy",
            &format!("Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\""),
        )),
    }
}

/// Deletes an object, or marks it where finalizers hold it.
pub(super) async fn object(call: &Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    let (resource, key) = (route.resource, super::key(route));
    let options = DeleteOptions::read(call)?;
    let snapshot = call.api.admission().store().snapshot();
    let stored = snapshot.get(&key).ok_or_else(|| ApiError::not_found(resource, &key.name))?;
    let expect = options.expect(resource, &stored)?;
    if resource.is_namespace() {
        empty_namespace(call, resource, &key.name, options.dry_run).await?;
    }
    let outcomes = write(call, &key, vec![Write::Delete { key: key.clone(), expect }], options.dry_run).await;
    let outcomes = outcomes.map_err(|error| super::refused::refused(resource, &key.name, &error))?;
    match outcomes.first() {
        Some(outcome @ Outcome::Deleted(stored)) => {
            let answer = response::json(StatusCode::OK, &deleted(resource, stored));
            Ok(super::awaited::warned_of(call, answer, None, outcome))
        }
        Some(outcome) => {
            let revision = stored.revision().to_string();
            let shown = options.dry_run.then_some(revision.as_str());
            super::written(&super::renderer(call, route)?, outcome, StatusCode::OK, shown)
        }
        None => Err(ApiError::internal("the record gave no answer")),
    }
}

fn deleted(resource: Resource, stored: &Stored) -> Value {
    let mut details = json!({"name": stored.name(), "kind": resource.info.plural, "uid": stored.uid()});
    if let (false, Some(members)) = (resource.group.is_empty(), details.as_object_mut()) {
        members.insert("group".to_owned(), resource.group.into());
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

async fn write(call: &Call, key: &ObjectKey, writes: Vec<Write>, dry_run: bool) -> Result<Vec<Outcome>, WriteError> {
    let nobody = || WriteError::Invalid { key: key.clone(), reason: "there is no caller".to_owned() };
    let caller = call.caller.as_ref().ok_or_else(nobody)?;
    call.api.admission().write(caller, &super::message(call, "delete", key), writes, dry_run).await
}

/// Deletes all that the selectors find.
pub(super) async fn collection(call: &Call, route: &ObjectsRoute) -> ApiResult<Answer> {
    let resource = route.resource;
    if resource.info.namespaced && route.namespace.is_none() || resource.is_namespace() {
        return Err(ApiError::method_not_allowed());
    }
    let renderer = super::renderer(call, route)?;
    let delete_options = DeleteOptions::read(call)?;
    let options = call.query.list_options()?;
    let fields = FieldMatcher::new(resource, &options.fields)?;
    let route = route.clone();
    let find = move |snapshot: &Snapshot| super::read::page(snapshot, &route, &options, fields.as_deref(), None).objects;
    let gone = delete_all(call, resource, delete_options.dry_run, Arc::new(find)).await?;
    let meta = ListMeta { revision: call.api.admission().store().revision(), ..ListMeta::default() };
    let bytes = renderer.list(gone.iter().map(|outcome| outcome.stored().as_ref()), &meta)?;
    let names: Vec<ObjectKey> = gone.iter().map(|outcome| outcome.stored().key()).collect();
    Ok(super::awaited::warned(call, response::json_bytes(StatusCode::OK, bytes), &names))
}

/// A search for what is to be deleted.
type Find = Arc<dyn Fn(&Snapshot) -> Vec<Arc<Stored>> + Send + Sync>;

/// Deletes what a search finds, in transactions of a bounded size.
async fn delete_all(call: &Call, resource: Resource, dry_run: bool, find: Find) -> ApiResult<Vec<Outcome>> {
    let ends = Instant::now() + Duration::from_millis(call.api.limits().list_milliseconds_max);
    let mut done: Vec<Outcome> = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        // Among many objects this takes as long as a list of them, and has its turn like one.
        let turn = super::parts::turn(&call.api, call.permit.client(), ends).await.ok_or_else(super::parts::busy)?;
        let (find, snapshot) = (Arc::clone(&find), call.api.admission().store().snapshot());
        let found = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            find(&snapshot)
        });
        let found = found.await.map_err(|error| ApiError::internal(format!("the selection failed: {error}")))?;
        let mut vanished = false;
        for part in found.chunks(DELETIONS_PER_WRITE_MAX) {
            let Some(first) = part.first() else { continue };
            let writes =
                part.iter().map(|stored| Write::Delete { key: stored.key(), expect: Expect::Uid(stored.uid().to_owned()) });
            match write(call, &first.key(), writes.collect(), dry_run).await {
                Ok(mut outcomes) => done.append(&mut outcomes),
                Err(WriteError::Commit(CommitError::NotFound { .. } | CommitError::OtherUid { .. })) => vanished = true,
                Err(error) => return Err(super::refused::refused(resource, first.name(), &error)),
            }
        }
        if !vanished {
            break;
        }
    }
    Ok(done)
}

/// Deletes what lives in a namespace. What a finalizer holds keeps the namespace, and the client is told what it is.
async fn empty_namespace(call: &Call, resource: Resource, name: &str, dry_run: bool) -> ApiResult<()> {
    if name == DEFAULT_NAMESPACE {
        return Err(ApiError::forbidden(resource, name, "this namespace may not be deleted"));
    }
    let namespace = name.to_owned();
    let everything = move |snapshot: &Snapshot| {
        let kinds = registry().iter().filter(|info| info.namespaced);
        let list = |kind| {
            let selector = Selector::default();
            let list = List { kind, namespace: Some(&namespace), selector: &selector, fields: None, after: None, limit: 0 };
            snapshot.list(&list).objects
        };
        kinds.flat_map(|info| list(info.group_kind())).collect::<Vec<_>>()
    };
    let outcomes = delete_all(call, resource, dry_run, Arc::new(everything)).await?;
    let held: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !matches!(outcome, Outcome::Deleted(_)))
        .map(|outcome| outcome.stored().key().to_string())
        .collect();
    if held.is_empty() {
        return Ok(());
    }
    let why = format!("finalizers still hold {}; delete the namespace again when they are gone", held.join(", "));
    Err(ApiError::conflict(resource, name, &why))
}
