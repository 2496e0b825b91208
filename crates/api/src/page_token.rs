//! Continue tokens: where a page ended, and in which revision.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use stead_model::Revision;
use stead_store::Cursor;

use crate::status::{ApiError, ApiResult};

/// Characters of a token: two names and two numbers.
const TOKEN_CHARACTERS_MAX: usize = 2_048;
/// The format of tokens.
const VERSION: &str = "stead.dev/v1";

/// Where to go on with a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageToken {
    /// The revision of the first page; 0 is whatever the record is at, for a list that goes on after its revision was let go.
    pub(crate) revision: Revision,
    /// The last object of the page before.
    pub(crate) cursor: Cursor,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    v: String,
    revision: u64,
    namespace: String,
    name: String,
    passed: u64,
}

impl PageToken {
    pub(crate) fn to_text(&self) -> String {
        let content = serde_json::json!({
            "v": VERSION, "revision": self.revision.0, "namespace": self.cursor.namespace,
            "name": self.cursor.name, "passed": self.cursor.passed,
        });
        URL_SAFE_NO_PAD.encode(content.to_string())
    }

    pub(crate) fn parse(text: &str) -> ApiResult<Self> {
        let wrong = || ApiError::bad_request("continue key is not valid: it is none of this server's");
        if text.len() > TOKEN_CHARACTERS_MAX {
            return Err(wrong());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let content: Content = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        if content.v != VERSION {
            return Err(wrong());
        }
        let cursor = Cursor { namespace: content.namespace, name: content.name, passed: content.passed };
        Ok(Self { revision: Revision(content.revision), cursor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_others_are_refused() {
        let cursor = Cursor { namespace: "a".into(), name: "b".into(), passed: 3 };
        let token = PageToken { revision: Revision(7), cursor };
        assert_eq!(PageToken::parse(&token.to_text()).unwrap(), token);
        for bad in ["", "x", "e30", &"a".repeat(3_000), &token.to_text()[1..]] {
            assert_eq!(PageToken::parse(bad).unwrap_err().code.as_u16(), 400, "{bad}");
        }
    }
}
