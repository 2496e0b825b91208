//! An owner who signs Changes in this process, so that no start of a program is in what is measured.

use crate::failure::BenchError;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use stead_model::{Digest, Object};
use stead_trust::{Authorship, Salt, Signer as _, SigningKey, StatementBuilder};
use ulid::Ulid;

/// How long after its making a Change may be admitted: longer than any measurement.
const ADMIT_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// An owner's key and the fleet that it signs for.
pub(crate) struct Author {
    pub(crate) key: SigningKey,
    pub(crate) fleet: Digest,
}

impl Author {
    /// A signed Change that puts one object, as the body of a request.
    pub(crate) fn change(&self, object: &Object, sequence: u64) -> Result<Vec<u8>, BenchError> {
        let now = Timestamp::now();
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let id = Ulid::from_parts(milliseconds, u128::from_be_bytes(random()?)).to_string();
        let until = now.checked_add(ADMIT_WITHIN).map_err(BenchError::step("making a Change"))?;
        let authorship = Authorship::Person { author: self.key.public_key().clone() };
        let mut builder = StatementBuilder::new(self.fleet, &id, now, until, "measured", authorship);
        builder.put(object, sequence, Salt::from_bytes(random()?)).map_err(BenchError::step("making a Change"))?;
        let unsigned = builder.build().map_err(BenchError::step("making a Change"))?;
        let signed = unsigned.sign(&[&self.key]).map_err(BenchError::step("signing a Change"))?;
        serde_json::to_vec(&signed).map_err(BenchError::step("writing a Change"))
    }
}

/// A profile of one file for the machines of this role.
pub(crate) fn profile(name: &str, role: &str, content: &str) -> Object {
    let mut object = Object { api_version: "stead.dev/v1".to_owned(), kind: "Profile".to_owned(), ..Object::default() };
    object.metadata.name = name.to_owned();
    let spec = json!({
        "selector": { "matchLabels": { "role": role } },
        "files": [{ "path": format!("/{name}"), "content": content, "mode": "0644" }],
    });
    object.fields.insert("spec".to_owned(), spec);
    object
}

/// Random bytes.
pub(crate) fn random<const BYTES: usize>() -> Result<[u8; BYTES], BenchError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(BenchError::step("taking random bytes"))?;
    Ok(bytes)
}
