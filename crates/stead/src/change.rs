//! A change on its way: sequences asked for, one statement over all objects, signed, sent.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use stead_admission::Precondition;
use stead_model::{Digest, Object, ObjectKey, registry};
use stead_trust::{Authorship, ENTRIES_MAX, Salt, Signer, StatementBuilder, Submission};
use tracing::Instrument as _;
use tracing::field::Empty;
use ulid::Ulid;

use crate::cli::Signing;
use crate::client::{Client, ClientError};
use crate::config::Settings;
use crate::failure::{Failure, FailureKind};
use crate::signer::{self, BoxSigner};
use crate::{history, outbox};

/// How many objects are read at once before a change is made.
const READS_AT_ONCE: usize = 16;

/// Bytes of all objects of one change: what a request's body takes, with the leaves and what JSON adds to them.
const CHANGE_BYTES_MAX: usize = 48 * 1024 * 1024;

/// What a change is to do.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) puts: Vec<Object>,
    pub(crate) deletes: Vec<Deletion>,
    /// What it depends on beside what it writes. Not signed: the coordinator that admits the change checks it.
    pub(crate) preconditions: Vec<Precondition>,
    /// The sequences that were read before the objects were looked at: the change is signed on top of these, so that nothing is written
    /// over that nobody has seen. Names that are missing are asked for when it is signed.
    pub(crate) sequences: BTreeMap<ObjectKey, u64>,
}

/// An object that is to go.
#[derive(Clone, Debug)]
pub(crate) struct Deletion {
    pub(crate) api_version: String,
    pub(crate) key: ObjectKey,
}

impl Draft {
    /// The names of its objects.
    pub(crate) fn keys(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        self.puts.iter().map(Object::key).chain(self.deletes.iter().map(|deletion| deletion.key.clone()))
    }
}

/// A change that was admitted, or that would be.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Its name, as `stead get changes` shows it.
    pub(crate) id: String,
    /// The coordinator's answer.
    pub(crate) answer: Value,
}

/// The fleet that a change is signed for. A coordinator is never asked: nobody signs what a server chose.
pub(crate) fn fleet(settings: &Settings) -> Result<Digest, Failure> {
    settings.fleet().ok_or_else(|| {
        Failure::new(FailureKind::Config, "it is not known for which fleet to sign")
            .hint("Run `stead login` once, or give the fleet's id with --fleet.")
    })
}

/// Signs a draft with every key of the settings and sends it.
pub(crate) async fn sign_and_send(
    client: &Client,
    settings: &Settings,
    draft: &Draft,
    signing: &Signing,
) -> Result<Sent, Failure> {
    sign_and_send_with(client, settings, &signer::load_all(settings)?, draft, signing).await
}

/// Signs a draft with these keys and sends it.
pub(crate) async fn sign_and_send_with(
    client: &Client,
    settings: &Settings,
    signers: &[BoxSigner],
    draft: &Draft,
    signing: &Signing,
) -> Result<Sent, Failure> {
    let work = async {
        let submission = signed(client, settings, signers, draft, signing).await?;
        let sent = send(client, &submission, &draft.preconditions, signing.dry_run);
        match sent.instrument(tracing::info_span!("submit")).await {
            // It may have arrived though the answer did not: sent again, it is taken for what it is.
            Err(away) if away.is_away() && signing.may_wait() => {
                Err(outbox::keep(settings, submission, &draft.preconditions, &away).await?)
            }
            sent => sent,
        }
    };
    // The first span of the Change's trace. Its id is known when the statement is made.
    work.instrument(tracing::info_span!("change", change = Empty, root = true)).await
}

/// Signs a draft with these keys.
pub(crate) async fn signed(
    client: &Client,
    settings: &Settings,
    signers: &[BoxSigner],
    draft: &Draft,
    signing: &Signing,
) -> Result<Submission, Failure> {
    let missing: Vec<ObjectKey> = draft.keys().filter(|key| !draft.sequences.contains_key(key)).collect();
    let mut sequences = draft.sequences.clone();
    if !missing.is_empty() {
        sequences.extend(history::sequences(client, &missing).await?);
    }
    forewarn(client, draft).await?;
    submission(fleet(settings)?, Timestamp::now(), draft, &sequences, signing, signers)
}

/// Says, before anything is signed, what the coordinator warns of. What it warned of until now may be about names that were looked at and
/// need no change.
async fn forewarn(client: &Client, draft: &Draft) -> Result<(), Failure> {
    if client.forget_warnings() {
        history::sequences(client, &draft.keys().collect::<Vec<_>>()).await?;
        client.say_warnings();
    }
    Ok(())
}

/// Signs a draft on top of the sequences that it brings, without asking anybody.
pub(crate) fn signed_alone(
    settings: &Settings,
    signers: &[BoxSigner],
    draft: &Draft,
    signing: &Signing,
) -> Result<Submission, Failure> {
    submission(fleet(settings)?, Timestamp::now(), draft, &draft.sequences, signing, signers)
}

fn submission(
    fleet: Digest,
    now: Timestamp,
    draft: &Draft,
    sequences: &BTreeMap<ObjectKey, u64>,
    signing: &Signing,
    signers: &[BoxSigner],
) -> Result<Submission, Failure> {
    check_size(draft.puts.len().saturating_add(draft.deletes.len()), 0)?;
    let (first, _) = signers.split_first().ok_or_else(|| Failure::user("there is no key to sign with; name one with --key"))?;
    let authorship = Authorship::Person { author: first.public_key().clone() };
    let id = change_id(now)?;
    tracing::Span::current().record("change", &id);
    let mut builder = StatementBuilder::new(fleet, &id, now, signing.admit_within.after(now), &signing.message, authorship);
    let build = |error: stead_trust::BuildError| Failure::of(FailureKind::User, error);
    let next = |key: &ObjectKey| sequences.get(key).copied().unwrap_or_default().saturating_add(1);
    for object in &draft.puts {
        builder.put(object, next(&object.key()), salt()?).map_err(build)?;
    }
    for deletion in &draft.deletes {
        builder.delete(&deletion.api_version, &deletion.key, next(&deletion.key), salt()?).map_err(build)?;
    }
    let unsigned = builder.build().map_err(build)?;
    let bytes = unsigned.entries.iter().map(|entry| entry.object.as_ref().map_or(0, Vec::len)).sum();
    check_size(unsigned.entries.len(), bytes)?;
    let signers: Vec<&dyn Signer> = signers.iter().map(AsRef::as_ref).collect();
    let sign = || unsigned.sign(&signers).map_err(|error| Failure::of(FailureKind::User, error));
    let signed = tracing::info_span!("sign").in_scope(sign)?;
    tracing::info!(change = id, "signed");
    Ok(signed)
}

/// A signed change, and what stands beside it.
#[derive(Serialize)]
struct Submitted<'a> {
    #[serde(flatten)]
    submission: &'a Submission,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    preconditions: &'a [Precondition],
}

/// Sends a signed change.
pub(crate) async fn send(
    client: &Client,
    submission: &Submission,
    preconditions: &[Precondition],
    dry_run: bool,
) -> Result<Sent, Failure> {
    let (answer, warnings) = post(client, submission, preconditions, dry_run).await.map_err(refused)?;
    client.hear(warnings);
    client.say_warnings();
    let name = answer.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    tracing::info!(change = name.to_ascii_uppercase(), dry_run, "the change was admitted");
    Ok(Sent { id: name.to_owned(), answer })
}

/// Sends a signed change, and leaves a refusal as it came; with what the coordinator warns of.
pub(crate) async fn post(
    client: &Client,
    submission: &Submission,
    preconditions: &[Precondition],
    dry_run: bool,
) -> Result<(Value, Vec<String>), ClientError> {
    let query = if dry_run { "?dryRun=All" } else { "" };
    client.post_warned(&format!("/apis/stead.dev/v1/changes{query}"), &Submitted { submission, preconditions }).await
}

/// Refuses a change that no transaction takes, before anybody is asked to sign it.
pub(crate) fn check_size(objects: usize, bytes: usize) -> Result<(), Failure> {
    let message = if objects as u64 > ENTRIES_MAX {
        format!("the change has {objects} objects; one change takes at most {ENTRIES_MAX}")
    } else if bytes > CHANGE_BYTES_MAX {
        format!("the objects of the change have {bytes} bytes; one change takes at most {CHANGE_BYTES_MAX}")
    } else {
        return Ok(());
    };
    Err(Failure::user(message).hint("Split it into several changes, each with a folder and a --set of its own."))
}

/// A refusal, with what its author can do about it.
pub(crate) fn refused(error: ClientError) -> Failure {
    let too_few = matches!(&error, ClientError::Status(status) if status.has_cause("TooFewSignatures"));
    let failure = Failure::from(error);
    if failure.kind() == FailureKind::NeedsSigning {
        failure.hint("Nothing was applied. Look at what the other change did, then run the command again to sign on top of it.")
    } else if too_few {
        failure.hint("`stead propose` with the same manifests lets it wait for the signatures of others, or `stead submit --propose` for a file.")
    } else {
        failure
    }
}

fn change_id(now: Timestamp) -> Result<String, Failure> {
    let random = u128::from_be_bytes(random()?);
    Ok(Ulid::from_parts(u64::try_from(now.as_millisecond()).unwrap_or_default(), random).to_string())
}

fn salt() -> Result<Salt, Failure> {
    Ok(Salt::from_bytes(random()?))
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], Failure> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Failure::internal(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes)
}

/// What is on record of some objects, by name; names that are not there are left out.
pub(crate) async fn on_record(client: &Client, keys: &[ObjectKey]) -> Result<BTreeMap<ObjectKey, Object>, Failure> {
    let read = |key: ObjectKey| async move {
        let info = registry().by_group_kind(&key.kind).ok_or_else(|| Failure::user(format!("{key}: no such kind")))?;
        let found = client.find(info, &key.namespace, &key.name).await?;
        Ok::<_, Failure>(found.map(|object| (key, object)))
    };
    let reads = futures::stream::iter(keys.iter().cloned().map(read)).buffered(READS_AT_ONCE);
    let found: Vec<Option<(ObjectKey, Object)>> = reads.try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}
