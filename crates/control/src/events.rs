//! Events: what happened to an object, told once and counted when it happens again.

use jiff::Timestamp;
use stead_model::{Digest, Event, EventSource, Object, ObjectKey, ObjectMeta, ObjectReference};

/// How long an event is kept after it last happened, in seconds: a week, so that Monday can be asked about on Friday.
pub const EVENT_KEEP_SECONDS: i64 = 7 * 86_400;
/// The longest message, in characters (Kubernetes' own limit is 1,024).
pub const MESSAGE_CHARACTERS_MAX: usize = 1_024;
/// The namespace of events about objects of cluster scope, as Kubernetes has it.
pub const EVENT_NAMESPACE: &str = "default";

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The object it is about.
    pub about: ObjectKey,
    /// That object's uid, where it is known.
    pub uid: String,
    /// `true` for `Warning`, `false` for `Normal`.
    pub warning: bool,
    /// One word in CamelCase.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Who tells it, such as `coordinator` or `agent`.
    pub component: String,
    /// When it happened.
    pub time: Timestamp,
}

impl Occurrence {
    /// The name of its Event: the same occurrence again has the same name, so that it is counted and not repeated.
    pub fn event_name(&self) -> String {
        /// Enough of the digest that two messages of one object never meet by chance.
        const DIGEST_DIGITS: usize = 16;
        let parts = [self.about.kind.kind(), &self.uid, &self.reason, &self.message, &self.component];
        let digest = Digest::of(parts.join("\0").as_bytes()).to_string();
        let digits: String = digest.trim_start_matches("sha256:").chars().take(DIGEST_DIGITS).collect();
        format!("{}.{digits}", self.about.name)
    }

    /// The Event: new, or the present one counted once more.
    pub fn event(&self, present: Option<&Event>) -> Event {
        let time = whole_seconds(self.time).to_string();
        let namespace = if self.about.namespace.is_empty() { EVENT_NAMESPACE } else { &self.about.namespace };
        let count = present.and_then(|event| event.count).unwrap_or(0).saturating_add(1);
        Event {
            metadata: ObjectMeta { name: self.event_name(), namespace: namespace.to_owned(), ..ObjectMeta::default() },
            involved_object: ObjectReference {
                kind: self.about.kind.kind().to_owned(),
                api_version: format!("{}/{}", self.about.kind.group(), stead_model::VERSION),
                // Events are found by `kubectl describe` under the namespace of their object, which is empty for cluster scope.
                namespace: self.about.namespace.clone(),
                name: self.about.name.clone(),
                uid: self.uid.clone(),
                ..ObjectReference::default()
            },
            reason: self.reason.clone(),
            message: self.message.chars().take(MESSAGE_CHARACTERS_MAX).collect(),
            source: EventSource { component: self.component.clone(), host: String::new() },
            first_timestamp: Some(present.and_then(|event| event.first_timestamp.clone()).unwrap_or_else(|| time.clone())),
            last_timestamp: Some(time),
            count: Some(count),
            kind: if self.warning { "Warning" } else { "Normal" }.to_owned(),
            reporting_component: self.component.clone(),
            ..Event::default()
        }
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The events that have been kept long enough.
pub fn expired<'a>(events: impl IntoIterator<Item = &'a Object>, now: Timestamp) -> Vec<ObjectKey> {
    let last = |event: &Object| {
        let text = event.fields.get("lastTimestamp").or_else(|| event.fields.get("eventTime")).and_then(|value| value.as_str());
        text.and_then(|text| text.parse::<Timestamp>().ok()).or(event.metadata.creation_timestamp)
    };
    let old =
        |event: &&Object| last(event).is_none_or(|time| now.as_second().saturating_sub(time.as_second()) > EVENT_KEEP_SECONDS);
    events.into_iter().filter(old).map(Object::key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::{GroupKind, registry};

    fn occurrence(second: i64) -> Occurrence {
        Occurrence {
            about: ObjectKey::new(GroupKind::new("stead.dev", "Machine"), "", "web-1"),
            uid: "u".to_owned(),
            warning: true,
            reason: "Silent".to_owned(),
            message: "silent for 31 s".to_owned(),
            component: "coordinator".to_owned(),
            time: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn the_same_again_is_counted() {
        let first = occurrence(1).event(None);
        let second = occurrence(9).event(Some(&first));
        assert_eq!(first.metadata.name, second.metadata.name);
        assert_eq!((second.count, second.first_timestamp.as_deref()), (Some(2), Some("1970-01-01T00:00:01Z")));
        assert_eq!(second.last_timestamp.as_deref(), Some("1970-01-01T00:00:09Z"));
    }

    #[test]
    fn an_event_is_a_valid_object_and_expires() {
        let object = Object::from_typed(&occurrence(5).event(None)).unwrap();
        let info = registry().by_word("event").unwrap();
        info.parse(serde_json::to_value(&object).unwrap()).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(expired([&object], at(5 + EVENT_KEEP_SECONDS)).is_empty());
        assert_eq!(expired([&object], at(6 + EVENT_KEEP_SECONDS)), [object.key()]);
    }
}
