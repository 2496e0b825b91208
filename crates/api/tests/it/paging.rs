//! Page n comes from the revision of page 1, whatever is written meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

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
    let fixture = Fixture::start(Wish::default()).await;
    for index in 0..4 {
        fixture.write_lease(&format!("l{index}"), 0).await;
    }
    let revision = fixture.admission.store().revision().0;
    fixture.write_lease("l5", 0).await;
    let gone = fixture.get(&format!("{LEASES}?resourceVersion={}&resourceVersionMatch=Exact", revision - 1)).await.expect(410);
    assert_eq!(gone["reason"], "Expired");
    let new = fixture.get(&format!("{LEASES}?resourceVersion={}", revision + 1_000)).await.expect(504);
    assert_eq!(new["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(new["details"]["retryAfterSeconds"], 1);
    fixture.get(&format!("{LEASES}?continue=nonsense")).await.expect(400);
    fixture.get(&format!("{LEASES}?resourceVersion=0&limit=2")).await.expect(200);
}
