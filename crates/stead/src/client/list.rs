//! Lists, page by page.

use serde::Deserialize;
use serde_json::Value;
use stead_model::KindInfo;

use super::path::{collection, query};
use super::{Client, ClientError};

/// How many objects are asked for at a time: what `kubectl` takes too.
const PAGE_OBJECTS: &str = "500";

/// The objects of a kind, and the revision that they were read at.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) items: Vec<Value>,
    pub(crate) revision: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMeta,
    items: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    more: String,
}

impl Client {
    /// At most so many objects of a kind of cluster scope that fit a field selector.
    pub(crate) async fn some(&self, info: &KindInfo, fields: &str, limit: usize) -> Result<Vec<Value>, ClientError> {
        let limit = limit.to_string();
        let pairs = [("limit", limit.as_str()), ("fieldSelector", fields)];
        let page: Page = self.get(&format!("{}?{}", collection(info, ""), query(&pairs))).await?;
        Ok(page.items)
    }

    /// All objects of a kind in a namespace (all where it is empty) that fit the selectors.
    pub(crate) async fn list(&self, info: &KindInfo, namespace: &str, labels: &str, fields: &str) -> Result<List, ClientError> {
        let mut list = List::default();
        let mut more = String::new();
        loop {
            let pairs = [("limit", PAGE_OBJECTS), ("continue", &more), ("labelSelector", labels), ("fieldSelector", fields)];
            let page: Page = self.get(&format!("{}?{}", collection(info, namespace), query(&pairs))).await?;
            list.items.extend(page.items);
            list.revision = page.metadata.resource_version;
            more = page.metadata.more;
            if more.is_empty() {
                return Ok(list);
            }
        }
    }
}
