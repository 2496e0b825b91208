//! A coordinator whose record is in PostgreSQL: while the database is away, before it is there, and moved to and from a file.

use stead_peers::{Shutdown, TempPostgres};

use super::harness::{COORDINATOR, Fleet, file, until};
use crate::stead::Home;

fn words(url: &str) -> Vec<&str> {
    [&COORDINATOR[..], &["--store", url]].concat()
}

fn content(fleet: &Fleet) -> serde_json::Value {
    fleet.get("profile/web")["spec"]["files"][0]["content"].clone()
}

/// Waits until coordinators have said so often that they wait.
fn waits(fleet: &Fleet, times: usize) {
    let said = || fleet.log("coordinator").matches("waiting for the record's database").count();
    until("a coordinator waits", || (said() == times).then_some(()));
}

#[test]
fn reads_go_on_while_the_database_is_away_and_writes_come_back_with_it() {
    let mut server = TempPostgres::start();
    let mut fleet = Fleet::found_in(Home::new(), &words(&server.url()));
    fleet.apply("web", file("/motd", "one"));
    // What is proposed with psql is there as any other object, and its author is named.
    server.run_sql(
        "SELECT stead.propose('{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"tenant\"}}')",
    );
    let namespaced = || fleet.stead(&["get", "namespace", "tenant"]).code == 0;
    until("a namespace that was proposed", || namespaced().then_some(()));
    server.stop(Shutdown::Immediate);
    assert_eq!(content(&fleet), "one");
    let refused = fleet.apply_with("web", file("/motd", "two"), &[]);
    assert!(refused.code != 0 && refused.stderr.contains("the record's database is away"), "{refused:?}");
    server.start_again();
    fleet.apply("web", file("/motd", "three"));
    assert_eq!(content(&fleet), "three");

    // A coordinator that starts while it is away says so, and waits.
    fleet.coordinator.as_mut().unwrap().stop();
    server.stop(Shutdown::Fast);
    fleet.spawn_coordinator(&words(&server.url()));
    waits(&fleet, 1);
    server.start_again();
    assert!(fleet.coordinator.as_mut().unwrap().line("ready ").is_some());
    assert_eq!(content(&fleet), "three");

    // One that is told to stop while it waits stops.
    fleet.coordinator.as_mut().unwrap().stop();
    server.stop(Shutdown::Fast);
    fleet.spawn_coordinator(&words(&server.url()));
    waits(&fleet, 2);
    assert!(fleet.coordinator.as_mut().unwrap().stop().success());
}

#[test]
fn a_record_moves_to_postgres_and_back() {
    let server = TempPostgres::start();
    let mut fleet = Fleet::found();
    fleet.apply("web", file("/motd", "one"));
    let busy = fleet.home.stead(&["store", "digest", "--state-dir", "coordinator"]).fails(2);
    assert!(busy.contains("in use by another coordinator"), "{busy}");
    fleet.coordinator.as_mut().unwrap().stop();

    let url = server.url();
    let there = fleet.home.stead(&["store", "migrate", "--from", "coordinator/record.db", "--to", &url]);
    let said = there.stderr.clone();
    let table = there.ok();
    assert!(said.contains("objects ...") && said.contains("Both are the same"), "{said}");
    assert_eq!(table, fleet.home.stead(&["store", "digest", "--state-dir", "coordinator"]).ok());
    assert_eq!(table, fleet.home.stead(&["store", "digest", "--store", &url]).ok());
    let full = fleet.home.stead(&["store", "migrate", "--from", "coordinator/record.db", "--to", &url]).fails(2);
    assert!(full.contains("the target holds a record already"), "{full}");
    fleet.start_coordinator_with(&words(&url));
    assert_eq!(content(&fleet), "one");
    fleet.apply("web", file("/motd", "two"));
    let busy = fleet.home.stead(&["store", "migrate", "--from", &url, "--to", "back.db"]).fails(2);
    assert!(busy.contains("stop the coordinators first"), "{busy}");
    fleet.coordinator.as_mut().unwrap().stop();

    fleet.home.stead(&["store", "migrate", "--from", &url, "--to", "back.db"]).ok();
    fleet.start_coordinator_with(&words("back.db"));
    assert_eq!(content(&fleet), "two");
}

#[test]
fn a_password_is_not_taken_from_the_command_line_and_not_shown() {
    let mut home = Home::new();
    let url = "postgres://anna:secret@127.0.0.1:1/fleet";
    for words in [
        &["coordinator", "--store", url][..],
        &["store", "digest", "--store", url],
        &["store", "migrate", "--from", url, "--to", "x"],
    ] {
        let error = home.stead(words).fails(2);
        assert!(error.contains("--store-password-file") && !error.contains("secret"), "{error}");
    }
    home.set("STEAD_STORE", url);
    let shown = home.stead(&["config", "show"]).ok();
    assert!(shown.contains("postgres://anna:***@127.0.0.1:1/fleet") && !shown.contains("secret"), "{shown}");
    let away = home.stead(&["store", "digest"]).fails(8);
    assert!(away.contains("PostgreSQL database fleet at 127.0.0.1:1 is away") && !away.contains("secret"), "{away}");
}

/// A server that asks for a password, as those on a network do.
#[test]
fn a_password_comes_from_a_file() {
    let server = TempPostgres::start();
    server.run_sql("CREATE ROLE anna LOGIN PASSWORD 'secret'; GRANT CREATE ON DATABASE stead TO anna");
    server.ask_for_passwords();
    let url = server.url().replace("//stead@", "//anna@");
    let home = Home::new();
    home.write("wrong", "guess\n");
    home.write("right", "secret\n");
    let error = home.stead(&["store", "digest", "--store", &url, "--store-password-file", "wrong"]).fails(2);
    assert!(error.contains("password authentication failed"), "{error}");
    let table = home.stead(&["store", "digest", "--store", &url, "--store-password-file", "right"]).ok();
    assert!(table.contains("meta"), "{table}");
}
