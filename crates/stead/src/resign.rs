//! After a rotation: sending the new version, and signing again what keys that left had signed.

use std::collections::BTreeMap;

use serde_json::Value;
use stead_model::{Object, ObjectKey, TrustRoot, TrustRootSpec};
use stead_trust::{PublicKey, Root, Signature, SignedRoot};

use crate::change::{self, Draft};
use crate::cli::Signing;
use crate::client::{Client, collection};
use crate::commands::Context;
use crate::failure::{Failure, FailureKind};
use crate::kind_word::info;
use crate::signer::{self, BoxSigner};

/// The keys of persons that are in one version and not in the next.
pub(crate) fn keys_that_left(before: &Root, after: &Root) -> Vec<PublicKey> {
    let keys = before.owners.keys.iter().chain(before.roles.iter().flat_map(|role| &role.keys));
    let mut left: Vec<PublicKey> = keys.filter(|key| !after.is_persons_key(key)).cloned().collect();
    left.sort();
    left.dedup();
    left
}

/// Sends a version of the trust root.
pub(crate) async fn send_root(client: &Client, signed: &SignedRoot, version: u64) -> Result<(), Failure> {
    let spec = TrustRootSpec {
        document: String::from_utf8_lossy(&signed.document).into_owned(),
        signatures: signed.signatures.iter().map(Signature::to_armor).collect(),
    };
    let mut typed = TrustRoot { spec, ..TrustRoot::default() };
    typed.metadata.name = format!("v{version}");
    let object = Object::from_typed(&typed).map_err(|error| Failure::of(FailureKind::Internal, error))?;
    let _shown_by_trust_show: Value = client.post(&collection(info("trustroot")?, ""), &object).await?;
    client.say_warnings();
    Ok(())
}

/// Lists what keys that left had signed, and signs it again in one change with keys that stayed.
pub(crate) async fn after_rotation(context: &Context, left: &[PublicKey], no_resign: bool) -> Result<(), Failure> {
    if left.is_empty() {
        return Ok(());
    }
    let signers = signer::load_all(&context.settings)?;
    let stayed: Vec<BoxSigner> = signers.into_iter().filter(|signer| !left.contains(signer.public_key())).collect();
    let Some(first) = stayed.first() else {
        let failure = Failure::refused("the new trust root is in force; what the keys that left had signed is not signed again");
        return Err(failure
            .hint("Apply it again with a key that stayed: stead get profiles --key KEY -o yaml | stead apply --key KEY -f -"));
    };
    // The login before the rotation may have been one of a key that left.
    let client = Client::connect_as(&context.settings, first.as_ref()).await?;
    let fingerprints: Vec<String> = left.iter().map(PublicKey::fingerprint).collect();
    let keys = signed_only_by(&client, &fingerprints).await?;
    if keys.is_empty() {
        context.say("Nothing on record was signed by the keys that left alone.");
        return Ok(());
    }
    let list: Vec<String> = keys.iter().map(ToString::to_string).collect();
    context.say(&format!("Signed by the keys that left alone: {}.", list.join(", ")));
    if no_resign {
        context.say("Machines keep these; machines that join from now on do not take them before somebody signs them again.");
        return Ok(());
    }
    let objects = change::on_record(&client, &keys).await?;
    let draft = Draft { puts: objects.into_values().map(|object| object.as_sent()).collect(), ..Draft::default() };
    let signing = Signing::with_message(format!("sign again what {} had signed", fingerprints.join(", ")));
    let sent = change::sign_and_send_with(&client, &context.settings, &stayed, &draft, &signing).await?;
    context.print(&format!("{} object(s) signed again (change {})\n", draft.puts.len(), sent.id))
}

/// The objects whose newest change carries only signatures of these keys.
async fn signed_only_by(client: &Client, fingerprints: &[String]) -> Result<Vec<ObjectKey>, Failure> {
    let mut changes = client.list(info("change")?, "", "", "").await?.items;
    changes.sort_by_key(|change| change.pointer("/status/revision").and_then(Value::as_u64));
    let mut newest: BTreeMap<ObjectKey, bool> = BTreeMap::new();
    for change in &changes {
        let signers = change.pointer("/spec/signers").and_then(Value::as_array);
        let only = signers.is_some_and(|signers| {
            !signers.is_empty()
                && signers
                    .iter()
                    .all(|signer| signer.as_str().is_some_and(|signer| fingerprints.iter().any(|left| left == signer)))
        });
        for entry in change.pointer("/spec/entries").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            let Some(key) = key_of(text("object")) else { continue };
            // A deletion stands on every machine that had the object; the others have nothing to take away.
            newest.insert(key, only && text("operation") == "put");
        }
    }
    Ok(newest.into_iter().filter(|(_, only)| *only).map(|(key, _)| key).collect())
}

/// `Profile/web` or `Lease/default/a`, as a Change lists its objects.
pub(crate) fn key_of(text: &str) -> Option<ObjectKey> {
    let mut parts = text.split('/');
    let kind = info(parts.next()?).ok()?.group_kind();
    match (parts.next()?, parts.next(), parts.next()) {
        (name, None, _) => Some(ObjectKey::new(kind, "", name)),
        (namespace, Some(name), None) => Some(ObjectKey::new(kind, namespace, name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_changes_are_found_again() {
        for text in ["Profile/web", "Lease/default/a"] {
            assert_eq!(key_of(text).unwrap().to_string(), text);
        }
        for bad in ["Profile", "Nothing/a", "Lease/a/b/c", ""] {
            assert!(key_of(bad).is_none(), "{bad}");
        }
    }
}
