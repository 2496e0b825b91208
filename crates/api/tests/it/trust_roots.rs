//! Trust roots are listed and watched like anything else; a version is its own `resourceVersion`.

use std::process::Stdio;
use std::time::Duration;

use futures::TryStreamExt as _;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::{self, watcher};
use serde_json::json;
use stead_api::Limits;
use stead_trust::SignedRoot;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::fixture::{Fixture, Wish};
use crate::kubectl::{Kubectl, kubectls};
use crate::watches::Watch;

const ROOTS: &str = "/apis/stead.dev/v1/trustroots";
/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has the owner sign the next version.
async fn rotate(fixture: &Fixture) {
    let mut next = fixture.admission.root().next_version(Timestamp::now()).unwrap();
    next.fleet = Some(fixture.admission.fleet());
    let signed = SignedRoot::sign(&next, &[&fixture.owner]).unwrap();
    let spec = json!({"document": String::from_utf8(signed.document).unwrap(), "signatures": signed.signatures});
    fixture.post(ROOTS, &json!({"spec": spec})).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_starts_where_the_list_ended() {
    let limits = Limits { revision_wait_milliseconds_max: 100, ..Limits::default() };
    let fixture = Fixture::start(Wish { limits, ..Wish::default() }).await;
    rotate(&fixture).await;
    let list = fixture.get(ROOTS).await.expect(200);
    assert_eq!(list["metadata"]["resourceVersion"], "2");
    assert_eq!(list["items"][1]["metadata"]["resourceVersion"], "2");
    let open = async |query: &str| Watch::open(&fixture, &format!("{ROOTS}{query}"), "application/json").await;
    let mut after_list = open("?watch=true&resourceVersion=2").await;
    let mut from_first = open("?watch=true&resourceVersion=1").await;
    let mut from_start = open("?watch=true").await;
    let mut one = open("/v3?watch=true").await;
    let query = "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=30";
    let mut streamed = open(query).await;
    // What is no version of the root is told to nobody.
    fixture.write_lease("l", 1).await;
    rotate(&fixture).await;
    let told = async |watch: &mut Watch, names: &[&str]| {
        for name in names {
            let (kind, object) = watch.next().await.unwrap();
            assert_eq!((kind.as_str(), object["metadata"]["name"].as_str()), ("ADDED", Some(*name)));
            assert_eq!(object["metadata"]["resourceVersion"], name[1..]);
        }
    };
    told(&mut after_list, &["v3"]).await;
    told(&mut from_first, &["v2", "v3"]).await;
    told(&mut from_start, &["v1", "v2", "v3"]).await;
    told(&mut one, &["v3"]).await;
    told(&mut streamed, &["v1", "v2"]).await;
    let (kind, bookmark) = streamed.next().await.unwrap();
    assert_eq!((kind.as_str(), &bookmark["metadata"]["resourceVersion"]), ("BOOKMARK", &json!("2")));
    assert_eq!(bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    told(&mut streamed, &["v3"]).await;
    let new = fixture.get(&format!("{ROOTS}?resourceVersion=9")).await.expect(504);
    assert_eq!(new["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    fixture.get(&format!("{ROOTS}?resourceVersion=3")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_and_kube_watch_them() {
    let fixture = Fixture::start(Wish::default()).await;
    let client = crate::rust_client::client(&fixture).await;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("stead.dev", "v1", "TrustRoot"));
    let roots: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut version = 1;
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut events = Box::pin(watcher(roots.clone(), config));
        let mut next = async || tokio::time::timeout(PATIENCE, events.try_next()).await.unwrap().unwrap().unwrap();
        assert!(matches!(next().await, watcher::Event::Init));
        for known in 1..=version {
            assert!(matches!(next().await, watcher::Event::InitApply(root) if root.name_any() == format!("v{known}")));
        }
        assert!(matches!(next().await, watcher::Event::InitDone));
        rotate(&fixture).await;
        version += 1;
        assert!(matches!(next().await, watcher::Event::Apply(root) if root.name_any() == format!("v{version}")));
    }
    for kubectl in kubectls() {
        let kubectl = Kubectl::new(kubectl, &fixture);
        let mut watch = kubectl.command(&["get", "trustroots", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let mut next = async || tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        assert!(next().await.starts_with("NAME"));
        for known in 1..=version {
            let line = next().await;
            assert!(line.starts_with(&format!("v{known} ")), "{line}");
        }
        rotate(&fixture).await;
        version += 1;
        let line = next().await;
        assert!(line.starts_with(&format!("v{version} ")), "{line}");
        watch.kill().await.unwrap();
    }
}
