//! Signing while no coordinator answers: on top of what waits in the outbox already, else of what was last seen here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stead_admission::Precondition;
use stead_model::{Object, ObjectKey};

use crate::change::{self, Deletion, Draft};
use crate::cli::Signing;
use crate::config::Settings;
use crate::failure::Failure;
use crate::keyring::Keyring;
use crate::outbox::{self, Listing, Standing};
use crate::proposal::Ground;
use crate::seen::{LastSeen, Seen};
use crate::signer;

/// What somebody wants to make of objects, with nobody to ask about them.
pub(crate) struct Wish<'a> {
    pub(crate) puts: &'a [Object],
    pub(crate) deletes: &'a [Deletion],
    pub(crate) preconditions: Vec<Precondition>,
}

/// What became of each object: whether it is part of the change that waits.
pub(crate) type Effects = Vec<(ObjectKey, &'static str)>;

/// Signs a wish and lets it wait. `away` says that nobody answers; it is given back, with the reason, where nothing can be signed.
/// Otherwise says what the change does, and how the command ends.
pub(crate) async fn sign(
    settings: &Settings,
    wish: Wish<'_>,
    signing: &Signing,
    away: Failure,
) -> Result<(Effects, Failure), Failure> {
    if !signing.may_wait() || settings.fleet().is_none() {
        return Err(away);
    }
    let Listing { kept, .. } = outbox::look(settings)?;
    let new =
        wish.preconditions.iter().filter(|condition| condition.absent == Some(true)).map(Precondition::key).collect::<Vec<_>>();
    let keys = wish.puts.iter().map(Object::key).chain(wish.deletes.iter().map(|deletion| deletion.key.clone()));
    let (mut known, mut never) = (BTreeMap::new(), Vec::new());
    let now = Timestamp::now();
    for key in keys {
        if let Some((stuck, ..)) = outbox::last_of(&kept, &key).filter(|(kept, ..)| kept.standing(now) != Standing::Waiting) {
            let (id, standing) = (stuck.id(), stuck.standing(now).word());
            return Err(away.hint(format!(
                "{key} is not signed for later either: the change {id} of it is {standing} in the outbox. \
                                          `stead outbox sign {id}` or `stead outbox drop {id}` first."
            )));
        }
        match last_known(settings, &kept, &key)? {
            Some(last) => drop(known.insert(key, last)),
            None if new.contains(&key) => drop(known.insert(key, LastSeen { sequence: 0, object: None })),
            None => never.push(key),
        }
    }
    if !never.is_empty() {
        let names: Vec<String> = never.iter().map(ToString::to_string).collect();
        return Err(away.hint(format!(
            "It cannot be signed for later either: {} was never seen here, so that nobody knows what it would be signed on top of. \
             While a coordinator answers, `stead outbox fetch` keeps what is there; --if-absent KIND/NAME says that there is none yet.",
            names.join(", ")
        )));
    }
    let (draft, effects) = draft(wish, &known);
    if draft.puts.is_empty() && draft.deletes.is_empty() {
        return Err(away.hint("There is nothing to sign for later: as far as it was seen here, all is so already."));
    }
    let submission = change::signed_alone(settings, &signer::load_all(settings)?, &draft, signing)?;
    let waiting = outbox::keep(settings, submission, &draft.preconditions, &away).await?;
    Ok((effects, waiting))
}

/// What an object is once all that waits has arrived; none where it was never seen.
fn last_known(settings: &Settings, kept: &[outbox::Kept], key: &ObjectKey) -> Result<Option<LastSeen>, Failure> {
    if let Some((_, leaf, object)) = outbox::last_of(kept, key) {
        return Ok(Some(LastSeen { sequence: leaf.sequence, object: object.cloned() }));
    }
    let Some((chain, seen)) = Seen::of(settings).and_then(|seen| Some((seen.chain()?, seen))) else { return Ok(None) };
    seen.object(key, &Keyring::of(chain, BTreeMap::new()))
}

/// What a change that waits was signed on top of, as far as it is known here; none where something of it is not.
pub(crate) fn ground(settings: &Settings, kept: &[outbox::Kept], change: &outbox::Kept) -> Result<Option<Ground>, Failure> {
    let before: Vec<&outbox::Kept> = kept.iter().take_while(|kept| kept.id() != change.id()).collect();
    let mut known = BTreeMap::new();
    for (leaf, _) in &change.pending.entries {
        let (key, below) = (leaf.key(), leaf.sequence.saturating_sub(1));
        let mut waiting = before.iter().flat_map(|kept| &kept.pending.entries);
        let last = match waiting.find(|(leaf, _)| leaf.key() == key && leaf.sequence == below) {
            Some((_, object)) => object.clone(),
            None if below == 0 => None,
            None => match last_known(settings, &[], &key)?.filter(|last| last.sequence == below) {
                Some(last) => last.object,
                None => return Ok(None),
            },
        };
        known.insert((key, below), last);
    }
    Ok(Some(Ground::as_seen(known)))
}

fn draft(wish: Wish<'_>, known: &BTreeMap<ObjectKey, LastSeen>) -> (Draft, Effects) {
    let sequences = known.iter().map(|(key, last)| (key.clone(), last.sequence)).collect();
    let mut draft = Draft { preconditions: wish.preconditions, sequences, ..Draft::default() };
    let mut effects = Vec::new();
    for object in wish.puts {
        let key = object.key();
        let last = known.get(&key).and_then(|last| last.object.as_ref());
        let word = match last {
            None => "created",
            Some(last) if last.as_sent() == object.as_sent() => "unchanged",
            Some(_) => "configured",
        };
        if word != "unchanged" {
            draft.puts.push(object.clone());
        }
        effects.push((key, word));
    }
    for deletion in wish.deletes {
        if known.get(&deletion.key).is_some_and(|last| last.object.is_some()) {
            draft.deletes.push(deletion.clone());
            effects.push((deletion.key.clone(), "deleted"));
        }
    }
    (draft, effects)
}
