//! Several coordinators on one record: what a client began at one goes on at another.

use std::sync::Arc;

use serde_json::{Value, json};
use stead_model::Revision;
use stead_peers::{Passage, PostgresProxy, TempPostgres};
use stead_store::{Options, Retention};

use crate::fixture::{Fixture, Reply, Wish, profile};
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

/// Two coordinators, the second of which hears of nothing while its way to the database stalls.
async fn one_that_lags() -> (TempPostgres, PostgresProxy, Fixture, Arc<Fixture>) {
    let server = TempPostgres::start();
    let way = PostgresProxy::new(server.socket_folder());
    let wish = |url: String| Wish { postgres: Some(url), ..Wish::everything_online() };
    let first = Fixture::start(wish(server.url())).await;
    let second = Fixture::start(wish(way.url(&server.url()))).await;
    (server, way, first, Arc::new(second))
}

/// Sends a request to a coordinator that lags, and gives the answer that comes once it hears again.
async fn while_it_lags(
    way: &PostgresProxy,
    second: &Arc<Fixture>,
    send: impl AsyncFnOnce(&Fixture) -> Reply + Send + 'static,
) -> Reply {
    let before = second.api.counters().requests;
    let asked = Arc::clone(second);
    let runtime = tokio::runtime::Handle::current();
    let asking = tokio::task::spawn_blocking(move || runtime.block_on(send(&asked)));
    while second.api.counters().requests == before {
        tokio::task::yield_now().await;
    }
    way.set(Passage::Sound);
    asking.await.unwrap()
}

fn spec(object: &Value, spec: Value) -> Value {
    let mut object = object.clone();
    object["spec"] = spec;
    object
}

/// Who manages what is settled on the version that an update names, although another coordinator made it.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_a_version_that_is_not_heard_of_yet_manages_what_it_changes_and_no_more() {
    const WEB: &str = "/apis/stead.dev/v1/profiles/web";
    let (_server, way, first, second) = one_that_lags().await;
    let file = |content: &str| json!([{"path": "/motd", "content": content}]);
    let send = async |fixture: &Fixture, method: &str, path: &str, object: &Value| {
        fixture.send(method, path, &[("content-type", "application/json")], object.to_string()).await
    };
    let mut made = profile("web");
    made["spec"] = json!({"selector": {}, "files": file("one")});
    let made = send(&first, "POST", "/apis/stead.dev/v1/profiles?fieldManager=maker", &made).await.expect(201);
    heard(&second, &first).await;
    way.set(Passage::Stalls);
    let changed = spec(&made, json!({"selector": {}, "files": file("two")}));
    let changed = send(&first, "PUT", &format!("{WEB}?fieldManager=first"), &changed).await.expect(200);
    let mine = spec(&changed, json!({"selector": {}, "files": file("two"), "links": [{"path": "/l", "target": "x"}]}));
    let answer = while_it_lags(&way, &second, async move |fixture| {
        fixture
            .send("PUT", &format!("{WEB}?fieldManager=second"), &[("content-type", "application/json")], mine.to_string())
            .await
    });
    let updated = answer.await.expect(200);
    let fields = |manager: &str| {
        let entries = updated["metadata"]["managedFields"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["manager"] == manager);
        entry.unwrap_or_else(|| panic!("{manager}: {updated:#}"))["fieldsV1"].to_string()
    };
    assert!(fields("first").contains("f:content"), "{updated:#}");
    assert!(fields("second").contains("f:links") && !fields("second").contains("f:files"), "{updated:#}");
}

/// Who wrote at one coordinator and reads at another names the revision of the write, and waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_at_one_coordinator_is_read_at_another_by_its_revision() {
    let (_server, way, first, second) = one_that_lags().await;
    let paths: [&str; 3] = [
        &format!("{LEASES}?resourceVersionMatch=NotOlderThan&resourceVersion="),
        &format!("{LEASES}?resourceVersion="),
        &format!("{LEASES}/mine?resourceVersion="),
    ];
    for (path, transitions) in paths.into_iter().zip(1..) {
        way.set(Passage::Stalls);
        first.write_lease("mine", transitions).await;
        let revision = first.admission.store().revision().0;
        // What this coordinator has is shown to who asks for nothing in particular; it is not what was written.
        let any = second.get(LEASES).await.expect(200);
        assert!(!any.to_string().contains(&format!("\"leaseTransitions\":{transitions}")), "{any}");
        let path = format!("{path}{revision}");
        let found = while_it_lags(&way, &second, async move |fixture| fixture.get(&path).await).await.expect(200);
        let object = found.get("items").map_or(&found, |items| &items[0]);
        assert_eq!(object["spec"]["leaseTransitions"], transitions, "{found}");
        assert!(found["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() >= revision);
    }
    // One that is never heard of is not made up.
    way.set(Passage::Stalls);
    first.write_lease("mine", 9).await;
    let path = format!("{LEASES}?resourceVersion={}", first.admission.store().revision().0);
    let late = second.get(&path).await.expect(504);
    assert_eq!(late["details"]["causes"][0]["reason"], "ResourceVersionTooLarge", "{late}");
}
