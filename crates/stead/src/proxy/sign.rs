//! A write of what owners must sign, as a signed change.
//!
//! What is signed is the client's own: the object that it sent, or its patch applied here to what was signed last. What the coordinator
//! says that an object looks like is not signed for its word.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, Write as _};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use stead_admission::{Precondition, Rule};
use stead_api::{Meaning, Verb};
use stead_model::{Object, ObjectKey, SIGNED_ANNOTATION_PREFIX};

use super::Proxy;
use super::answer::{Answer, Asked, document, failed, refusal, refused, stream, warned};
use crate::change::{self, Deletion, Draft};
use crate::cli::Signing;
use crate::client::{Client, ClientError, object_path};
use crate::difference::{text_of, unified};
use crate::failure::Failure;
use crate::history;
use crate::keyring::Keyring;

/// How often unsigned metadata is written again when somebody (a controller, with its status) writes the object in between.
const ATTEMPTS_MAX: usize = 16;
/// The longest name of a client in a message, in characters.
const CLIENT_CHARACTERS_MAX: usize = 64;

/// One write that is to be signed.
struct Writing<'a> {
    asked: &'a Asked,
    meaning: Meaning,
    key: ObjectKey,
    /// As the coordinator shows it.
    current: Option<Value>,
    sequences: BTreeMap<ObjectKey, u64>,
    dry_run: bool,
}

impl Proxy {
    pub(super) async fn pass_or_sign(&self, asked: &Asked) -> Result<Answer, Answer> {
        if super::can_i::is_asked(asked) {
            return self.can_i(asked).await;
        }
        let Some(meaning) = Meaning::of(&asked.method, &asked.path, &asked.query) else { return Ok(self.pass(asked).await) };
        let client = self.fresh_client().await?;
        let keyring = Keyring::fetch(&client, &self.settings).await.map_err(|failure| failed(&failure))?;
        if !matches!(Rule::of(keyring.chain().newest(), &meaning.info().group_kind()), Rule::Owner { .. }) {
            return Ok(self.pass(asked).await);
        }
        if meaning.verb() == Verb::DeleteCollection {
            let why = "a proxy does not sign the deletion of what a server lists: use `stead delete KIND -l LABELS`, or name the objects";
            let refusal = meaning.refused(why);
            return Err(document(refusal.code, &refusal.status));
        }
        let Some(writing) = self.writing(&client, asked, meaning).await? else { return Ok(self.pass(asked).await) };
        if writing.meaning.verb() == Verb::Delete {
            return self.delete(&client, writing).await;
        }
        self.put(&client, &keyring, writing).await
    }

    /// The client with a login that the coordinator still takes.
    async fn fresh_client(&self) -> Result<std::rc::Rc<Client>, Answer> {
        let client = self.client().await;
        // Asked for nothing else than whether the token is good.
        match client.get::<Value>("/apis/stead.dev/v1/trustroots?limit=1").await {
            Err(ClientError::Status(status)) if status.code == http::StatusCode::UNAUTHORIZED => {
                self.log_in_again().await.map_err(|failure| failed(&failure))
            }
            _ => Ok(client),
        }
    }

    /// Looks at what is there. None where the API's own refusal is the answer: there is none to change, or one already.
    async fn writing<'a>(&self, client: &Client, asked: &'a Asked, meaning: Meaning) -> Result<Option<Writing<'a>>, Answer> {
        let dry_run = meaning.dry_run(&asked.headers, &asked.body).map_err(|refusal| document(refusal.code, &refusal.status))?;
        let mut key = meaning.key();
        if meaning.verb() == Verb::Create {
            let sent = meaning.object(&asked.headers, &asked.body, None);
            key = sent.map_err(|refusal| document(refusal.code, &refusal.status))?.0.key();
        }
        // Before the object: a change that comes in between is noticed, and not signed over.
        let sequences = history::sequences(client, std::slice::from_ref(&key)).await.map_err(|failure| failed(&failure))?;
        let current = match client.object(meaning.info(), &key.namespace, &key.name).await {
            Ok(current) => Some(current),
            Err(ClientError::Status(status)) if status.is_not_found() => None,
            Err(error) => return Err(refused(error)),
        };
        let makes = meaning.verb() == Verb::Create;
        Ok((makes == current.is_none()).then_some(Writing { asked, meaning, key, current, sequences, dry_run }))
    }

    async fn delete(&self, client: &Client, writing: Writing<'_>) -> Result<Answer, Answer> {
        let Writing { asked, meaning, key, current, .. } = &writing;
        let current = current.as_ref().ok_or_else(|| refusal(404, "NotFound", "there is no such object"))?;
        let uid = current.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let expected = meaning.expected_uid(&asked.headers, &asked.body);
        let expected = expected.map_err(|refusal| document(refusal.code, &refusal.status))?;
        if expected.is_some_and(|expected| expected != uid) {
            return Err(refusal(409, "Conflict", &format!("Precondition failed: UID in object meta: {uid}")));
        }
        let deletion = Deletion { api_version: meaning.info().api_version(), key: key.clone() };
        let draft = Draft { deletes: vec![deletion], sequences: writing.sequences.clone(), ..Draft::default() };
        let object: Object =
            serde_json::from_value(current.clone()).map_err(|error| refusal(500, "InternalError", &error.to_string()))?;
        self.ask(key, Some(&object), None).await?;
        let warnings = self.sign(client, &writing, &draft).await?;
        // One that finalizers hold is still there.
        match client.object(meaning.info(), &key.namespace, &key.name).await {
            Ok(held) => Ok(warned(document(200, &held), &warnings)),
            Err(_) => Ok(warned(document(200, &meaning.deleted(uid)), &warnings)),
        }
    }

    async fn put(&self, client: &Client, keyring: &Keyring, writing: Writing<'_>) -> Result<Answer, Answer> {
        let Writing { asked, meaning, key, current, .. } = &writing;
        let base = match current {
            Some(current) => Some(self.base(client, keyring, &writing, current).await?),
            None => None,
        };
        let read = meaning.object(&asked.headers, &asked.body, current.as_ref());
        let (object, names_revision) = read.map_err(|refusal| document(refusal.code, &refusal.status))?;
        if object.key() != *key {
            return Err(refusal(422, "Invalid", "a write may not give its object another name"));
        }
        if base.as_ref().is_some_and(|base| base.as_sent() == object.as_sent()) {
            // Nothing that is signed is touched.
            return Ok(self.pass(asked).await);
        }
        let mut draft = Draft { puts: vec![object.as_sent()], sequences: writing.sequences.clone(), ..Draft::default() };
        if names_revision && !object.metadata.resource_version.is_empty() {
            draft.preconditions.push(Precondition {
                resource_version: Some(object.metadata.resource_version.clone()),
                ..Precondition::of(&object.api_version, key)
            });
        }
        self.ask(key, base.as_ref(), Some(&object)).await?;
        let warnings = self.sign(client, &writing, &draft).await?;
        let code = if meaning.verb() == Verb::Create { 201 } else { 200 };
        if writing.dry_run {
            let shown = serde_json::to_value(&object).map_err(|error| refusal(500, "InternalError", &error.to_string()))?;
            return Ok(warned(document(code, &shown), &warnings));
        }
        let mut answer = warned(self.unsigned(&writing, &object).await?, &warnings);
        if code == 201 && answer.status() == http::StatusCode::OK {
            *answer.status_mut() = http::StatusCode::CREATED;
        }
        Ok(answer)
    }

    /// The object as it is, where that is what was signed last: a patch is not put on top of what a coordinator made up.
    async fn base(&self, client: &Client, keyring: &Keyring, writing: &Writing<'_>, current: &Value) -> Result<Object, Answer> {
        let object: Object =
            serde_json::from_value(current.clone()).map_err(|error| refusal(500, "InternalError", &error.to_string()))?;
        let sequence = writing.sequences.get(&writing.key).copied().unwrap_or_default();
        let step = (writing.key.clone(), sequence);
        let signed =
            history::signed(client, keyring, &BTreeSet::from([step.clone()])).await.map_err(|failure| failed(&failure))?;
        let signed = signed.get(&step).and_then(|signed| signed.object.as_ref());
        if signed.is_some_and(|signed| signed.as_sent() == object.as_sent()) {
            return Ok(object);
        }
        let message = format!("{} is shown otherwise than it was signed, or was changed just now; try again", writing.key);
        Err(refusal(409, "Conflict", &message))
    }

    /// Shows a change to the person at the terminal, and asks.
    async fn ask(&self, key: &ObjectKey, before: Option<&Object>, after: Option<&Object>) -> Result<(), Answer> {
        let internal = |failure: Failure| failed(&failure);
        let (old, new) = (text_of(before).map_err(internal)?, text_of(after).map_err(internal)?);
        let text = unified(&format!("{key} (now)"), &format!("{key} (asked for)"), &old, &new, self.terminal);
        tracing::info!(object = %key, "a write to sign");
        if !self.confirm {
            return Ok(());
        }
        let _one_question_at_a_time = self.asking.lock().await;
        let asked = tokio::task::spawn_blocking(move || {
            let mut stderr = std::io::stderr();
            stderr.write_all(format!("{text}Sign this? [y/N] ").as_bytes()).and_then(|()| stderr.flush())?;
            let mut answer = String::new();
            std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
        });
        let answer = asked.await.map_err(std::io::Error::other).and_then(|answer| answer);
        let answer = answer.map_err(|error| refusal(500, "InternalError", &format!("nobody can be asked: {error}")))?;
        if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(refusal(403, "Forbidden", &format!("{key}: the person at `stead proxy` did not want to sign this")))
    }

    /// Gives what the coordinator warned of, for the client.
    async fn sign(&self, client: &Client, writing: &Writing<'_>, draft: &Draft) -> Result<Vec<String>, Answer> {
        let signing = Signing::with_message(message(writing));
        let submission = change::signed(client, &self.settings, &self.keys, draft, &signing).await;
        let submission = submission.map_err(|failure| failed(&failure))?;
        let sent = change::post(client, &submission, &draft.preconditions, writing.dry_run).await;
        let (answer, warnings) = sent.map_err(refused)?;
        let name = answer.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("dry run");
        tracing::info!(change = name, object = %writing.key, "signed and sent");
        Ok(warnings)
    }

    /// Writes what the client sent beside what is signed (its own annotations, finalizers), and gives the object as the API shows it.
    async fn unsigned(&self, writing: &Writing<'_>, wanted: &Object) -> Result<Answer, Answer> {
        let path = object_path(writing.meaning.info(), &writing.key.namespace, &writing.key.name);
        let mut headers = HeaderMap::new();
        if let Some(accept) = writing.asked.headers.get(http::header::ACCEPT) {
            headers.insert(http::header::ACCEPT, accept.clone());
        }
        for _ in 0..ATTEMPTS_MAX {
            let client = self.client().await;
            let now = client.object(writing.meaning.info(), &writing.key.namespace, &writing.key.name).await.map_err(refused)?;
            let mut now: Object =
                serde_json::from_value(now).map_err(|error| refusal(500, "InternalError", &error.to_string()))?;
            if !take_unsigned(&mut now, wanted) {
                break;
            }
            headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
            let body = serde_json::to_vec(&now).map_err(|error| refusal(500, "InternalError", &error.to_string()))?;
            let put = Asked {
                method: Method::PUT,
                path: path.clone(),
                query: writing.asked.query.clone(),
                headers: headers.clone(),
                body: Bytes::from(body),
            };
            let response = self.send(&put).await?;
            if response.status() != http::StatusCode::CONFLICT {
                return Ok(stream(response));
            }
        }
        headers.remove(http::header::CONTENT_TYPE);
        let get = Asked { method: Method::GET, path, query: String::new(), headers, body: Bytes::new() };
        Ok(self.pass(&get).await)
    }
}

/// Takes over what is not signed; true where that changes anything.
fn take_unsigned(now: &mut Object, wanted: &Object) -> bool {
    let before = now.metadata.clone();
    now.metadata.annotations.retain(|name, _| name.starts_with(SIGNED_ANNOTATION_PREFIX));
    for (name, value) in &wanted.metadata.annotations {
        if !name.starts_with(SIGNED_ANNOTATION_PREFIX) {
            now.metadata.annotations.insert(name.clone(), value.clone());
        }
    }
    now.metadata.finalizers.clone_from(&wanted.metadata.finalizers);
    now.metadata.owner_references.clone_from(&wanted.metadata.owner_references);
    now.metadata != before
}

/// Why a change was made: what was asked for, and through what.
fn message(writing: &Writing<'_>) -> String {
    let verb = match writing.meaning.verb() {
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Patch => "patch",
        Verb::Delete | Verb::DeleteCollection => "delete",
    };
    let agent = writing.asked.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("a client");
    let client = agent.split('/').next().unwrap_or(agent);
    let client: String = client.chars().filter(|character| !character.is_control()).take(CLIENT_CHARACTERS_MAX).collect();
    format!("{verb} {} with {client} (stead proxy)", writing.key)
}
