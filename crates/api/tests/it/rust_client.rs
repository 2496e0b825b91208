//! The `kube` crate.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Namespace, ObjectReference};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind, PartialObjectMeta};
use kube::runtime::events::{Event as Report, EventType, Recorder, Reporter};
use kube::runtime::finalizer::{Event as Finalizer, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher::{self, watcher};
use kube::{Client, Config, Discovery, ResourceExt as _};
use serde_json::json;

use crate::fixture::{Fixture, Wish, profile};

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn client(fixture: &Fixture) -> Client {
    let text = std::fs::read_to_string(fixture.kubeconfig()).unwrap();
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&text).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

pub(crate) fn profiles(client: &Client) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("stead.dev", "v1", "Profile"));
    Api::all_with(client.clone(), &resource)
}

fn object(name: &str) -> DynamicObject {
    serde_json::from_value(profile(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn discovers_creates_patches_and_deletes() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let client = client(&fixture).await;
    client.apiserver_version().await.unwrap();
    for discovery in
        [Discovery::new(client.clone()).run().await.unwrap(), Discovery::new(client.clone()).run_aggregated().await.unwrap()]
    {
        assert!(discovery.has_group("stead.dev"));
        assert!(discovery.resolve_gvk(&GroupVersionKind::gvk("stead.dev", "v1", "Machine")).is_some());
    }
    let profiles = profiles(&client);
    profiles.create(&PostParams::default(), &object("web")).await.unwrap();
    let merge = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!(profiles.patch("web", &PatchParams::default(), &merge).await.unwrap().labels()["a"], "b");
    let strategic = Patch::Strategic(json!({"metadata": {"labels": {"a": "b"}}}));
    let error = profiles.patch("web", &PatchParams::default(), &strategic).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 415));
    let mut read = profiles.get("web").await.unwrap();
    read.labels_mut().insert("a".to_owned(), "c".to_owned());
    profiles.replace("web", &PostParams::default(), &read).await.unwrap();
    let stale = profiles.replace("web", &PostParams::default(), &read).await.unwrap_err();
    assert!(matches!(stale, kube::Error::Api(status) if status.is_conflict()));
    assert_eq!(profiles.list(&ListParams::default().match_any().labels("a=c")).await.unwrap().items.len(), 1);
    assert_eq!(profiles.list_metadata(&ListParams::default()).await.unwrap().items[0].name_any(), "web");
    profiles.delete_collection(&DeleteParams::default(), &ListParams::default().labels("a=c")).await.unwrap();
    assert!(profiles.get_opt("web").await.unwrap().is_none());
    let leases: Api<Lease> = Api::default_namespaced(client.clone());
    leases
        .create(
            &PostParams::default(),
            &Lease { metadata: kube::core::ObjectMeta { name: Some("l".into()), ..Default::default() }, spec: None },
        )
        .await
        .unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    assert_eq!(namespaces.get("default").await.unwrap().status.unwrap().phase.as_deref(), Some("Active"));
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_by_list_and_by_stream() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let client = client(&fixture).await;
    let profiles = profiles(&client);
    profiles.create(&PostParams::default(), &object("first")).await.unwrap();
    for (round, config) in [watcher::Config::default(), watcher::Config::default().streaming_lists()].into_iter().enumerate() {
        let mut events = Box::pin(watcher(profiles.clone(), config));
        let mut next = async || tokio::time::timeout(PATIENCE, events.try_next()).await.unwrap().unwrap().unwrap();
        assert!(matches!(next().await, watcher::Event::Init));
        let mut known = 0;
        loop {
            match next().await {
                watcher::Event::InitApply(_) => known += 1,
                watcher::Event::InitDone => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(known, round + 1);
        let name = format!("next-{round}");
        profiles.create(&PostParams::default(), &object(&name)).await.unwrap();
        assert!(matches!(next().await, watcher::Event::Apply(made) if made.name_any() == name));
    }
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("stead.dev", "v1", "Profile"));
    let names: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &resource);
    let mut metadata = Box::pin(watcher(names, watcher::Config::default().streaming_lists()));
    tokio::time::timeout(PATIENCE, metadata.next()).await.unwrap().unwrap().unwrap();
    let uid = profiles.get("first").await.unwrap().uid().unwrap();
    let deleted = await_condition(profiles.clone(), "first", conditions::is_deleted(&uid));
    let delete = async { profiles.delete("first", &DeleteParams::default()).await.unwrap() };
    let (deleted, _) = tokio::join!(tokio::time::timeout(PATIENCE, deleted), delete);
    deleted.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_come_and_go() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let profiles = profiles(&client(&fixture).await);
    profiles.create(&PostParams::default(), &object("web")).await.unwrap();
    let step = async || {
        let current = std::sync::Arc::new(profiles.get("web").await.unwrap());
        finalizer(&profiles, "stead.dev/test", current, |event| async move {
            match event {
                Finalizer::Apply(_) | Finalizer::Cleanup(_) => {
                    Ok::<_, std::io::Error>(kube::runtime::controller::Action::await_change())
                }
            }
        })
        .await
        .unwrap();
    };
    step().await;
    assert_eq!(profiles.get("web").await.unwrap().finalizers(), ["stead.dev/test"]);
    assert!(profiles.delete("web", &DeleteParams::default()).await.unwrap().is_left());
    step().await;
    assert!(profiles.get_opt("web").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_recorded_and_repeated() {
    let fixture = Fixture::start(Wish::default()).await;
    let client = client(&fixture).await;
    let recorder = Recorder::new(client.clone(), Reporter { controller: "it".into(), instance: None });
    let about = ObjectReference {
        kind: Some("Lease".into()),
        name: Some("l".into()),
        namespace: Some("default".into()),
        ..Default::default()
    };
    let report = Report {
        type_: EventType::Normal,
        reason: "Seen".into(),
        note: Some("twice".into()),
        action: "Look".into(),
        secondary: None,
    };
    recorder.publish(&report, &about).await.unwrap();
    recorder.publish(&report, &about).await.unwrap();
    let events: Api<Event> = Api::default_namespaced(client);
    let found = events.list(&ListParams::default().fields("involvedObject.name=l")).await.unwrap().items;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message.as_deref(), Some("twice"));
    assert_eq!(found[0].series.as_ref().unwrap().count, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_reconciles_what_changes() {
    use kube::runtime::controller::{Action, Controller};

    let fixture = Fixture::start(Wish::everything_online()).await;
    let profiles = profiles(&client(&fixture).await);
    profiles.create(&PostParams::default(), &object("before")).await.unwrap();
    let (sender, mut reconciled) = tokio::sync::mpsc::unbounded_channel();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("stead.dev", "v1", "Profile"));
    let controller = Controller::new_with(profiles.clone(), watcher::Config::default(), resource).run(
        |object, sender| async move {
            sender.send((object.name_any(), object.metadata.generation)).unwrap();
            Ok::<_, std::convert::Infallible>(Action::await_change())
        },
        |_, _, _| Action::await_change(),
        std::sync::Arc::new(sender),
    );
    let running = tokio::spawn(controller.for_each(|_| std::future::ready(())));
    let mut next = async || tokio::time::timeout(PATIENCE, reconciled.recv()).await.unwrap().unwrap();
    assert_eq!(next().await, ("before".to_owned(), Some(1)));
    profiles.create(&PostParams::default(), &object("after")).await.unwrap();
    assert_eq!(next().await, ("after".to_owned(), Some(1)));
    let patch = Patch::Merge(json!({"spec": {"files": []}}));
    profiles.patch("before", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(next().await, ("before".to_owned(), Some(2)));
    running.abort();
}
