//! Changes as a collection: paged, selected and watched out of the record.

use std::sync::Arc;

use serde_json::{Value, json};
use stead_admission::{Caller, Write};
use stead_store::{Expect, Options};
use stead_trust::Signer as _;

use crate::fixture::{Fixture, Wish, profile};
use crate::watches::Watch;

const CHANGES: &str = "/apis/stead.dev/v1/changes";
const PROFILES: &str = "/apis/stead.dev/v1/profiles";

/// Makes so many Changes in somebody's name.
async fn make(fixture: &Fixture, name: &str, count: usize) {
    let caller = Caller { name: name.to_owned(), key: None };
    for number in 0..count {
        let object = serde_json::from_value(profile(&format!("{name}-{number}"))).unwrap();
        fixture.admission.write(&caller, "", vec![Write::Put { object, expect: Expect::Any }], false).await.unwrap();
    }
}

fn revisions(items: &Value) -> Vec<u64> {
    items.as_array().unwrap().iter().map(|item| item["status"]["revision"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_of_one_revision_and_never_expire() {
    let fixture = Arc::new(Fixture::start(Wish::everything_online()).await);
    make(&fixture, "a", 20).await;
    let mut token = String::new();
    let (mut seen, mut revision) = (Vec::new(), None);
    loop {
        let page = fixture.get(&format!("{CHANGES}?limit=6&continue={token}")).await.expect(200);
        assert_eq!(
            *revision.get_or_insert_with(|| page["metadata"]["resourceVersion"].clone()),
            page["metadata"]["resourceVersion"]
        );
        seen.extend(revisions(&page["items"]));
        // What is made meanwhile is on no later page.
        make(&fixture, &format!("meanwhile-{}", seen.len()), 3).await;
        let Some(next) = page["metadata"]["continue"].as_str() else { break };
        token = next.to_owned();
    }
    // The namespace of the fixture is the first.
    assert_eq!(seen.len(), 21);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
    // More than one page's worth comes in parts.
    make(&fixture, "many", 520).await;
    let all = fixture.get(CHANGES).await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 21 + 12 + 520);
    assert!(all["metadata"].get("continue").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_selected_by_who_made_them() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    make(&fixture, "ann", 3).await;
    make(&fixture, "bob", 2).await;
    fixture.post(PROFILES, &profile("web")).await.expect(201);
    let online = fixture.get(&format!("{CHANGES}?limit=1")).await.expect(200)["items"][0]["spec"]["author"].clone();
    let online = online.as_str().unwrap().replace('+', "%2B").replace('=', "%3D").replace(' ', "%20");
    let owner = fixture.owner.public_key().fingerprint().replace('+', "%2B").replace(':', "%3A");
    for (selector, count) in [
        ("spec.requestedBy%3Dann".to_owned(), 3),
        ("spec.requestedBy%3D%3Dbob".to_owned(), 2),
        (format!("spec.requestedBy%3D{owner}"), 1),
        ("spec.requestedBy!%3Dann,spec.requestedBy!%3Dcoordinator".to_owned(), 3),
        (format!("spec.author%3D{online}"), 7),
        (format!("spec.author!%3D{online}"), 0),
    ] {
        let list = fixture.get(&format!("{CHANGES}?fieldSelector={selector}")).await.expect(200);
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{selector}");
        let (mut found, mut token) = (0, String::new());
        loop {
            let page = fixture.get(&format!("{CHANGES}?limit=2&fieldSelector={selector}&continue={token}")).await.expect(200);
            let items = page["items"].as_array().unwrap().len();
            assert_eq!(items, 2.min(count - found), "{selector}");
            found += items;
            let Some(next) = page["metadata"]["continue"].as_str() else { break };
            token = next.to_owned();
        }
        assert_eq!(found, count, "{selector}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_starts_at_any_revision_and_misses_none() {
    // The record's ring of events is far shorter than what is told.
    let store = Options { ring_events_max: 4, ..Options::default() };
    let fixture = Fixture::start(Wish { store, ..Wish::everything_online() }).await;
    make(&fixture, "a", 30).await;
    // Most revisions are no Changes.
    for number in 0..20 {
        fixture.write_lease("l", number).await;
    }
    let all = fixture.get(CHANGES).await.expect(200);
    let (mut known, now) = (revisions(&all["items"]), all["metadata"]["resourceVersion"].as_str().unwrap().to_owned());
    known.reverse();
    let tenth = known[9];
    let mut from_start = Watch::open(&fixture, &format!("{CHANGES}?watch=true"), "application/json").await;
    let mut from_tenth =
        Watch::open(&fixture, &format!("{CHANGES}?watch=true&resourceVersion={tenth}"), "application/json").await;
    let mut from_now = Watch::open(&fixture, &format!("{CHANGES}?watch=true&resourceVersion={now}"), "application/json").await;
    let told = async |watch: &mut Watch, expected: &[u64]| {
        for revision in expected {
            let (kind, change) = watch.next().await.unwrap();
            assert_eq!((kind.as_str(), &change["status"]["revision"]), ("ADDED", &json!(revision)));
            assert_eq!(change["metadata"]["resourceVersion"], revision.to_string());
            assert_eq!(change["spec"]["entries"].as_array().unwrap().len(), 1);
        }
    };
    told(&mut from_start, &known).await;
    told(&mut from_tenth, &known[10..]).await;
    for number in 0..3 {
        fixture.write_lease("l", number).await;
        make(&fixture, &format!("b{number}"), 1).await;
        let newest = fixture.admission.store().revision().0;
        for watch in [&mut from_start, &mut from_tenth, &mut from_now] {
            told(watch, &[newest]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn initial_events_end_with_a_bookmark_and_one_name_is_watched() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    make(&fixture, "a", 2).await;
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut watch = Watch::open(&fixture, &format!("{CHANGES}?{query}&fieldSelector=spec.requestedBy%3Da"), table).await;
    for first in [true, false] {
        let (kind, event) = watch.next().await.unwrap();
        assert_eq!((kind.as_str(), event["columnDefinitions"].is_array()), ("ADDED", first));
    }
    let (kind, bookmark) = watch.next().await.unwrap();
    assert_eq!(kind, "BOOKMARK");
    let annotations = &bookmark["rows"][0]["object"]["metadata"]["annotations"];
    assert_eq!(annotations["k8s.io/initial-events-end"], "true");
    let newest = fixture.get(&format!("{CHANGES}?limit=1")).await.expect(200);
    let name = newest["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let mut one = Watch::open(&fixture, &format!("{CHANGES}/{name}?watch=true&timeoutSeconds=1"), "application/json").await;
    assert_eq!(one.next().await.unwrap().1["metadata"]["name"], name.as_str());
    assert!(one.next().await.is_none());
}
