//! What owners signed of keys that are refused for good, kept beside the record as well: a record that was restored from before it must
//! not let such a key in again. Each is a bundle with its signatures and its receipt, judged like what a machine gives back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use stead_admission::{Admission, bundle_rows};
use stead_control::Control;
use stead_model::ObjectKey;
use stead_trust::{Bundle, Leaf};

/// The folder in the state directory.
const FOLDER: &str = "refused-keys";
/// How often it is looked whether there is more to keep, in seconds.
const PERIOD_SECONDS: u64 = 1;
/// After how many looks what the record lacks is brought back again: a trust root that it needs may have come meanwhile.
const BRING_BACK_EVERY: u64 = 30;

/// The bundles beside the record.
pub(super) struct RefusedKeys {
    folder: PathBuf,
    admission: Admission,
    /// The sequences that are kept, by the machine's name.
    kept: BTreeMap<ObjectKey, u64>,
}

impl RefusedKeys {
    /// Those of a coordinator, brought back into its record where that lacks them.
    pub(super) async fn open(state_dir: &Path, admission: Admission) -> Self {
        let mut keys = Self { folder: state_dir.join(FOLDER), admission, kept: BTreeMap::new() };
        if let Err(error) = crate::private_file::make_folder(&keys.folder) {
            tracing::error!(folder = %keys.folder.display(), %error, "what refuses keys for good cannot be kept beside the record");
        }
        keys.bring_back().await;
        keys
    }

    /// Keeps what comes, for ever: what owners sign is kept within a second. It writes to the disk, so it is a task of its own.
    pub(super) async fn keep(mut self, control: Control) {
        let mut ticks = tokio::time::interval(Duration::from_secs(PERIOD_SECONDS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for look in 1_u64.. {
            ticks.tick().await;
            self.keep_new(&control).await;
            if look % BRING_BACK_EVERY == 0 {
                self.bring_back().await;
            }
        }
    }

    async fn keep_new(&mut self, control: &Control) {
        let snapshot = self.admission.store().snapshot();
        let key = |name: String| ObjectKey::new(stead_control::delivery::machine_kind(), "", &name);
        let newer = |key: &ObjectKey| {
            let sequence = snapshot.sequence(key).map_or(0, |sequence| sequence.sequence);
            sequence > self.kept.get(key).copied().unwrap_or(0)
        };
        // One that is in service again is kept as well: what was kept of it must not come back over that.
        let wanted = control.refusing().into_iter().map(key).chain(self.kept.keys().cloned());
        let wanted: Vec<ObjectKey> = wanted.collect::<BTreeSet<_>>().into_iter().filter(newer).collect();
        if wanted.is_empty() {
            return;
        }
        let rows = match self.admission.store().newest_entries(wanted).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "what refuses keys for good could not be read; it is tried again");
                return;
            }
        };
        for row in rows {
            let (key, sequence) = (row.1.key.clone(), row.1.sequence);
            let bytes = bundle_rows(vec![row]).0.pop().and_then(|bundle| bundle.to_bytes().ok());
            let Some(bytes) = bytes else { continue };
            match crate::private_file::write(&self.folder.join(&key.name), &bytes) {
                Ok(()) => drop(self.kept.insert(key, sequence)),
                Err(error) => tracing::error!(machine = key.name, %error, "what refuses its keys for good could not be kept"),
            }
        }
    }

    /// Takes into the record what it lacks of these.
    async fn bring_back(&mut self) {
        for (path, bundle) in read(&self.folder) {
            let leaf = bundle.entries.first().and_then(|entry| Leaf::from_bytes(&entry.leaf).ok());
            let Some(leaf) = leaf else { continue };
            let key = leaf.key();
            let there = self.admission.store().snapshot().sequence(&key).map_or(0, |sequence| sequence.sequence);
            if there < leaf.sequence {
                match self.admission.recover(&bundle).await {
                    Ok(recovery) if recovery.taken.is_empty() => {}
                    Ok(_) => tracing::warn!(
                        machine = key.name,
                        "the record knew nothing of keys that are refused for good; it does again"
                    ),
                    Err(error) => {
                        tracing::error!(path = %path.display(), %error, "what refuses keys for good does not hold, or not yet");
                        continue;
                    }
                }
            }
            let kept = self.kept.entry(key).or_default();
            *kept = leaf.sequence.max(*kept);
        }
    }
}

fn read(folder: &Path) -> Vec<(PathBuf, Bundle)> {
    let files = match std::fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "what refuses keys for good cannot be read");
            return Vec::new();
        }
    };
    let bundle = |path: PathBuf| {
        let bytes = std::fs::read(&path).ok()?;
        let bundle = Bundle::from_bytes(&bytes);
        bundle.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "left out")).ok().map(|bundle| (path, bundle))
    };
    files.flatten().map(|file| file.path()).filter_map(bundle).collect()
}
