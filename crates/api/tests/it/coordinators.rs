//! Several coordinators on one record: what a client began at one goes on at another.

use std::sync::Arc;

use serde_json::Value;
use stead_model::Revision;
use stead_peers::TempPostgres;
use stead_store::{Options, Retention};

use crate::fixture::{Fixture, Wish};
use crate::watches::Watch;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

async fn coordinator(server: &TempPostgres, store: Options) -> Fixture {
    Fixture::start(Wish { postgres: Some(server.url()), store, ..Wish::default() }).await
}

/// Waits until a coordinator has heard of what another wrote.
async fn heard(fixture: &Fixture, of: &Fixture) {
    let newest = of.admission.store().revision();
    fixture.admission.store().past(Revision(newest.0 - 1)).await.unwrap();
}

fn names(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_at_another_coordinator() {
    let server = TempPostgres::start();
    let (first, second) = (coordinator(&server, Options::default()).await, coordinator(&server, Options::default()).await);
    first.write_leases((0..100).map(|number| format!("l{number:03}"))).await;
    let page = first.get(&format!("{LEASES}?limit=30")).await.expect(200);
    let (mut listed, revision) = (names(&page), page["metadata"]["resourceVersion"].clone());
    let mut token = page["metadata"]["continue"].as_str().unwrap().to_owned();
    for (round, fixture) in [&second, &first, &second].into_iter().enumerate() {
        // What comes, goes and changes behind the page and ahead of it does not show.
        first.write_leases([format!("l05{round}-new"), format!("l00{round}-new"), "l099".to_owned()]).await;
        heard(fixture, &first).await;
        fixture.send("DELETE", &format!("{LEASES}/l09{round}"), &[], "").await.expect(200);
        let page = fixture.get(&format!("{LEASES}?limit=30&continue={token}")).await.expect(200);
        assert_eq!(page["metadata"]["resourceVersion"], revision);
        listed.extend(names(&page));
        token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(listed, (0..100).map(|number| format!("l{number:03}")).collect::<Vec<_>>());
    assert_eq!(token, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_at_a_coordinator_that_has_forgotten() {
    const WRITES: usize = 150;
    let server = TempPostgres::start();
    let first = Arc::new(coordinator(&server, Options::default()).await);
    let small = Options { ring_events_max: 8, history_page_steps_max: 20, ..Options::default() };
    let second = Arc::new(coordinator(&server, small).await);
    let start = first.admission.store().revision().0;
    let mut at_first = Watch::start(&first, &format!("resourceVersion={start}"), "application/json").await;
    let writers = [(&first, "a"), (&second, "b")].map(|(fixture, name)| {
        let fixture = Arc::clone(fixture);
        tokio::spawn(async move {
            for count in 0..WRITES {
                fixture.write_lease(&format!("{name}{}", count % 5), count as i64).await;
            }
        })
    });
    let revision = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    let mut seen = Vec::new();
    for expected in start + 1..=start + WRITES as u64 {
        let (kind, object) = at_first.next().await.unwrap();
        assert_eq!(revision(&object), expected);
        seen.push((kind, object));
    }
    // The client moves on to the other, which goes on from where it was, while both still write.
    drop(at_first);
    let at = start + WRITES as u64;
    let mut at_second = Watch::start(&second, &format!("resourceVersion={at}"), "application/json").await;
    for expected in at + 1..=start + 2 * WRITES as u64 {
        let (kind, object) = at_second.next().await.unwrap();
        assert_eq!(revision(&object), expected);
        seen.push((kind, object));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    // All of it once more, from the other's database alone.
    let mut again = Watch::start(&second, &format!("resourceVersion={start}"), "application/json").await;
    for expected in seen {
        assert_eq!(again.next().await.unwrap(), expected);
    }
    assert!(second.api.counters().history_pages >= 10, "{:?}", second.api.counters());
    // What the first forgets is forgotten at the second.
    first.admission.store().compact(Retention { revisions_max: 100, bytes_max: u64::MAX }).await.unwrap();
    let mut gone = Watch::start(&second, &format!("resourceVersion={start}"), "application/json").await;
    let (kind, status) = gone.next().await.unwrap();
    assert_eq!((kind.as_str(), status["code"].as_u64()), ("ERROR", Some(410)));
}
