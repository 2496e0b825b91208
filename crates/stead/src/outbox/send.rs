//! Sending what waits: in order, each once, however often it is tried.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reqwest::StatusCode;
use stead_model::{Digest, ObjectKey};

use super::{Kept, Outbox, Standing};
use crate::client::{Client, ClientError};
use crate::config::Settings;
use crate::failure::{Failure, FailureKind};
use crate::{change, history, seen};

/// What became of one change.
enum Delivery {
    /// It is on record; it may be so since an earlier attempt whose answer was lost.
    Arrived,
    /// Nobody answers.
    Away(Failure),
    /// A coordinator answers that it cannot take it now.
    Later(String),
    /// It is not taken as it is.
    Settled(Standing, String),
}

/// What became of all of them.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// The ids of those that have arrived.
    pub(crate) arrived: Vec<String>,
    /// Those that wait still, with why: nothing is wrong with them.
    pub(crate) later: Vec<(String, String)>,
    /// Those that need their author.
    pub(crate) settled: Vec<(String, Standing, String)>,
}

impl Sent {
    /// What a person is told, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let arrived = self.arrived.iter().map(|id| format!("outbox: {id} has arrived"));
        let later = self.later.iter().map(|(id, why)| format!("outbox: {id} still waits: {why}"));
        let settled = self.settled.iter().map(|(id, standing, why)| {
            let what = match standing {
                Standing::NeedsSigning => "needs signing again, on top of what others did",
                Standing::Expired => "has expired, and can be signed anew",
                Standing::Refused | Standing::Waiting => "was refused",
            };
            format!("outbox: {id} {what}: {why} (`stead outbox show {id}`)")
        });
        arrived.chain(later).chain(settled).collect()
    }
}

/// Sends what waits before a command does its own work, so that what was written first arrives first. What came of it is said on
/// standard error. Where another process is at it, that one does it.
pub(crate) async fn before(client: &Client, settings: &Settings) -> Result<(), Failure> {
    if settings.fleet().is_none() || super::is_empty(settings) {
        return Ok(());
    }
    let Some(outbox) = Outbox::try_hold(settings)? else { return Ok(()) };
    let sent = all(client, settings, &outbox).await?;
    sent.lines().iter().for_each(|line| eprintln!("{line}"));
    Ok(())
}

/// Sends all that waits, in order. One that its author has to look at does not hold up the others, but for those that were signed on top
/// of it: their numbers may fit by chance what somebody else did meanwhile, and nobody has seen that.
pub(crate) async fn all(client: &Client, settings: &Settings, outbox: &Outbox) -> Result<Sent, Failure> {
    let (mut sent, mut learnt, mut away) = (Sent::default(), Vec::new(), None);
    // The objects of those that have not arrived, with what stands in the way of whatever builds on them.
    let mut stuck: BTreeMap<ObjectKey, (String, Standing)> = BTreeMap::new();
    for mut kept in outbox.read()?.kept {
        let id = kept.id();
        let below = kept.keys().find_map(|key| stuck.get(&key).cloned());
        let delivery = match (kept.entry.standing, below) {
            (Standing::Waiting, None) => deliver(client, &kept).await?,
            (Standing::Waiting, Some((first, Standing::Waiting))) => Delivery::Later(format!("it was signed on top of {first}")),
            (Standing::Waiting, Some((first, _))) => {
                Delivery::Settled(Standing::NeedsSigning, format!("it was signed on top of {first}, which has not arrived"))
            }
            (standing, _) => {
                stuck.extend(kept.keys().map(|key| (key, (id.clone(), standing))));
                continue;
            }
        };
        let standing = match &delivery {
            Delivery::Arrived => {
                outbox.remove(&kept)?;
                learnt.extend(kept.keys());
                sent.arrived.push(id);
                continue;
            }
            Delivery::Away(_) | Delivery::Later(_) => Standing::Waiting,
            Delivery::Settled(standing, _) => *standing,
        };
        stuck.extend(kept.keys().map(|key| (key, (id.clone(), standing))));
        match delivery {
            Delivery::Away(failure) => {
                away = Some(failure);
                break;
            }
            Delivery::Later(why) => {
                note(outbox, &mut kept, standing, &why)?;
                sent.later.push((id, why));
            }
            Delivery::Settled(_, why) => {
                note(outbox, &mut kept, standing, &why)?;
                sent.settled.push((id, standing, why));
            }
            Delivery::Arrived => {}
        }
    }
    if !learnt.is_empty() {
        seen::learn_quietly(client, settings, &learnt).await;
    }
    match away {
        // What has arrived before is told of all the same.
        Some(failure) => Err(sent.lines().into_iter().fold(failure, Failure::hint)),
        None => Ok(sent),
    }
}

fn note(outbox: &Outbox, kept: &mut Kept, standing: Standing, why: &str) -> Result<(), Failure> {
    kept.entry.standing = standing;
    why.clone_into(&mut kept.entry.message);
    kept.entry.attempts = kept.entry.attempts.saturating_add(1);
    outbox.note(kept)
}

async fn deliver(client: &Client, kept: &Kept) -> Result<Delivery, Failure> {
    let error = match change::post(client, &kept.entry.submission, &kept.entry.preconditions, false).await {
        Ok(_) => return Ok(Delivery::Arrived),
        Err(error) if error.is_away() => return Ok(Delivery::Away(error.into())),
        Err(error) => error,
    };
    // An earlier attempt may have come through though its answer did not.
    match is_on_record(client, kept).await {
        Ok(true) => return Ok(Delivery::Arrived),
        Ok(false) => {}
        Err(failure) if failure.is_away() => return Ok(Delivery::Away(failure)),
        Err(failure) => return Ok(Delivery::Later(failure.sentence())),
    }
    Ok(settled(error, kept, Timestamp::now()))
}

fn settled(error: ClientError, kept: &Kept, now: Timestamp) -> Delivery {
    let later = matches!(&error, ClientError::Status(status) if is_for_later(status.code, status.needs_signing()));
    let expired = kept.pending.statement.admit_before < now;
    let failure = change::refused(error);
    match failure.kind() {
        FailureKind::NeedsSigning => Delivery::Settled(Standing::NeedsSigning, failure.message().to_owned()),
        _ if later => Delivery::Later(failure.message().to_owned()),
        FailureKind::Refused if expired => Delivery::Settled(Standing::Expired, failure.message().to_owned()),
        FailureKind::Refused | FailureKind::NotFound => Delivery::Settled(Standing::Refused, failure.message().to_owned()),
        _ => Delivery::Later(failure.message().to_owned()),
    }
}

/// Whether an answer says nothing against the change itself: too busy, a disk that is full, a login that ran out, or a record that was
/// restored and does not know yet what this builds on.
fn is_for_later(code: StatusCode, needs_signing: bool) -> bool {
    code.is_server_error()
        || matches!(code, StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED)
        || (code == StatusCode::CONFLICT && !needs_signing)
}

/// Whether the record has this very change: its id with the same statement.
async fn is_on_record(client: &Client, kept: &Kept) -> Result<bool, Failure> {
    match history::bundle(client, &kept.id()).await {
        Ok(bundle) => Ok(Digest::of(&bundle.statement) == kept.entry.submission.statement.digest()),
        Err(failure) if failure.kind() == FailureKind::NotFound => Ok(false),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_the_change_itself_settles_it() {
        for (code, needs_signing, later) in [
            (503, false, true),
            (500, false, true),
            (429, false, true),
            (401, false, true),
            (409, false, true),
            (409, true, false),
            (403, false, false),
            (422, false, false),
        ] {
            assert_eq!(is_for_later(StatusCode::from_u16(code).unwrap(), needs_signing), later, "{code} {needs_signing}");
        }
    }
}
