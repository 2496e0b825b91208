//! The OpenAPI documents that are kept on file, one folder a version: what is served is the newest, and breaks no older one.
//!
//! `cargo xtask openapi` writes what is served over the newest; `cargo xtask openapi --new` begins a version, when one is released.

mod compatibility;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fixture::{Fixture, Wish};
use compatibility::breaks;

/// What tells the test below to write rather than to compare: `rewrite` or `new`.
const ORDER: &str = "STEAD_OPENAPI";

/// The documents of one version, by file name.
type Documents = BTreeMap<String, Value>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi")
}

/// The versions on file, oldest first.
fn versions() -> Vec<u32> {
    let entries = fs::read_dir(folder()).into_iter().flatten();
    let mut versions: Vec<u32> =
        entries.filter_map(|entry| entry.unwrap().file_name().to_str().and_then(|name| name.parse().ok())).collect();
    versions.sort_unstable();
    versions
}

fn on_file(version: u32) -> Documents {
    let read = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).unwrap();
        (entry.file_name().into_string().unwrap(), serde_json::from_str(&text).unwrap())
    };
    fs::read_dir(folder().join(version.to_string())).unwrap().map(|entry| read(entry.unwrap())).collect()
}

/// What a coordinator serves. The program's version is left out: it says nothing about the API.
async fn served() -> Documents {
    let fixture = Fixture::start(Wish::default()).await;
    let index = fixture.get("/openapi/v3").await.expect(200);
    let mut documents = Documents::new();
    documents.insert("v2.json".to_owned(), fixture.get("/openapi/v2").await.expect(200));
    for (path, place) in index["paths"].as_object().unwrap() {
        let document = fixture.get(place["serverRelativeURL"].as_str().unwrap()).await.expect(200);
        documents.insert(format!("v3-{}.json", path.replace('/', "-")), document);
    }
    for document in documents.values_mut() {
        document["info"].as_object_mut().unwrap().remove("version");
    }
    documents
}

fn write(version: u32, documents: &Documents) {
    let folder = folder().join(version.to_string());
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for (name, document) in documents {
        fs::write(folder.join(name), format!("{}\n", serde_json::to_string_pretty(document).unwrap())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_is_the_newest_on_file() {
    let served = served().await;
    let newest = versions().last().copied().unwrap_or_default();
    match std::env::var(ORDER).ok().as_deref() {
        Some("rewrite") => return write(newest.max(1), &served),
        Some("new") => return write(newest + 1, &served),
        _ => {}
    }
    let on_file = on_file(newest);
    let names = |documents: &Documents| documents.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&on_file), names(&served), "`cargo xtask openapi` writes what is served into openapi/{newest}");
    for (name, document) in &served {
        assert!(
            on_file[name] == *document,
            "openapi/{newest}/{name} is not what is served: look at the difference that `cargo xtask openapi` makes"
        );
    }
}

#[test]
fn no_version_on_file_is_broken_by_the_newest() {
    let versions = versions();
    let (newest, older) = versions.split_last().expect("there is a version on file");
    let newest = on_file(*newest);
    for version in older {
        for (name, old) in on_file(*version) {
            let new = newest.get(&name).unwrap_or_else(|| panic!("openapi/{version}/{name} is no longer served"));
            let found = breaks(&old, new);
            assert!(found.is_empty(), "clients of openapi/{version}/{name} break:\n{}", found.join("\n"));
        }
    }
}
