//! The honest path: a machine joins, becomes what its owners signed, says so under its own key, and is as before when they let go.

use std::path::Path;

use serde_json::{Value, json};
use stead_model::Acknowledgement;
use stead_trust::{Outcome, Signature, SignedAck};

use crate::fleet::{World, file, holds, profile};

/// A file that was there, a new file, a directory, a link, and a command that works outside the root: commands see the whole system.
fn everything(selector: Value, trace: &Path) -> Value {
    let trace = trace.to_str().unwrap();
    json!({
        "selector": selector,
        "files": [
            {"path": "/motd", "content": "hello\n", "mode": "0600", "owner": "0", "group": "0"},
            {"path": "/srv/www/index", "content": "a page\n"}
        ],
        "directories": [{"path": "/srv/www", "mode": "0750"}],
        "links": [{"path": "/latest", "target": "srv/www"}],
        "commands": [{"name": "trace", "check": ["test", "-e", trace], "run": ["cp", "/dev/null", trace], "undo": ["rm", trace]}]
    })
}

async fn lived_in() -> World {
    let world = World::start().await;
    world.machine.write("/motd", "what was there\n", 0o640);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(world.machine.at("/motd"), Some(1234), Some(1235)).unwrap();
    }
    std::fs::create_dir(world.machine.at("/srv")).unwrap();
    world
}

fn word<'a>(world: &'a World, object: &str) -> &'a Acknowledgement {
    world.centre.seen.status.acknowledgements.iter().find(|word| word.object == object).unwrap()
}

#[tokio::test]
async fn what_is_signed_is_applied_acknowledged_and_taken_back_by_a_tombstone() {
    let mut world = lived_in().await;
    let trace = world.machine.folder.path().join("trace");
    let before = world.machine.files();
    world.serve(&profile("web-1", everything(json!({}), &trace)), 1).await;
    world.acknowledged("Profile/web-1", 1, "Applied").await;
    let files = world.machine.files();
    assert!(files[&world.machine.at("/motd")].starts_with("file 100600 0:0 hello"), "{files:#?}");
    assert_eq!(world.machine.read("/latest/index").as_deref(), Some("a page\n"));
    assert!(files[&world.machine.at("/srv/www")].starts_with("directory 40750"), "{files:#?}");
    assert!(trace.exists(), "the command ran");

    let word = word(&world, "Profile/web-1");
    let signed =
        SignedAck { document: word.document.clone().into_bytes(), signature: Signature::from_armor(&word.signature).unwrap() };
    let machine = world.machine.key().machine_key().unwrap();
    let ack = signed.verify(&world.fleet.id(), &machine).unwrap();
    assert_eq!((ack.outcome, ack.object_sequence, ack.statement), (Outcome::Applied, 1, word.statement));
    assert!(signed.verify(&world.fleet.id(), &crate::fleet::key(99).machine_key().unwrap()).is_err());

    let gone = world.fleet.delete("web-1", 2);
    world.centre.send(vec![gone]).await;
    world.acknowledged("Profile/web-1", 2, "Applied").await;
    assert_eq!(world.machine.files(), before, "everything is as it was");
    assert!(!trace.exists(), "the command was undone");
    assert_eq!(holds(&world.centre.seen.status, "Refused"), None);
    world.stop().await;
}

#[tokio::test]
async fn a_signed_change_of_label_withdraws_and_brings_back() {
    let mut world = lived_in().await;
    let trace = world.machine.folder.path().join("trace");
    let before = world.machine.files();
    let in_graz = json!({"matchLabels": {"site": "graz"}});
    world.serve(&profile("web-1", everything(in_graz, &trace)), 1).await;
    world.acknowledged("Profile/web-1", 1, "Applied").await;
    let applied = world.machine.files();
    assert_ne!(applied, before);

    let elsewhere = world.own("linz", 2);
    world.centre.send(vec![elsewhere]).await;
    world.centre.until("nothing to look after", |seen| seen.status.units.is_empty()).await;
    assert_eq!(world.machine.files(), before);
    assert!(!trace.exists(), "the command was undone");

    let back = world.own("graz", 3);
    world.centre.send(vec![back]).await;
    world
        .centre
        .until("all of it again", |seen| holds(&seen.status, "Converged").is_some() && seen.status.units.len() == 5)
        .await;
    assert_eq!(world.machine.files(), applied);
    world.stop().await;
}

#[tokio::test]
async fn a_new_sequence_replaces_what_the_old_one_made() {
    let mut world = lived_in().await;
    let before = world.machine.files();
    let files = |files: Value| profile("web-1", json!({"selector": {}, "files": files}));
    world.serve(&files(json!([{"path": "/motd", "content": "one"}, {"path": "/old", "content": "one"}])), 1).await;
    world.acknowledged("Profile/web-1", 1, "Applied").await;
    world.serve(&files(json!([{"path": "/motd", "content": "two"}])), 2).await;
    world.acknowledged("Profile/web-1", 2, "Applied").await;
    assert_eq!((world.machine.read("/motd").as_deref(), world.machine.read("/old")), (Some("two"), None));
    let gone = world.fleet.delete("web-1", 3);
    world.centre.send(vec![gone]).await;
    world.acknowledged("Profile/web-1", 3, "Applied").await;
    assert_eq!(world.machine.files(), before);
    world.stop().await;
}

#[tokio::test]
async fn a_record_that_was_restored_and_knows_less_is_passed_over_without_a_word() {
    let mut world = World::start().await;
    let older = world.fleet.put(&file("web-1", "/motd", "older"), 1);
    world.centre.send(vec![older.clone()]).await;
    world.acknowledged("Profile/web-1", 1, "Applied").await;
    world.serve(&file("web-1", "/motd", "newer"), 2).await;
    world.acknowledged("Profile/web-1", 2, "Applied").await;
    world.centre.full(Vec::new(), vec![older]).await;
    world.serve(&file("web-2", "/after", "it"), 1).await;
    world.acknowledged("Profile/web-2", 1, "Applied").await;
    assert_eq!(holds(&world.centre.seen.status, "Refused"), None);
    assert!(world.centre.seen.events.iter().all(|event| event.reason != "Refused"), "nobody is alarmed");
    assert_eq!(world.machine.read("/motd").as_deref(), Some("newer"));
    world.stop().await;
}
