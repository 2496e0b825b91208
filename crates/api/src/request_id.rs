//! The name of one request: in the log, in traces, and in the answer's `Audit-Id`, as Kubernetes has it.

use std::fmt;

use http::{HeaderName, HeaderValue};

use crate::api::Api;
use crate::response::Answer;

/// The header that carries it.
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// A UUID of version 4 (RFC 9562 section 5.4): its 16 bytes are the trace's id where the request is about no Change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId([u8; 16]);

impl RequestId {
    /// From random bytes, of which six bits say that they are random.
    const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// A name that no other request has.
    pub(crate) fn new(api: &Api) -> Self {
        let mut bytes = [0; 16];
        (api.admission().environment().random)(&mut bytes);
        Self::from_random(bytes)
    }

    /// Puts it into the answer.
    pub(crate) fn mark(self, answer: &mut Answer) {
        if let Ok(value) = HeaderValue::from_str(&self.to_string()) {
            answer.headers_mut().insert(AUDIT_ID, value);
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_spelled_as_uuids_are() {
        assert_eq!(RequestId::from_random([0xff; 16]).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(RequestId::from_random([0; 16]).to_string(), "00000000-0000-4000-8000-000000000000");
    }
}
