//! What comes back into a record that was restored: on every engine, in parts, in any order, and next to what was signed meanwhile.

use std::sync::Arc;

use serde_json::json;
use stead_admission::{Admission, Recovery, RecoveryError, bundle_rows, change_object};
use stead_model::{Object, ObjectKey, Revision};
use stead_peers::TempPostgres;
use stead_store::{ChangeReference, Engine, Options, PostgresEngine, SqliteEngine, Store};
use stead_trust::{Authorship, Bundle, Salt, SignedRoot, Signer as _, SigningKey, StatementBuilder};

use crate::fleet::{Fleet, caller, environment, now, object, online};

fn profile(name: &str, content: &str) -> Object {
    object("Profile", name, json!({"selector": {}, "files": [{"path": "/etc/motd", "content": content}]}))
}

fn key(name: &str) -> ObjectKey {
    profile(name, "").key()
}

/// One Change: puts, and deletions where there is no content.
fn signed(fleet: &Fleet, entries: &[(&str, Option<&str>, u64)]) -> stead_trust::Submission {
    let author = Authorship::Person { author: fleet.owner.public_key().clone() };
    let later = now() + jiff::SignedDuration::from_hours(1);
    let id = fleet.admission.environment().new_id();
    let mut builder = StatementBuilder::new(fleet.admission.fleet(), &id, now(), later, "a test", author);
    for (name, content, sequence) in entries {
        let salt = Salt::from_bytes([7; 32]);
        match content {
            Some(content) => builder.put(&profile(name, content), *sequence, salt).unwrap(),
            None => builder.delete("stead.dev/v1", &key(name), *sequence, salt).unwrap(),
        };
    }
    builder.build().unwrap().sign(&[&fleet.owner]).unwrap()
}

async fn submit(fleet: &Fleet, entries: &[(&str, Option<&str>, u64)]) {
    fleet.admission.submit(&caller(), &signed(fleet, entries), false).await.unwrap();
}

/// What a machine holds of these names, as it was sent.
async fn held(fleet: &Fleet, names: &[&str]) -> Vec<Bundle> {
    let rows = fleet.admission.store().newest_entries(names.iter().map(|name| key(name)).collect()).await.unwrap();
    let (bundles, malformed) = bundle_rows(rows);
    assert!(malformed.is_empty());
    bundles
}

/// A record that lives on, and the one that was put back from before its newest Changes.
struct Restored {
    before: Fleet,
    after: Fleet,
    /// The restored record's file, where it is in one.
    aside: std::path::PathBuf,
    /// Where the restored record is, where that is not a folder.
    _server: Option<TempPostgres>,
}

const BASE: [(&str, Option<&str>, u64); 3] = [("a", Some("1"), 1), ("b", Some("1"), 1), ("gone", Some("1"), 1)];

/// A record with `a`, `b` and `gone` that is put aside before `since` happens, and put back beside it.
async fn restored(since: &[&[(&str, Option<&str>, u64)]], on_postgres: bool) -> Restored {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("before.db"), folder.path().join("aside.db"));
    let engine = SqliteEngine::open(&path).await.unwrap();
    let fleet = Fleet::on(Store::open(engine, Options::default()).await.unwrap()).await;
    submit(&fleet, &BASE).await;
    fleet.admission.store().close().await;
    std::fs::copy(&path, &aside).unwrap();

    let open = |store: Store| Admission::open(store, fleet.root.digest(), Arc::new(online()), environment()).unwrap();
    let again = SqliteEngine::open(&path).await.unwrap();
    let admission = open(Store::open(again, Options::default()).await.unwrap());
    let before = Fleet { admission, owner: SigningKey::from_seed(&[1; 32]), root: fleet.root.clone(), _folder: Some(folder) };
    for change in since {
        submit(&before, change).await;
    }
    let engine = SqliteEngine::open(&aside).await.unwrap();
    let incarnation = engine.meta().await.unwrap().incarnation;
    engine.begin_anew(&incarnation, now()).await.unwrap();
    let server = on_postgres.then(TempPostgres::start);
    let store = match &server {
        Some(server) => {
            let target = PostgresEngine::open_offline(&server.url(), None).await.unwrap();
            stead_store::copy(&engine, &target, &mut |_, _| {}).await.unwrap();
            target.close().await;
            Store::open(PostgresEngine::open(&server.url()).await.unwrap(), Options::default()).await.unwrap()
        }
        None => Store::open(engine, Options::default()).await.unwrap(),
    };
    let after = Fleet { admission: open(store), owner: SigningKey::from_seed(&[1; 32]), root: fleet.root, _folder: None };
    Restored { before, after, aside, _server: server }
}

impl Restored {
    /// A machine gives back what it holds of a name.
    async fn give_back(&self, name: &str) -> Recovery {
        let bundle = held(&self.before, &[name]).await.pop().unwrap();
        self.after.admission.recover(&bundle).await.unwrap()
    }

    fn content(&self, name: &str) -> Option<String> {
        let object = self.after.stored(&key(name))?;
        Some(object.spec()["files"][0]["content"].as_str().unwrap().to_owned())
    }

    fn sequence(&self, name: &str) -> (u64, bool) {
        let sequence = self.after.admission.store().snapshot().sequence(&key(name)).unwrap();
        (sequence.sequence, sequence.deleted)
    }
}

/// Two Changes since the backup: of one, only some objects are on any machine; the other deletes.
async fn comes_back(on_postgres: bool) {
    let since: [&[_]; 2] =
        [&[("a", Some("2"), 2), ("b", Some("2"), 2), ("new", Some("1"), 1), ("nowhere", Some("1"), 1)], &[("gone", None, 2)]];
    let world = restored(&since, on_postgres).await;
    let store = world.after.admission.store().clone();
    let mut watcher = store.watch(store.revision(), stead_store::WatchScope::default());
    let base = store.revision();
    assert_eq!(world.give_back("gone").await.taken, [key("gone")]);
    let first = world.give_back("b").await;
    assert_eq!(first.taken, [key("b")]);
    let joined = [world.give_back("a").await, world.give_back("new").await];
    assert!(joined.iter().all(|recovery| recovery.change == first.change && recovery.taken.len() == 1), "{joined:?}");
    assert_eq!(store.revision(), Revision(base.0 + 4), "each part happens when it comes");

    assert_eq!((world.content("gone"), world.sequence("gone")), (None, (2, true)));
    assert_eq!(["a", "b", "new"].map(|name| world.content(name).unwrap()), ["2", "2", "1"]);
    assert_eq!(world.sequence("a"), (2, false));
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let group = watcher.next().await.unwrap();
        seen.extend(group.events.iter().map(|event| event.object.name().to_owned()));
    }
    assert_eq!(seen, ["gone", "b", "a", "new"]);

    let change = store.change(ChangeReference::Id(first.change.clone())).await.unwrap().unwrap();
    let original = world.before.admission.store().change(ChangeReference::Id(first.change)).await.unwrap().unwrap();
    assert_eq!((&change.statement, &change.signatures), (&original.statement, &original.signatures));
    assert_eq!((&change.receipt, change.time), (&original.receipt, original.time), "machines hold it by its first receipt");
    let entries = store.entries(change.revision).await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| (entry.index, entry.key.name.as_str())).collect::<Vec<_>>(),
        [(0, "a"), (1, "b"), (2, "new")]
    );
    let shown = change_object(&change, &entries).unwrap();
    assert_eq!(shown.status()["missing"], json!(1), "one of four objects is nowhere");

    // The same again is nothing, and what machines are sent is what they had.
    let revision = store.revision();
    for name in ["a", "b", "new", "gone"] {
        assert!(world.give_back(name).await.taken.is_empty());
    }
    assert_eq!(store.revision(), revision);
    assert_eq!(held(&world.after, &["a"]).await, held(&world.before, &["a"]).await);
    // And it goes on from there.
    submit(&world.after, &[("a", Some("3"), 3), ("gone", Some("back"), 3)]).await;
    assert_eq!(world.content("gone").as_deref(), Some("back"));
    store.close().await;
    if !on_postgres {
        // It moves to another engine as every record does, and opens there.
        let (source, target) = (SqliteEngine::open(&world.aside).await.unwrap(), world.aside.with_extension("copy"));
        let target = SqliteEngine::open(&target).await.unwrap();
        let proven = stead_store::copy(&source, &target, &mut |_, _| {}).await.unwrap();
        assert_eq!(stead_store::digest(&target).await.unwrap(), proven);
    }
}

#[tokio::test]
async fn what_machines_hold_comes_back_in_parts_on_sqlite() {
    comes_back(false).await;
}

#[tokio::test]
async fn what_machines_hold_comes_back_in_parts_on_postgresql() {
    comes_back(true).await;
}

#[tokio::test]
async fn all_of_a_change_comes_back_at_once_and_gaps_of_sequences_are_no_hindrance() {
    let since: [&[_]; 3] =
        [&[("a", Some("2"), 2)], &[("a", Some("3"), 3), ("b", Some("2"), 2)], &[("new", Some("1"), 1), ("gone", None, 2)]];
    let world = restored(&since, false).await;
    for mut bundle in held(&world.before, &["a", "b", "new", "gone"]).await {
        let recovery = world.after.admission.recover(&bundle).await.unwrap();
        assert_eq!(recovery.taken.len(), 2);
        bundle.entries.reverse();
        assert!(world.after.admission.recover(&bundle).await.unwrap().taken.is_empty());
    }
    assert_eq!((world.sequence("a"), world.content("a").as_deref()), ((3, false), Some("3")));
}

#[tokio::test]
async fn what_came_and_went_since_the_backup_leaves_its_tombstone() {
    let since: [&[_]; 2] = [&[("brief", Some("1"), 1)], &[("brief", None, 2)]];
    let world = restored(&since, false).await;
    assert_eq!(world.give_back("brief").await.taken, [key("brief")]);
    assert_eq!((world.content("brief"), world.sequence("brief")), (None, (2, true)));
}

#[tokio::test]
async fn what_owners_signed_meanwhile_is_kept_or_overtaken_and_named() {
    let since: [&[_]; 2] = [&[("a", Some("lost"), 2), ("b", Some("lost"), 2)], &[("b", Some("newer"), 3)]];
    let world = restored(&since, false).await;
    submit(&world.after, &[("a", Some("anew"), 2), ("b", Some("anew"), 2)]).await;
    let kept = world.give_back("a").await;
    assert!(kept.taken.is_empty() && kept.overtaken.is_empty());
    assert_eq!((kept.conflicts[0].key.clone(), kept.conflicts[0].sequence), (key("a"), 2));
    assert_eq!(world.content("a").as_deref(), Some("anew"), "what owners signed last stays");
    let overtaken = world.give_back("b").await;
    assert_eq!((overtaken.overtaken[0].record_sequence, overtaken.overtaken[0].sequence), (2, 3));
    assert_eq!(world.content("b").as_deref(), Some("newer"), "a machine would never go back behind it");
}

#[tokio::test]
async fn forgeries_stay_out_and_another_change_of_one_id_too() {
    let world = restored(&[&[("a", Some("2"), 2)]], false).await;
    let honest = held(&world.before, &["a"]).await.pop().unwrap();
    let refused = async |alter: &dyn Fn(&mut Bundle)| {
        let mut bundle = honest.clone();
        alter(&mut bundle);
        world.after.admission.recover(&bundle).await.unwrap_err().reason()
    };
    assert_eq!(refused(&|bundle| bundle.entries[0].object = Some(b"{}".to_vec())).await, "Digest");
    assert_eq!(refused(&|bundle| bundle.statement.push(b' ')).await, "Signature");
    assert_eq!(refused(&|bundle| bundle.receipt.clear()).await, "Receipt");
    assert_eq!(refused(&|bundle| bundle.entries[0].index = 1).await, "Proof");
    assert!(RecoveryError::REASONS.contains(&"Digest"));
    assert_eq!(world.sequence("a"), (1, false), "nothing of it has happened");
    // The owner's own tool wrote two statements with one id.
    let id = stead_trust::ChangeStatement::from_document(&honest.statement).unwrap().id;
    let author = Authorship::Person { author: world.after.owner.public_key().clone() };
    let later = now() + jiff::SignedDuration::from_hours(1);
    let mut builder = StatementBuilder::new(world.after.admission.fleet(), &id, now(), later, "another", author);
    builder.put(&profile("b", "9"), 2, Salt::from_bytes([1; 32])).unwrap();
    let other = builder.build().unwrap().sign(&[&world.after.owner]).unwrap();
    world.after.admission.submit(&caller(), &other, false).await.unwrap();
    assert_eq!(refused(&|_| {}).await, "OtherChange");
}

#[tokio::test]
async fn versions_of_the_root_come_back_first_and_two_of_one_number_are_an_alarm() {
    let world = restored(&[], false).await;
    let next = |seed: u8| {
        let mut next = world.before.admission.root().next_version(now()).unwrap();
        next.online.keys.push(SigningKey::from_seed(&[seed; 32]).public_key().clone());
        SignedRoot::sign(&next, &[&world.before.owner]).unwrap()
    };
    let versions = [world.after.admission.chain().signed()[0].clone(), next(40)];
    assert_eq!(world.after.admission.recover_roots(&versions).await.unwrap(), 1);
    assert_eq!(world.after.admission.root().version, 2);
    assert_eq!(world.after.admission.recover_roots(&versions).await.unwrap(), 0);
    assert_eq!(world.after.admission.recover_roots(&[next(41)]).await.unwrap_err().reason(), "RootChain");
    // What is kept out changes nothing.
    assert_eq!(world.after.stored(&key("a")).map(|object| object.metadata.name), Some("a".to_owned()));
}
