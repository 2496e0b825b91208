//! The admin's own outbox: what is signed while no coordinator answers waits on disk and arrives later, once, whatever happened meanwhile.

use serde_json::{Value, json};

use super::harness::{Fleet, file, until};
use super::process::Process;

fn waiting(fleet: &Fleet) -> Vec<Value> {
    let mut list: Value = serde_json::from_str(&fleet.stead(&["outbox", "list", "-o", "json"]).ok()).unwrap();
    list["items"].as_array_mut().unwrap().drain(..).collect()
}

fn id(entry: &Value) -> String {
    entry["change"].as_str().unwrap().to_owned()
}

fn changes_of(fleet: &Fleet, profile: &str) -> usize {
    let log: Value = serde_json::from_str(&fleet.stead(&["log", "profile", profile, "-o", "json"]).ok()).unwrap();
    log["items"].as_array().unwrap().len()
}

fn content(fleet: &Fleet, profile: &str) -> Value {
    fleet.get(&format!("profile/{profile}"))["spec"]["files"][0]["content"].clone()
}

/// Signs a profile while nobody answers.
fn apply_away(fleet: &Fleet, profile: &str, text: &str, words: &[&str]) -> String {
    let ended = fleet.apply_with(profile, file(&format!("/{profile}"), text), words);
    assert_eq!(ended.code, 9, "{ended:#?}");
    let waits = waiting(fleet);
    let id = id(waits.last().unwrap());
    assert!(ended.stderr.starts_with(&format!("waiting: no coordinator answers; the change {id} is signed")), "{ended:#?}");
    assert!(ended.stdout.contains(&format!("profile.stead.dev/{profile} will be ")), "{ended:#?}");
    id
}

fn stop(fleet: &mut Fleet) {
    fleet.coordinator.as_mut().unwrap().kill();
}

#[test]
fn what_is_signed_while_nobody_answers_arrives_in_order_and_once() {
    let mut fleet = Fleet::found();
    for name in ["web", "old"] {
        fleet.apply(name, file(&format!("/{name}"), "one"));
    }
    stop(&mut fleet);
    let first = apply_away(&fleet, "web", "two", &["-m", "while away"]);
    apply_away(&fleet, "web", "three", &[]);
    // Of what was never seen nobody knows what it would be signed on top of.
    let refused = fleet.apply_with("new", file("/new", "one"), &[]);
    assert!(refused.code == 8 && refused.stderr.contains("Profile/new was never seen here"), "{refused:#?}");
    apply_away(&fleet, "new", "one", &["--if-absent", "profile/new"]);
    let deleted = fleet.stead(&["delete", "profile", "old"]);
    assert!(deleted.code == 9 && deleted.stdout.contains("profile.stead.dev/old will be deleted"), "{deleted:#?}");
    assert_eq!(fleet.apply_with("web", file("/web", "four"), &["--no-outbox"]).code, 8);
    assert_eq!(fleet.apply_with("web", file("/web", "four"), &["--dry-run"]).code, 8);
    let same = fleet.apply_with("web", file("/web", "three"), &[]);
    assert!(same.code == 8 && same.stderr.contains("all is so already"), "{same:#?}");
    let waits = waiting(&fleet);
    assert_eq!(waits.iter().map(|entry| &entry["state"]).collect::<Vec<_>>(), [&json!("Waiting"); 4], "{waits:#?}");
    let shown = fleet.stead(&["outbox", "show", &first]).ok();
    assert!(
        shown.contains("while away") && shown.contains("-  - content: one") && shown.contains("+  - content: two"),
        "{shown}"
    );
    let send = fleet.stead(&["outbox", "send"]);
    assert!(send.code == 9 && send.stderr.contains("4 changes wait in the outbox"), "{send:#?}");
    let mode = std::fs::metadata(fleet.home.path(".local/state/stead")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o700);

    let folder = fleet.home.path(".local/state/stead");
    let copy = fleet.home.path("as it was before it was sent");
    assert!(std::process::Command::new("cp").arg("-a").args([&folder, &copy]).status().unwrap().success());
    fleet.start_coordinator();
    // Any command that reaches a coordinator sends what waits, before it does its own work.
    let listed = fleet.stead(&["get", "profiles"]);
    assert_eq!(listed.stderr.matches("has arrived").count(), 4, "{listed:#?}");
    assert!(listed.stdout.contains("new") && !listed.stdout.contains("old"), "{listed:#?}");
    assert_eq!((content(&fleet, "web"), changes_of(&fleet, "web"), changes_of(&fleet, "old")), (json!("three"), 3, 2));
    assert_eq!(waiting(&fleet), [json!(null); 0]);

    // As if every answer had been lost: sent again, each is taken for what it is.
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(&copy, &folder).unwrap();
    let again = fleet.stead(&["outbox", "send"]);
    assert_eq!((again.code, again.stdout.matches("has arrived").count()), (0, 4), "{again:#?}");
    assert_eq!((content(&fleet, "web"), changes_of(&fleet, "web"), changes_of(&fleet, "old")), (json!("three"), 3, 2));
}

#[test]
fn what_others_overtook_waits_for_its_author_and_is_never_dropped() {
    let mut fleet = Fleet::found();
    fleet.apply("web", file("/web", "one"));
    stop(&mut fleet);
    let mine = apply_away(&fleet, "web", "mine", &[]);
    let on_top = apply_away(&fleet, "web", "mine too", &[]);
    let short = apply_away(&fleet, "web", "short", &["--admit-within", "1s"]);
    fleet.start_coordinator();
    let theirs = fleet.apply_with("web", file("/web", "theirs"), &["--outbox-dir", "another"]);
    assert_eq!(theirs.code, 0, "{theirs:#?}");

    let listed = fleet.stead(&["get", "profiles"]);
    assert!(listed.code == 0 && listed.stderr.contains(&format!("outbox: {mine} needs signing again")), "{listed:#?}");
    assert_eq!(content(&fleet, "web"), "theirs");
    let states: Vec<(String, Value)> = waiting(&fleet).into_iter().map(|entry| (id(&entry), entry["state"].clone())).collect();
    assert_eq!(states.len(), 3, "{states:?}");
    // What was signed on top of mine would fit by its number, now that theirs is there: nobody has seen theirs, so that it waits too.
    for (state, id) in states.iter().zip([&mine, &on_top, &short]) {
        assert_eq!(*state, (id.clone(), json!("NeedsSigning")));
    }
    let shown = fleet.stead(&["outbox", "show", &mine]).ok();
    for line in ["-  - content: one", "+  - content: theirs", "+  - content: mine"] {
        assert!(shown.contains(line), "no {line}: {shown}");
    }
    let sent = fleet.stead(&["outbox", "send", "--wait"]);
    assert_eq!(sent.code, 5, "{sent:#?}");
    for reference in [&on_top, &short] {
        fleet.stead(&["outbox", "drop", reference]).ok();
    }
    let conflict = fleet.stead(&["outbox", "sign", &mine]);
    assert!(conflict.code == 5 && conflict.stderr.contains("both changed the same"), "{conflict:#?}");
    assert_eq!(waiting(&fleet).len(), 1);
    let signed = fleet.stead(&["outbox", "sign", &mine, "--force"]).ok();
    assert!(signed.contains("has arrived"), "{signed}");
    assert_eq!((content(&fleet, "web"), changes_of(&fleet, "web"), waiting(&fleet).len()), (json!("mine"), 3, 0));
}

#[test]
fn what_expired_can_be_signed_anew() {
    let mut fleet = Fleet::found();
    fleet.apply("web", file("/web", "one"));
    stop(&mut fleet);
    let late = apply_away(&fleet, "web", "late", &["--admit-within", "1s"]);
    until("the deadline", || (waiting(&fleet)[0]["state"] == "Expired").then_some(()));
    // With nobody there it can be signed anew for as long as nobody is known to have come between.
    let renewed = fleet.stead(&["outbox", "sign", &late, "--admit-within", "1s"]);
    assert_eq!(renewed.code, 9, "{renewed:#?}");
    let renewed = id(&waiting(&fleet)[0]);
    assert_ne!(renewed, late);
    until("the deadline", || (waiting(&fleet)[0]["state"] == "Expired").then_some(()));
    fleet.start_coordinator();
    let listed = fleet.stead(&["get", "profiles"]);
    assert!(listed.stderr.contains(&format!("{renewed} has expired, and can be signed anew")), "{listed:#?}");
    assert_eq!(content(&fleet, "web"), "one");
    fleet.stead(&["outbox", "sign", &renewed]).ok();
    assert_eq!((content(&fleet, "web"), waiting(&fleet).len()), (json!("late"), 0));
}

#[test]
fn an_outbox_that_waits_sends_when_the_coordinator_is_back_and_two_do_not_send_twice() {
    let mut fleet = Fleet::found();
    fleet.apply("web", file("/web", "one"));
    fleet.stead(&["outbox", "fetch", "profile/web"]).ok();
    stop(&mut fleet);
    apply_away(&fleet, "web", "two", &[]);
    let mut senders: Vec<Process> = (0..2)
        .map(|_| {
            let mut command = fleet.home.command(env!("CARGO_BIN_EXE_stead"));
            command.args(["outbox", "send", "--wait", "--timeout", super::harness::PATIENCE]);
            Process::spawn(&mut command)
        })
        .collect();
    fleet.start_coordinator();
    until("both senders end", || senders.iter_mut().all(|sender| !sender.is_running()).then_some(()));
    assert_eq!((content(&fleet, "web"), changes_of(&fleet, "web"), waiting(&fleet).len()), (json!("two"), 2, 0));
}
