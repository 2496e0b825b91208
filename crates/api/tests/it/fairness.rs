//! One client's lists hold up nobody but itself. Judged by what was made in between, not by the time it took.

use futures::StreamExt as _;
use serde_json::{Value, json};
use stead_api::Limits;
use stead_trust::SigningKey;

use crate::fixture::{Client, Fixture, Wish};
use crate::watches::Watch;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const OBJECTS: usize = 20_000;
/// Lists of everything that one client has going on at once.
const FLOOD: usize = 24;

/// Lists everything, for ever.
async fn flood(client: Client) {
    loop {
        let mut body = client.get(LEASES, "application/json").await.bytes_stream();
        while let Some(part) = body.next().await {
            part.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_full_lists_starves_nobody() {
    let other = || SigningKey::from_seed(&[7; 32]);
    let limits = Limits { parts_at_once_max: 1, ..Limits::default() };
    let fixture = Fixture::start(Wish { limits, others: vec![other()], ..Wish::default() }).await;
    fixture.write_leases((0..OBJECTS).map(|number| format!("l{number:05}"))).await;
    // A watch from a revision at which many were written would tell of all of them again.
    fixture.write_lease("l00000", 1_000).await;
    let mut watch = Watch::start(&fixture, &format!("resourceVersion={}", fixture.admission.store().revision()), "*/*").await;
    let flooding: Vec<_> = (0..FLOOD).map(|_| tokio::spawn(flood(fixture.client(&fixture.owner)))).collect();
    // By now many more lists wait than there are turns.
    while fixture.api.counters().list_parts < 2 * FLOOD as u64 {
        tokio::task::yield_now().await;
    }
    let client = fixture.client(&other());
    let before = fixture.api.counters().list_parts;
    let all = client.get(LEASES, "application/json").await.bytes().await.unwrap();
    let between = fixture.api.counters().list_parts - before;
    let all: Value = serde_json::from_slice(&all).unwrap();
    assert_eq!(all["items"].as_array().unwrap().len(), OBJECTS);
    // One of three lists in the making was this client's. First come, first served would be one of twenty-five.
    let parts = OBJECTS.div_ceil(500) as u64;
    assert!(between <= FLOOD as u64 * parts / 3, "{between} parts were made while one client got {parts}");
    // Small reads and a watch need no turn at all.
    for round in 0..20_u64 {
        client.json(&format!("{LEASES}?limit=5")).await;
        fixture.write_lease("l00000", round as i64).await;
        assert_eq!(watch.next().await.unwrap().1["spec"], json!({"leaseTransitions": round}));
    }
    assert!(flooding.iter().all(|task| !task.is_finished()));
    flooding.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_large_lists_and_slow_ones_are_refused_and_cut() {
    let limits = Limits { reads_per_client_max: 2, list_milliseconds_max: 2_000, ..Limits::default() };
    let fixture = Fixture::start(Wish { limits, ..Wish::default() }).await;
    // Larger than what the buffers of a connection hold.
    fixture.write_padded_leases(8_000, &"x".repeat(4_000)).await;
    let client = fixture.client(&fixture.owner);
    let slow = [client.get(LEASES, "*/*").await, client.get(LEASES, "*/*").await];
    let refused = client.get(LEASES, "*/*").await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    // Nobody takes what was asked for: it ends with an error, not as if it were all there is.
    while fixture.api.counters().lists_too_slow < 2 {
        tokio::task::yield_now().await;
    }
    for response in slow {
        assert!(response.bytes().await.is_err());
    }
}
