//! What this admin last saw signed, kept beside the outbox: with it a change can be signed while no coordinator answers. It is evidence,
//! not a copy of anybody's word: every file holds what owners signed, and is checked again when it is read.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stead_model::{Digest, Object, ObjectKey};
use stead_trust::{Bundle, RootChain, SignedRoot};

use crate::client::Client;
use crate::config::Settings;
use crate::failure::Failure;
use crate::history::{self, Step};
use crate::keyring::Keyring;
use crate::private_file;

/// Objects of which it is kept at most what was seen, in one go: as many as one change has entries.
pub(crate) const SEEN_AT_ONCE_MAX: usize = 10_000;

/// What was last seen of one object.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Memo {
    sequence: u64,
    change: String,
    bundle: Bundle,
}

/// One object as it was last seen, verified.
#[derive(Clone, Debug)]
pub(crate) struct LastSeen {
    pub(crate) sequence: u64,
    /// None for a deletion.
    pub(crate) object: Option<Object>,
}

/// The folder of what was seen of one fleet.
pub(crate) struct Seen {
    folder: PathBuf,
    fleet: Digest,
}

impl Seen {
    /// Of the fleet in the settings; none where there is no fleet in them.
    pub(crate) fn of(settings: &Settings) -> Option<Self> {
        let fleet = settings.fleet()?;
        Some(Self { folder: settings.outbox_dir().join(fleet.short()).join("seen"), fleet })
    }

    fn path_of(&self, key: &ObjectKey) -> PathBuf {
        self.folder.join(format!("{}.json", Digest::of(key.to_string().as_bytes()).short()))
    }

    /// The chain of trust roots as it was last seen, which starts at the fleet's id.
    pub(crate) fn chain(&self) -> Option<RootChain> {
        let bytes = std::fs::read(self.folder.join("roots.json")).ok()?;
        let roots: Vec<SignedRoot> = serde_json::from_slice(&bytes).ok()?;
        RootChain::verify(&self.fleet, &roots).ok()
    }

    fn memo(&self, key: &ObjectKey) -> Option<Memo> {
        serde_json::from_slice(&std::fs::read(self.path_of(key)).ok()?).ok()
    }

    /// An object as it was last seen; none where it never was. One that does not hold is an error.
    pub(crate) fn object(&self, key: &ObjectKey, keyring: &Keyring) -> Result<Option<LastSeen>, Failure> {
        let Some(Memo { sequence, change, bundle }) = self.memo(key) else { return Ok(None) };
        let signed = history::believed(&(key.clone(), sequence), change, &bundle, keyring)?;
        Ok(Some(LastSeen { sequence, object: signed.object }))
    }

    fn keep_chain(&self, chain: &RootChain) -> Result<(), Failure> {
        let known = self.chain().map_or(0, |known| known.newest().version);
        if known >= chain.newest().version {
            return Ok(());
        }
        self.write(self.folder.join("roots.json"), &chain.signed())
    }

    fn write(&self, path: PathBuf, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_vec(value).map_err(|error| Failure::internal(error.to_string()))?;
        private_file::write(&path, &text).map_err(|error| Failure::of(crate::failure::FailureKind::Internal, error))
    }
}

/// Asks what is signed of some objects now, checks it and keeps it. Says how many of them there are.
pub(crate) async fn learn(client: &Client, settings: &Settings, keys: &[ObjectKey]) -> Result<usize, Failure> {
    let Some(seen) = Seen::of(settings) else { return Ok(0) };
    let keyring = Keyring::fetch(client, settings).await?;
    seen.keep_chain(keyring.chain())?;
    let sequences = history::sequences(client, keys).await?;
    let known = |key: &ObjectKey, sequence: u64| seen.memo(key).is_some_and(|memo| memo.sequence >= sequence);
    let signed: Vec<Step> = sequences.into_iter().filter(|(_, sequence)| *sequence > 0).collect();
    let steps: BTreeSet<Step> = signed.iter().filter(|(key, sequence)| !known(key, *sequence)).cloned().collect();
    history::bundles(client, &keyring, &steps, |(key, sequence), change, bundle| {
        let memo = Memo { sequence: *sequence, change: change.to_owned(), bundle: bundle.clone() };
        seen.write(seen.path_of(key), &memo)
    })
    .await?;
    Ok(signed.len())
}

/// The same beside a command's own work: what cannot be kept is only logged.
pub(crate) async fn learn_quietly(client: &Client, settings: &Settings, keys: &[ObjectKey]) {
    if let Err(failure) = learn(client, settings, keys).await {
        tracing::info!(failure = failure.sentence(), "what was seen could not be kept for a time without a coordinator");
    }
}
