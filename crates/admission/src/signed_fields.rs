//! Who manages the fields of an object that its owners signed: they do, all that they signed, as server-side apply would have it.
//!
//! A signed Change says the whole object, so that it is an apply which is forced: what it says is the owners' whoever wrote it before,
//! and what it leaves out is gone. It is no update, because an update owns only what it changes, and owners stand for all they signed.

use jiff::Timestamp;
use serde_json::Value;
use stead_fields::{Kind, Live, Part, Writer, after_signed};
use stead_model::{ManagedFields, Object, registry};

/// Under which name owners manage what they sign.
const MANAGER: &str = "stead";

/// The entries of `object`, which is what owners `signed` with what they do not sign kept from the one that was `present`.
pub(crate) fn of(
    signed: &Object,
    present: Option<&Object>,
    object: &Object,
    now: Timestamp,
) -> Result<Vec<ManagedFields>, serde_json::Error> {
    let Some(info) = registry().by_group_kind(&object.group_kind()) else { return Ok(Vec::new()) };
    let old: Option<Value> = present.map(serde_json::to_value).transpose()?;
    let live = old.as_ref().zip(present).map(|(object, present)| Live { object, entries: &present.metadata.managed_fields });
    let part = Part::Object { has_status: info.has_status };
    let writer = Writer { manager: MANAGER, api_version: &object.api_version, part, now };
    let (signed, new) = (serde_json::to_value(signed)?, serde_json::to_value(object)?);
    Ok(after_signed(&Kind::of(info), live.as_ref(), &signed, &new, &writer))
}
