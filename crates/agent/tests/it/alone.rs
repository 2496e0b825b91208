//! Without a coordinator: from memory alone, after a restart, with a memory that was tampered with, and twice at once.

use std::time::Duration;

use serde_json::json;
use sqlx::Connection as _;
use stead_agent::{AgentError, MemoryStoreError};

use crate::fleet::{Fleet, Machine, World, file, holds, key, profile};

/// A machine that holds `web-1`, whose coordinator is gone and whose agent has stopped.
async fn left_alone() -> Machine {
    let mut world = World::start().await;
    world.machine.write("/motd", "what was there", 0o644);
    world.serve(&file("web-1", "/motd", "signed"), 1).await;
    world.acknowledged("Profile/web-1", 1, "Applied").await;
    let World { centre, mut machine, .. } = world;
    centre.stop().await;
    machine.stop().await.unwrap();
    machine
}

#[tokio::test]
async fn after_a_restart_with_no_coordinator_it_keeps_itself_as_it_was_signed() {
    let mut machine = left_alone().await;
    machine.write("/motd", "by hand, while nobody looked", 0o644);
    machine.start(None);
    machine.until("what was signed", |machine| machine.read("/motd").as_deref() == Some("signed")).await;
    machine.write("/motd", "by hand, while it runs", 0o600);
    let signed = |machine: &Machine| {
        machine.files()[&machine.at("/motd")].starts_with("file 100644") && machine.read("/motd").as_deref() == Some("signed")
    };
    machine.until("what was signed", signed).await;
    machine.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_withdrawn_while_it_was_off_is_put_back_when_it_returns() {
    let mut world = World::start().await;
    world.machine.write("/motd", "what was there", 0o640);
    let before = world.machine.files();
    world.serve(&file("web-1", "/motd", "signed"), 1).await;
    world.acknowledged("Profile/web-1", 1, "Applied").await;
    world.machine.stop().await.unwrap();
    world.machine.start(None);
    let hello = world.centre.joins(2).await;
    assert_eq!((hello.root_version, hello.revision), (1, world.centre.revision()), "it says what it holds");
    let held: Vec<_> = hello.held.iter().map(|held| (held.name.as_str(), held.sequence)).collect();
    assert_eq!(held, [("m1", 1), ("web-1", 1)]);
    let gone = world.fleet.delete("web-1", 2);
    world.centre.send_state(stead_wire::State { full: true, bundles: vec![gone], ..stead_wire::State::default() }).await;
    world.acknowledged("Profile/web-1", 2, "Applied").await;
    assert_eq!(world.machine.files(), before);
    world.stop().await;
}

#[tokio::test]
async fn a_memory_that_was_altered_is_refused_and_nothing_is_done() {
    let alterations = [
        ("another content", "UPDATE entries SET row = replace(row, 'signed', 'evil!!') WHERE key LIKE '%web-1%'"),
        ("another sequence", "UPDATE entries SET row = replace(row, '\"sequence\":1', '\"sequence\":2')"),
        ("a statement lost", "DELETE FROM statements"),
        ("another statement", "UPDATE statements SET row = replace(row, 'a test', 'a best')"),
        ("a root lost", "DELETE FROM roots"),
        ("another root", "UPDATE roots SET row = replace(row, 'owners', 'others')"),
        ("another fleet", "UPDATE memory SET row = replace(row, 'sha256:', 'sha256:0')"),
        ("no text at all", "UPDATE entries SET row = 'x'"),
        ("another machine", "UPDATE memory SET row = json_set(row, '$.key', printf('%064d', 0))"),
    ];
    let machine = left_alone().await;
    machine.write("/motd", "by hand", 0o644);
    let files = machine.files();
    let kept = machine.folder.path().join("kept.db");
    std::fs::copy(machine.state_dir().join("memory.db"), &kept).unwrap();
    for (name, alteration) in alterations {
        let path = machine.state_dir().join("memory.db");
        std::fs::copy(&kept, &path).unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let done = sqlx::query(sqlx::AssertSqlSafe(alteration)).execute(&mut connection).await.unwrap();
        assert!(done.rows_affected() > 0, "{name}");
        connection.close().await.unwrap();
        let error = machine.refused_start(None).await;
        let clear = match &error {
            AgentError::Memory(MemoryStoreError::Altered { .. } | MemoryStoreError::Row(_)) => error.to_string(),
            AgentError::OtherKey { .. } => error.to_string(),
            other => panic!("{name}: {other}"),
        };
        assert!(clear.contains("memory"), "{name}: {clear}");
        assert_eq!(machine.files(), files, "{name}");
    }
}

#[tokio::test]
async fn one_machine_has_one_agent_one_fleet_and_one_key() {
    let mut world = World::start().await;
    let ticket = world.fleet.ticket(&world.centre);
    let second = world.machine.refused_start(Some(ticket.clone())).await;
    assert!(matches!(second, AgentError::Memory(MemoryStoreError::InUse { .. })), "{second}");
    world.serve(&file("web-1", "/motd", "signed"), 1).await;
    world.acknowledged("Profile/web-1", 1, "Applied").await;
    world.machine.stop().await.unwrap();

    let files = world.machine.files();
    let other = stead_wire::Ticket { fleet: *Fleet::new(70).id().as_bytes(), ..ticket };
    let elsewhere = world.machine.refused_start(Some(other)).await;
    assert!(matches!(elsewhere, AgentError::OtherFleet { .. }), "{elsewhere}");
    let mut options = world.machine.options(None);
    options.keys = std::sync::Arc::new(stead_agent::GivenKey::new(key(41), "another".to_owned()));
    let stranger = stead_agent::run(options, tokio_util::sync::CancellationToken::new()).await.unwrap_err();
    assert!(matches!(stranger, AgentError::OtherKey { .. }), "{stranger}");
    let nowhere = Machine::new(42).refused_start(None).await;
    assert!(matches!(nowhere, AgentError::NoTicket), "{nowhere}");
    assert_eq!(world.machine.files(), files);

    world.machine.start(None);
    world.centre.joins(2).await;
    world.serve(&file("web-1", "/motd", "again"), 2).await;
    world.acknowledged("Profile/web-1", 2, "Applied").await;
    world.stop().await;
}

#[tokio::test]
async fn work_on_a_wish_that_is_withdrawn_stops_at_once() {
    /// Far beyond what any test may take.
    const HANGS_SECONDS: u64 = 100_000;
    let mut world = World::start().await;
    let process = world.machine.folder.path().join("process");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep {HANGS_SECONDS}", process.display());
    let hangs = json!({"name": "hang", "check": ["false"], "run": ["sh", "-c", script], "timeoutSeconds": 86_400});
    world.serve(&profile("web-1", json!({"selector": {}, "commands": [hangs]})), 1).await;
    world.machine.until("the command runs", |_| process.exists()).await;
    let number: i32 = std::fs::read_to_string(&process).unwrap().trim().parse().unwrap();
    let lives = |number| std::path::Path::new(&format!("/proc/{number}")).exists();
    assert!(lives(number));
    let gone = world.fleet.delete("web-1", 2);
    world.centre.send(vec![gone]).await;
    world.acknowledged("Profile/web-1", 2, "Applied").await;
    world.machine.until("it is killed", |_| !lives(number)).await;
    assert!(holds(&world.centre.seen.status, "Converged").is_some());
    let stopped = tokio::time::timeout(Duration::from_secs(HANGS_SECONDS / 2), world.stop()).await;
    assert!(stopped.is_ok());
}
