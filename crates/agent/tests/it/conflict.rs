//! Two profiles that claim one path: neither wins, both are told, and what was good stays until one lets go.

use serde_json::json;

use crate::fleet::{World, file, holds, profile};

#[tokio::test]
async fn neither_wins_and_the_last_good_state_stays_until_one_lets_go() {
    let mut world = World::start().await;
    world.machine.write("/motd", "what was there", 0o640);
    let before = world.machine.files();
    world.serve(&file("web-1", "/motd", "first"), 1).await;
    world.acknowledged("Profile/web-1", 1, "Applied").await;
    let two = json!({"selector": {}, "files": [{"path": "/motd", "content": "second"}, {"path": "/other", "content": "second"}]});
    world.serve(&profile("web-2", two), 1).await;
    world.acknowledged("Profile/web-1", 1, "Failed").await;
    world.acknowledged("Profile/web-2", 1, "Failed").await;
    let seen = &world.centre.seen;
    assert!(holds(&seen.status, "Conflict").is_some());
    let unit = seen.status.units.iter().find(|unit| unit.unit == "file:/motd").unwrap();
    assert_eq!((unit.state, unit.source.as_str()), (stead_model::UnitState::Conflict, "Profile/web-1, Profile/web-2"));
    assert!(unit.message.contains("web-1") && unit.message.contains("web-2"), "{}", unit.message);
    assert_eq!(world.machine.read("/motd").as_deref(), Some("first"), "the last good state");
    world.machine.until("the others go on", |machine| machine.read("/other").as_deref() == Some("second")).await;
    world.centre.until("an event", |seen| seen.told("Conflict", "file:/motd")).await;

    // A change of one side does not win either, and neither does a restart.
    world.serve(&file("web-1", "/motd", "louder"), 2).await;
    world.acknowledged("Profile/web-1", 2, "Failed").await;
    world.machine.stop().await.unwrap();
    world.machine.start(None);
    world.centre.joins(2).await;
    world.acknowledged("Profile/web-2", 1, "Failed").await;
    assert_eq!(world.machine.read("/motd").as_deref(), Some("first"));

    let gone = world.fleet.delete("web-1", 3);
    world.centre.full(Vec::new(), vec![gone]).await;
    world.acknowledged("Profile/web-2", 1, "Applied").await;
    world.acknowledged("Profile/web-1", 3, "Applied").await;
    assert_eq!(world.machine.read("/motd").as_deref(), Some("second"));
    assert_eq!(holds(&world.centre.seen.status, "Conflict"), None);

    let gone = world.fleet.delete("web-2", 2);
    world.centre.send(vec![gone]).await;
    world.acknowledged("Profile/web-2", 2, "Applied").await;
    assert_eq!(world.machine.files(), before);
    world.stop().await;
}
