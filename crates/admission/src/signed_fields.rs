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
pub(crate) fn of(signed: &Object, present: Option<&Object>, object: &Object, now: Timestamp) -> Vec<ManagedFields> {
    let Some(info) = registry().by_group_kind(&object.group_kind()) else { return Vec::new() };
    let old = present.map(value);
    let live = old.as_ref().zip(present).map(|(object, present)| Live { object, entries: &present.metadata.managed_fields });
    let part = Part::Object { has_status: info.has_status };
    let writer = Writer { manager: MANAGER, api_version: &object.api_version, part, now };
    let signed = value(signed);
    // Where nothing was present, nothing was kept from it.
    let object = present.map(|_| value(object));
    after_signed(&Kind::of(info), live.as_ref(), &signed, object.as_ref().unwrap_or(&signed), &writer)
}

/// An object as JSON. It came as JSON, and so there is nothing in it that JSON could not say.
fn value(object: &Object) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
