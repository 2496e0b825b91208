//! Turns occurrences into writes of Events.

use std::collections::BTreeMap;

use stead_model::{Event, GroupKind, Object, ObjectKey};
use stead_store::{Op, Snapshot};

use crate::events::Occurrence;

/// The writes that tell of some occurrences. One that happened before is counted once more.
pub(crate) fn ops(snapshot: &Snapshot, occurrences: &[Occurrence]) -> Vec<Op> {
    let mut events: BTreeMap<ObjectKey, Event> = BTreeMap::new();
    for occurrence in occurrences {
        let mut occurrence = occurrence.clone();
        if occurrence.uid.is_empty() {
            let about = snapshot.get(&occurrence.about);
            occurrence.uid = about.map(|stored| stored.uid().to_owned()).unwrap_or_default();
        }
        let namespace =
            if occurrence.about.namespace.is_empty() { crate::events::EVENT_NAMESPACE } else { &occurrence.about.namespace };
        let key = ObjectKey::new(GroupKind::new("", "Event"), namespace, &occurrence.event_name());
        let present = events.get(&key).cloned().or_else(|| snapshot.get(&key)?.to_object().ok()?.to_typed().ok());
        events.insert(key, occurrence.event(present.as_ref()));
    }
    events.values().filter_map(|event| Object::from_typed(event).ok()).map(Op::put).collect()
}
