//! OpenAPI, made from the registry: v2 in JSON and in gnostic's protobuf, v3 a document a group.

mod gnostic;
mod schemas;
mod v2;
mod v3;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Value, json};
use stead_model::Digest;

/// The media type of OpenAPI v2 in protobuf. Clients ask for it with an `@` that no media type may hold.
pub(crate) const GNOSTIC_MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A document and what names its content.
#[derive(Clone)]
pub(crate) struct Document {
    pub(crate) bytes: Bytes,
    pub(crate) hash: String,
}

impl Document {
    fn new(bytes: Vec<u8>) -> Self {
        let hash = Digest::of(&bytes).to_string().trim_start_matches("sha256:").to_ascii_uppercase();
        Self { bytes: bytes.into(), hash }
    }
}

static V2: LazyLock<(Document, Document)> = LazyLock::new(|| {
    let document = v2::document();
    (Document::new(document.to_string().into_bytes()), Document::new(gnostic::encode(&document)))
});

static V3: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
    let document = |path: String, group: &str, version: &str| {
        let bytes = v3::document(group, version).to_string().into_bytes();
        (path, Document::new(bytes))
    };
    let core = std::iter::once(document("api/v1".to_owned(), "", "v1"));
    let groups = crate::resource::Resource::groups().into_iter();
    core.chain(groups.map(|(group, version)| document(format!("apis/{group}/{version}"), group, version))).collect()
});

/// OpenAPI v2, as JSON or as gnostic's protobuf.
pub(crate) fn v2(protobuf: bool) -> Document {
    let (json, gnostic) = &*V2;
    if protobuf { gnostic.clone() } else { json.clone() }
}

/// `/openapi/v3`: where each group's document is.
pub(crate) fn v3_index() -> Value {
    let paths: BTreeMap<&String, Value> = V3
        .iter()
        .map(|(path, document)| (path, json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={}", document.hash)})))
        .collect();
    json!({"paths": paths})
}

/// A group's OpenAPI v3 document.
pub(crate) fn v3(path: &str) -> Option<Document> {
    V3.get(path).cloned()
}
