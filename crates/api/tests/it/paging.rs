//! Page n comes from the revision of page 1, whatever is written meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use stead_api::Limits;
use stead_store::Options;

use crate::fixture::{Fixture, Wish};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
/// Writers at once, as the issue has it.
const WRITERS: usize = 64;

fn continue_token(page: &Value) -> Option<String> {
    page["metadata"]["continue"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_one_revision_under_64_writers() {
    let fixture = Arc::new(Fixture::start(Wish::default()).await);
    for index in 0..100 {
        fixture.write_lease(&format!("kept-{index:03}"), 0).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (fixture, done) = (Arc::clone(&fixture), Arc::clone(&done));
            tokio::spawn(async move {
                let mut count = 0;
                while !done.load(Ordering::Relaxed) {
                    // New names before, between and after those that are there, and changes of those.
                    fixture.write_lease(&format!("{}-{writer}-{count}", ["a", "kept-050", "z"][writer % 3]), 1).await;
                    fixture.write_lease(&format!("kept-{:03}", writer), count + 1).await;
                    count += 1;
                }
            })
        })
        .collect();
    for _ in 0..10 {
        let first = fixture.get(&format!("{LEASES}?limit=7")).await.expect(200);
        let revision = first["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        let remaining = first["metadata"]["remainingItemCount"].as_u64().unwrap();
        let exact = fixture.get(&format!("{LEASES}?resourceVersion={revision}&resourceVersionMatch=Exact")).await.expect(200);
        let (mut items, mut token) = (first["items"].as_array().unwrap().clone(), continue_token(&first));
        while let Some(next) = token {
            let page = fixture.get(&format!("{LEASES}?limit=50&continue={next}")).await.expect(200);
            assert_eq!(page["metadata"]["resourceVersion"], revision.as_str());
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            token = continue_token(&page);
        }
        assert_eq!(items.len() as u64, remaining + 7);
        assert_eq!(exact["items"].as_array().unwrap(), &items);
        let names: BTreeSet<&str> = items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), items.len());
        let revision: u64 = revision.parse().unwrap();
        for item in &items {
            assert!(item["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() <= revision);
        }
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_continued_is_gone() {
    let limits = Limits { revision_wait_milliseconds_max: 100, ..Limits::default() };
    let store = Options { ring_events_max: 4, ..Options::default() };
    let fixture = Fixture::start(Wish { limits, store, ..Wish::default() }).await;
    for index in 0..4 {
        fixture.write_lease(&format!("l{index}"), 0).await;
    }
    let revision = fixture.admission.store().revision().0;
    fixture.write_lease("l5", 0).await;
    // Page n comes from there, too, however often what it is about is written meanwhile; and so does another coordinator's page.
    let exact = format!("{LEASES}?resourceVersion={}&resourceVersionMatch=Exact", revision - 1);
    let first = fixture.get(&format!("{exact}&limit=2")).await.expect(200);
    assert_eq!(first["metadata"]["resourceVersion"], (revision - 1).to_string());
    fixture.write_lease("l2", 7).await;
    let rest = fixture.get(&format!("{LEASES}?limit=2&continue={}", continue_token(&first).unwrap())).await.expect(200);
    let names =
        |page: &Value| page["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].clone()).collect::<Vec<_>>();
    assert_eq!((names(&first), names(&rest)), (vec!["l0".into(), "l1".into()], vec!["l2".into()]));
    assert_eq!(rest["items"][0]["spec"]["leaseTransitions"], 0);
    let gone = fixture.get(&format!("{LEASES}?resourceVersion={}&resourceVersionMatch=Exact", revision - 3)).await.expect(410);
    assert_eq!(gone["reason"], "Expired");
    let new = fixture.get(&format!("{LEASES}?resourceVersion={}", revision + 1_000)).await.expect(504);
    assert_eq!(new["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(new["details"]["retryAfterSeconds"], 1);
    fixture.get(&format!("{LEASES}?continue=nonsense")).await.expect(400);
    fixture.get(&format!("{LEASES}?resourceVersion=0&limit=2")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_objects_come_once_each_while_they_are_written() {
    const OBJECTS: usize = 100_000;
    const WRITERS: usize = 4;
    let fixture = Arc::new(Fixture::start(Wish::default()).await);
    fixture.import_leases((0..OBJECTS).map(|number| format!("l{number:05}"))).await;
    let done = Arc::new(AtomicBool::new(false));
    let writers = (0..WRITERS).map(|writer| {
        let (fixture, done) = (Arc::clone(&fixture), Arc::clone(&done));
        tokio::spawn(async move {
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                // What is behind the page, ahead of it and new, wherever that is by now.
                let names = (0..40).map(|step| format!("l{:05}", (round * 997 + step * 301 + writer) % OBJECTS));
                fixture.write_leases(names.chain([format!("l{:05}-{writer}", round * 61 % OBJECTS)])).await;
                round += 1;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let client = fixture.client(&fixture.owner);
    for (accept, items, name) in [
        ("application/json", "/items", "/metadata/name"),
        ("application/json;as=Table;v=v1;g=meta.k8s.io", "/rows", "/object/metadata/name"),
    ] {
        let (mut names, mut pages, mut token, mut revision) = (Vec::new(), 0, String::new(), None);
        let mut expected = None;
        loop {
            let response = client.get(&format!("{LEASES}?limit=500&continue={token}"), accept).await;
            assert_eq!(response.status(), 200);
            let page: Value = response.json().await.unwrap();
            let metadata = &page["metadata"];
            assert_eq!(*revision.get_or_insert_with(|| metadata["resourceVersion"].clone()), metadata["resourceVersion"]);
            let listed = page.pointer(items).unwrap().as_array().unwrap();
            names.extend(listed.iter().map(|item| item.pointer(name).unwrap().as_str().unwrap().to_owned()));
            pages += 1;
            let Some(next) = continue_token(&page) else { break };
            assert_eq!(listed.len(), 500);
            let remaining = metadata["remainingItemCount"].as_u64().unwrap() as usize;
            assert_eq!(names.len() + remaining, *expected.get_or_insert(names.len() + remaining), "page {pages}");
            token = next;
        }
        assert_eq!(Some(names.len()), expected);
        assert_eq!(pages, names.len().div_ceil(500));
        assert!(names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]), "out of order, or twice");
        // None is missing that was there before the first page.
        let names: BTreeSet<String> = names.into_iter().collect();
        assert!((0..OBJECTS).all(|number| names.contains(&format!("l{number:05}"))));
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_counted_by_their_index() {
    let fixture = Fixture::start(Wish::default()).await;
    fixture.write_leases((0..3_000).map(|number| format!("l{number:04}"))).await;
    let client = fixture.client(&fixture.owner);
    for (selector, matching) in
        [("half%3Deven", 1_500), ("half+in+(even,odd)", 3_000), ("half!%3Deven", 1_500), ("half,half%3Dodd", 1_500), ("", 3_000)]
    {
        let page = client.json(&format!("{LEASES}?limit=1&labelSelector={selector}")).await;
        assert_eq!(page["metadata"]["remainingItemCount"], matching - 1, "{selector}");
        // Large and unindexed lists come in parts, and are whole all the same.
        let all = client.json(&format!("{LEASES}?labelSelector={selector}")).await;
        assert_eq!(all["items"].as_array().unwrap().len(), matching, "{selector}");
    }
    assert!(fixture.api.counters().list_parts > 20, "{:?}", fixture.api.counters());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_list_goes_on_with_what_there_is_now() {
    let store = Options { ring_events_max: 1, ..Options::default() };
    let fixture = Fixture::start(Wish { store, ..Wish::default() }).await;
    fixture.write_leases((0..10).map(|number| format!("l{number}"))).await;
    let first = fixture.get(&format!("{LEASES}?limit=4")).await.expect(200);
    let token = stead_token_of_another_revision(&continue_token(&first).unwrap());
    let gone = fixture.get(&format!("{LEASES}?limit=4&continue={token}")).await.expect(410);
    assert_eq!(gone["reason"], "Expired");
    assert!(gone["message"].as_str().unwrap().contains("start a new list without the continue parameter"), "{gone}");
    fixture.write_leases(["l4-new".to_owned()]).await;
    let rest = gone["metadata"]["continue"].as_str().unwrap();
    let rest = fixture.get(&format!("{LEASES}?limit=4&continue={rest}")).await.expect(200);
    let names: Vec<&str> =
        rest["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["l4", "l4-new", "l5", "l6"]);
    // From here on it is one revision again.
    assert_eq!(rest["metadata"]["resourceVersion"], fixture.admission.store().revision().to_string());
    let last = continue_token(&rest).unwrap();
    assert_eq!(fixture.get(&format!("{LEASES}?continue={last}")).await.expect(200)["items"].as_array().unwrap().len(), 3);
}

/// A token for a revision of which no snapshot was kept.
fn stead_token_of_another_revision(token: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut content: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap();
    content["revision"] = 1.into();
    URL_SAFE_NO_PAD.encode(content.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_on_its_way_is_waited_for() {
    let fixture = Arc::new(Fixture::start(Wish::default()).await);
    fixture.write_lease("l", 1).await;
    let coming = fixture.admission.store().revision().0 + 2;
    let paths = [format!("{LEASES}?resourceVersion={coming}"), format!("{LEASES}/l?resourceVersion={coming}")];
    let (list, get) = (fixture.get(&paths[0]), fixture.get(&paths[1]));
    let write = async {
        // Both requests are there before the writes.
        while fixture.api.counters().requests < 2 {
            tokio::task::yield_now().await;
        }
        fixture.write_lease("l", 2).await;
        fixture.write_lease("l", 3).await;
    };
    let (list, get, ()) = tokio::join!(list, get, write);
    assert_eq!(list.expect(200)["items"][0]["spec"]["leaseTransitions"], 3);
    assert_eq!(get.expect(200)["spec"]["leaseTransitions"], 3);
    let exact = fixture.get(&format!("{LEASES}?resourceVersion={coming}&resourceVersionMatch=Exact")).await.expect(200);
    assert_eq!(exact["metadata"]["resourceVersion"], coming.to_string());
    for any in ["resourceVersion=0", "resourceVersion=1&resourceVersionMatch=NotOlderThan", "resourceVersion=1", ""] {
        let list = fixture.get(&format!("{LEASES}?{any}")).await.expect(200);
        assert_eq!(list["metadata"]["resourceVersion"], coming.to_string(), "{any}");
    }
}
