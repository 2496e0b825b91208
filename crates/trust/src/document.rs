//! Signed documents: typed canonical JSON, read only after their signatures were verified.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use stead_model::canonical::{self, CanonicalError};

use crate::key::PublicKey;
use crate::signature::{Made, Signature, SignatureError, SignatureNamespace, UserPresence, verify_fit};

/// The longest signed document in bytes; a root with some hundred keys and roles is the largest there is.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// The most signatures of one document: more than any threshold in use, few enough to verify for an unknown peer.
pub const SIGNATURES_MAX: usize = 32;

/// Why the bytes of a signed document are refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Too long.
    #[error("the document has {bytes} bytes; at most {DOCUMENT_BYTES_MAX} are read")]
    Length {
        /// How long it is.
        bytes: usize,
    },
    /// Not the canonical JSON that is signed.
    #[error("the document is refused: {0}")]
    Canonical(#[from] CanonicalError),
    /// Another kind of document, or none.
    #[error("the document's type is {found:?}; expected {expected:?}")]
    Type {
        /// What is needed.
        expected: &'static str,
        /// What it says.
        found: String,
    },
    /// Its members are not those of its type.
    #[error("the document is no {document_type}: {source}")]
    Shape {
        /// Its type.
        document_type: &'static str,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// A member has a value that it may not have.
    #[error("{field}: {message}")]
    Value {
        /// The member.
        field: &'static str,
        /// What was expected of it.
        message: String,
    },
}

/// A typed document that is signed.
pub(crate) trait Document: Serialize + DeserializeOwned {
    /// The value of its member `type`.
    const TYPE: &'static str;

    /// What the shape alone cannot say.
    fn check(&self) -> Result<(), DocumentError> {
        Ok(())
    }
}

/// The canonical bytes of a document: what is signed, kept and passed on.
pub(crate) fn write<T: Document>(document: &T) -> Result<Vec<u8>, DocumentError> {
    document.check()?;
    let shape = |source| DocumentError::Shape { document_type: T::TYPE, source };
    let mut value = serde_json::to_value(document).map_err(shape)?;
    if let Value::Object(members) = &mut value {
        members.insert("type".to_owned(), T::TYPE.into());
    }
    let bytes = canonical::to_vec(&value)?;
    if bytes.len() > DOCUMENT_BYTES_MAX { Err(DocumentError::Length { bytes: bytes.len() }) } else { Ok(bytes) }
}

/// Reads a document whose signatures were verified.
pub(crate) fn read<T: Document>(bytes: &[u8]) -> Result<T, DocumentError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(DocumentError::Length { bytes: bytes.len() });
    }
    let mut members = match canonical::parse(bytes)? {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let found = members.remove("type");
    if found.as_ref().and_then(Value::as_str) != Some(T::TYPE) {
        let found = found.map(|value| value.to_string()).unwrap_or_default().chars().take(80).collect();
        return Err(DocumentError::Type { expected: T::TYPE, found });
    }
    let shape = |source| DocumentError::Shape { document_type: T::TYPE, source };
    let document: T = serde_json::from_value(Value::Object(members)).map_err(shape)?;
    document.check()?;
    Ok(document)
}

/// Whose signatures a document carries, each verified.
pub(crate) struct Signers(Vec<Made>);

impl Signers {
    /// Verifies every signature. One that does not fit spoils all: whoever passed it on has altered something.
    pub(crate) fn verify(
        namespace: SignatureNamespace,
        document: &[u8],
        signatures: &[Signature],
    ) -> Result<Self, SignatureError> {
        if signatures.is_empty() || signatures.len() > SIGNATURES_MAX {
            return Err(SignatureError::Count { count: signatures.len(), max: SIGNATURES_MAX });
        }
        signatures.iter().map(|signature| verify_fit(namespace, document, signature)).collect::<Result<_, _>>().map(Self)
    }

    /// The keys that count where the trust root says this of authenticators.
    pub(crate) fn keys(&self, presence: UserPresence) -> BTreeSet<PublicKey> {
        let counts = |made: &&Made| made.by_a_person || presence == UserPresence::NotRequired;
        self.0.iter().filter(counts).map(|made| made.key.clone()).collect()
    }

    /// As [`Signers::keys`], where a signature that does not count is an error.
    pub(crate) fn all_keys(&self, presence: UserPresence) -> Result<BTreeSet<PublicKey>, SignatureError> {
        let absent = self.0.iter().find(|made| presence == UserPresence::Required && !made.by_a_person);
        absent.map_or_else(|| Ok(self.keys(presence)), |made| Err(SignatureError::UserAbsent { key: made.key.fingerprint() }))
    }
}

/// Moments in documents: RFC 3339 with `Z`, in whole seconds, in the one spelling that they have.
pub(crate) mod seconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&super::whole_seconds(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        let error = || serde::de::Error::custom(format_args!("{text:?} is no moment such as 2026-01-31T12:00:00Z"));
        let time: Timestamp = text.parse().map_err(|_| error())?;
        if time == super::whole_seconds(time) && time.to_string() == text { Ok(time) } else { Err(error()) }
    }
}

/// A moment without its fraction of a second.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Note {
        #[serde(with = "seconds")]
        time: Timestamp,
        count: u64,
    }

    impl Document for Note {
        const TYPE: &'static str = "stead.dev/note/v1";
    }

    #[test]
    fn reads_what_it_writes() {
        let note = Note { time: "2026-01-31T12:00:00.5Z".parse().unwrap(), count: 3 };
        let bytes = write(&note).unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            r#"{"count":3,"time":"2026-01-31T12:00:00Z","type":"stead.dev/note/v1"}"#
        );
        assert_eq!(read::<Note>(&bytes).unwrap().count, 3);
    }

    #[test]
    fn refuses_every_other_spelling() {
        let good = r#"{"count":3,"time":"2026-01-31T12:00:00Z","type":"stead.dev/note/v1"}"#;
        assert!(read::<Note>(good.as_bytes()).is_ok());
        for (what, bad) in [
            ("duplicate key", good.replace("{", r#"{"count":3,"#)),
            ("trailing byte", format!("{good}\n")),
            ("white space", good.replace(':', ": ")),
            ("order", r#"{"time":"2026-01-31T12:00:00Z","count":3,"type":"stead.dev/note/v1"}"#.to_owned()),
            ("unknown member", good.replace(r#""count":3"#, r#""count":3,"more":1"#)),
            ("float", good.replace('3', "3.5")),
            ("exponent", good.replace(":3", ":3e0")),
            ("integer above 2^53-1", good.replace(":3", ":9007199254740992")),
            ("negative", good.replace(":3", ":-3")),
            ("string for a number", good.replace(":3", ":\"3\"")),
            ("type", good.replace("note", "other")),
            ("no type", r#"{"count":3,"time":"2026-01-31T12:00:00Z"}"#.to_owned()),
            ("array", "[]".to_owned()),
            ("fraction of a second", good.replace("00Z", "00.5Z")),
            ("offset", good.replace("00Z", "00+00:00")),
            ("lower case z", good.replace("00Z", "00z")),
            ("space in time", good.replace("31T", "31 ")),
        ] {
            assert!(read::<Note>(bad.as_bytes()).is_err(), "{what}: {bad}");
        }
    }
}
