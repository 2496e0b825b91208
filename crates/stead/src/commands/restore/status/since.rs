//! The changes since a restore: which of them lack objects, and which were signed anew and then overtaken by what came back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use stead_model::{Change, Kind, Revision};

use super::{Incomplete, ToSign};
use crate::client::{self, Client};
use crate::failure::Failure;
use crate::kind_word::info;

/// Changes of one page: the memory that the command needs, however many there are, beside a line an object.
const PAGE_CHANGES: u64 = 100;

/// What the changes since a restore tell.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// Changes of which objects are missing, newest first.
    pub(super) incomplete: Vec<Incomplete>,
    /// By object, the highest sequence that came back, and its change.
    back: BTreeMap<String, (u64, String)>,
    /// By object, the highest sequence that was signed since the restore, and its change.
    signed: BTreeMap<String, (u64, String)>,
}

impl Since {
    /// Reads the changes that came into the record after a revision, newest first.
    pub(super) async fn read(client: &Client, restored: Revision, at: Timestamp) -> Result<Self, Failure> {
        let path = client::collection(info(Change::KIND)?, "");
        let (mut since, mut more) = (Self::default(), String::new());
        loop {
            let query = client::query(&[("limit", &PAGE_CHANGES.to_string()), ("continue", &more)]);
            let page: Value = client.get(&format!("{path}?{query}")).await?;
            for item in page.get("items").and_then(Value::as_array).into_iter().flatten() {
                let change: Change = serde_json::from_value(item.clone())
                    .map_err(|error| Failure::internal(format!("a change cannot be read: {error}")))?;
                if change.status.as_ref().is_some_and(|status| status.revision <= restored.0) {
                    return Ok(since);
                }
                since.take(&change, at);
            }
            more = page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().to_owned();
            if more.is_empty() {
                return Ok(since);
            }
        }
    }

    /// What came back carries its first receipt, which is older than the restore.
    fn take(&mut self, change: &Change, at: Timestamp) {
        let Some(status) = &change.status else { return };
        self.incomplete.extend(status.missing.map(|missing| lacking(change, missing)));
        let highest = if status.admitted < at { &mut self.back } else { &mut self.signed };
        for entry in &change.spec.entries {
            let new = (entry.sequence, change.metadata.name.clone());
            let kept = highest.entry(entry.object.clone()).or_insert_with(|| new.clone());
            if kept.0 < new.0 {
                *kept = new;
            }
        }
    }

    /// What was signed anew, and has a lower sequence than what came back of the same object.
    pub(super) fn overtaken(&self) -> impl Iterator<Item = ToSign> + '_ {
        let over = |(object, (signed, theirs)): (&String, &(u64, String))| {
            let (back, change) = self.back.get(object).filter(|(back, _)| back > signed)?;
            Some(ToSign {
                machine: String::new(),
                object: object.clone(),
                change: change.clone(),
                sequence: Some(*back),
                reason: "Overtaken".to_owned(),
                message: format!(
                    "sequence {signed} was signed anew in change {theirs}, and sequence {back} came back over it; sign it again if it is still wanted"
                ),
            })
        };
        self.signed.iter().filter_map(over)
    }
}

fn lacking(change: &Change, missing: u64) -> Incomplete {
    Incomplete {
        change: change.metadata.name.clone(),
        missing,
        objects: missing.saturating_add(change.spec.entries.len() as u64),
        author: change
            .spec
            .author
            .parse::<stead_trust::PublicKey>()
            .map_or_else(|_| change.spec.author.clone(), |key| key.fingerprint()),
        time: change.spec.time,
        message: change.spec.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(name: &str, admitted: &str, sequence: u64) -> Change {
        let spec = json!({
            "message": "", "author": "", "time": admitted, "statement": "sha256:".to_owned() + &"0".repeat(64), "signers": [],
            "entries": [{"object": "Profile/web", "operation": "put", "sequence": sequence}],
        });
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec, "status": {"revision": 9, "admitted": admitted}}))
            .unwrap()
    }

    #[test]
    fn what_came_back_over_what_was_signed_anew_is_told_until_it_is_signed_again() {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let (before, after) = ("2026-01-31T11:00:00Z", "2026-01-31T13:00:00Z");
        let told = |changes: &[Change]| {
            let mut since = Since::default();
            changes.iter().for_each(|change| since.take(change, at));
            since.overtaken().map(|one| (one.change, one.sequence)).collect::<Vec<_>>()
        };
        let (anew, back) = (change("anew", after, 2), change("back", before, 4));
        assert_eq!(told(&[back.clone()]), []);
        assert_eq!(told(&[anew.clone()]), []);
        // Whatever the order in which they came.
        assert_eq!(told(&[back.clone(), anew.clone()]), [("back".to_owned(), Some(4))]);
        assert_eq!(told(&[anew.clone(), back.clone()]), [("back".to_owned(), Some(4))]);
        assert_eq!(told(&[change("again", after, 5), back, anew]), []);
    }
}
