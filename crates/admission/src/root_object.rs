//! A version of the trust root as an object that clients read.

use stead_model::{Digest, Object, ObjectMeta, TrustRoot, TrustRootSpec, TrustRootStatus};
use stead_store::RootDocument;
use stead_trust::Root;

use crate::encoding::decode_signatures;
use crate::error::WriteError;

/// The object of one version of the trust root.
///
/// # Errors
///
/// [`WriteError::Record`] where the record was altered.
pub fn root_object(document: &RootDocument) -> Result<Object, WriteError> {
    let name = format!("v{}", document.version);
    let signatures = decode_signatures(&name, &document.signatures)?;
    let root = read(&document.document);
    let typed = TrustRoot {
        metadata: ObjectMeta {
            name,
            resource_version: document.version.to_string(),
            generation: 1,
            creation_timestamp: root.as_ref().map(|root| root.time),
            ..ObjectMeta::default()
        },
        spec: TrustRootSpec {
            document: String::from_utf8_lossy(&document.document).into_owned(),
            signatures: signatures.iter().map(stead_trust::Signature::to_armor).collect(),
        },
        status: Some(TrustRootStatus {
            version: document.version,
            digest: Some(Digest::of(&document.document)),
            keys: root.as_ref().map_or(0, |root| root.owners.keys.len() as u64),
            roles: root.map_or_else(Vec::new, |root| root.roles.into_iter().map(|role| role.name).collect()),
        }),
    };
    Ok(Object::from_typed(&typed)?)
}

/// What a version on record says, for showing it: its signatures were verified when it was admitted.
fn read(document: &[u8]) -> Option<Root> {
    let mut value: serde_json::Value = serde_json::from_slice(document).ok()?;
    value.as_object_mut()?.remove("type");
    serde_json::from_value(value).ok()
}
