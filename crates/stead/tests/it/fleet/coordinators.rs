//! Two coordinators on one PostgreSQL: both serve, one leads, and when one of them is killed machines and owner go on with the other.

use serde_json::Value;
use stead_peers::TempPostgres;
use stead_store::{Engine, PostgresEngine};

use super::harness::{Fleet, file, until};
use crate::stead::Home;

fn words<'a>(state: &'a str, url: &'a str) -> [&'a str; 5] {
    ["coordinator", "--state-dir", state, "--store", url]
}

fn leader(fleet: &Fleet) -> (String, i64) {
    let lease: Value =
        serde_json::from_str(&fleet.stead(&["get", "lease/leader", "-n", "stead-system", "-o", "json"]).ok()).unwrap();
    (lease["spec"]["holderIdentity"].as_str().unwrap().to_owned(), lease["spec"]["leaseTransitions"].as_i64().unwrap())
}

/// Which coordinators the machines are connected to.
fn coordinators_of(fleet: &Fleet) -> Vec<String> {
    fleet.list("machines").iter().filter_map(|machine| machine["status"]["coordinator"].as_str().map(str::to_owned)).collect()
}

#[test]
fn when_one_is_killed_everybody_goes_on_with_the_other() {
    let server = TempPostgres::start();
    let (home, url) = (Home::new(), server.url());
    Fleet::trust_two(&home, ["coordinator", "second"]);
    let mut fleet = Fleet::on_root(home, &words("coordinator", &url));
    let mut second = fleet.start_second(&url);

    let login = ["login", "--server", &fleet.server(), "--ca-file", "coordinator/tls/authority.crt"];
    let said = until("the coordinators know of one another", || {
        let said = fleet.stead(&login).ok();
        said.contains("Other coordinators").then_some(said)
    });
    assert!(said.contains("https://127.0.0.1:"), "{said}");
    let status = fleet.stead(&["status"]).ok();
    assert_eq!(status.matches(" in time ").count(), 2, "{status}");

    for name in ["m1", "m2", "m3", "m4"] {
        fleet.join(name);
    }
    fleet.apply_and_wait("web", file("/motd", "one"));
    let (first_leader, term) = leader(&fleet);
    // A plan comes from every machine, whichever coordinator it is connected to.
    let shown = fleet.stead(&["diff", "-f", &fleet.manifest("web", file("/motd", "two"))]);
    assert_eq!(shown.stdout.matches("1 step").count(), 4, "{shown:?}\n{:?}", coordinators_of(&fleet));

    // So does what is known of its path.
    for name in ["m1", "m2", "m3", "m4"] {
        let path: Value = serde_json::from_str(&fleet.stead(&["machine", "path", name, "-o", "json"]).ok()).unwrap();
        let told = (path["connected"].as_bool(), path["coordinatorSide"]["kind"].as_str());
        assert_eq!(told, (Some(true), Some("Direct")), "{path:#}");
    }

    fleet.coordinator.as_mut().unwrap().kill();
    fleet.apply_and_wait("web", file("/motd", "two"));
    for name in ["m1", "m2", "m3", "m4"] {
        assert_eq!(fleet.file(name, "/motd").as_deref(), Some("two"));
    }
    // A ticket of the one that is gone is good at the other.
    fleet.join("m5");
    let (second_leader, later) = leader(&fleet);
    assert!(second_leader != first_leader && later > term, "{second_leader} {later}, after {first_leader} {term}");
    until("every machine is with the other coordinator", || {
        coordinators_of(&fleet).iter().all(|coordinator| *coordinator == second_leader).then_some(())
    });

    // And back: the first one comes again, and the other is stopped in good order, which hands the lead over at once.
    fleet.start_coordinator_with(&words("coordinator", &url));
    until("the first is there again", || (fleet.stead(&["status"]).ok().matches(" in time ").count() == 2).then_some(()));
    assert!(second.stop().success());
    fleet.apply_and_wait("web", file("/motd", "three"));
    assert_eq!(leader(&fleet).0, first_leader);
}

/// The revision that a machine last came with.
fn came_with(fleet: &Fleet) -> Option<u64> {
    let log = fleet.log("coordinator");
    let line = log.lines().rfind(|line| line.contains("a machine connected"))?;
    let (_, revision) = line.split_once("revision=")?;
    revision.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// A record that begins anew is followed by a coordinator that runs: machines take the whole state of it at once.
#[test]
fn a_record_that_begins_anew_is_followed_without_a_restart() {
    let server = TempPostgres::start();
    let mut fleet = Fleet::found_in(Home::new(), &words("coordinator", &server.url()));
    fleet.join("m1");
    fleet.apply_and_wait("web", file("/motd", "one"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let anew = runtime.block_on(async {
        let engine = PostgresEngine::open_offline(&server.url(), None).await.unwrap();
        let before = engine.meta().await.unwrap();
        let anew = engine.begin_anew(&before.incarnation, jiff::Timestamp::now()).await.unwrap();
        engine.close().await;
        anew
    });
    // What a machine holds it says when it comes.
    until("the machine holds a state of the new record", || {
        let times = fleet.log("coordinator").matches("a machine connected").count();
        fleet.agent("m1").stop();
        fleet.start_agent("m1");
        until("it comes", || (fleet.log("coordinator").matches("a machine connected").count() > times).then_some(()));
        came_with(&fleet).filter(|revision| *revision >= anew.last.0)
    });
    fleet.apply_and_wait("web", file("/motd", "two"));
    assert_eq!(fleet.file("m1", "/motd").as_deref(), Some("two"));
}
