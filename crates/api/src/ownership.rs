//! Who manages what of an object, before it is written: what is on record, handed to `stead-fields`.

use jiff::Timestamp;
use serde_json::Value;
use stead_fields::{Applied, ApplyError, Kind, Live, Part, Writer};
use stead_model::{ManagedFields, Object};
use stead_store::Stored;

use crate::resource::Resource;
use crate::status::{ApiError, ApiResult};

/// Who writes which part, and when.
#[derive(Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) resource: Resource,
    pub(crate) manager: &'a str,
    /// Whether the status is written rather than the rest.
    pub(crate) status: bool,
    pub(crate) now: Timestamp,
}

/// An object on record, taken apart.
struct OnRecord {
    object: Value,
    entries: Vec<ManagedFields>,
}

impl OnRecord {
    fn read(stored: &Stored) -> ApiResult<Self> {
        let unreadable = |error: serde_json::Error| ApiError::internal(format!("{} cannot be read: {error}", stored.key()));
        let object: Value = serde_json::from_slice(stored.json()).map_err(unreadable)?;
        let entries = object.pointer("/metadata/managedFields").cloned().map(serde_json::from_value).transpose();
        Ok(Self { entries: entries.map_err(unreadable)?.unwrap_or_default(), object })
    }

    fn live(&self) -> Live<'_> {
        Live { object: &self.object, entries: &self.entries }
    }
}

impl Write<'_> {
    /// Settles who manages what of an object that is created, replaced or patched.
    pub(crate) fn settle(&self, stored: Option<&Stored>, new: &mut Object) -> ApiResult<()> {
        let on_record = stored.map(OnRecord::read).transpose()?;
        let value = serde_json::to_value(&*new).map_err(|error| ApiError::internal(error.to_string()))?;
        let (kind, api_version) = (Kind::of(self.resource.info), self.resource.info.api_version());
        let live = on_record.as_ref().map(OnRecord::live);
        let sent = std::mem::take(&mut new.metadata.managed_fields);
        new.metadata.managed_fields = stead_fields::after_update(&kind, live.as_ref(), &value, &sent, &self.writer(&api_version));
        Ok(())
    }

    /// Applies a configuration to what is on record.
    pub(crate) fn apply(&self, stored: Option<&Stored>, config: &Value, force: bool) -> ApiResult<Result<Applied, ApplyError>> {
        let on_record = stored.map(OnRecord::read).transpose()?;
        let (kind, api_version) = (Kind::of(self.resource.info), self.resource.info.api_version());
        let live = on_record.as_ref().map(OnRecord::live);
        Ok(stead_fields::apply(&kind, live.as_ref(), config, force, &self.writer(&api_version)))
    }

    fn writer<'w>(&'w self, api_version: &'w str) -> Writer<'w> {
        let part = if self.status { Part::Status } else { Part::Object { has_status: self.resource.info.has_status } };
        Writer { manager: self.manager, api_version, part, now: self.now }
    }
}
