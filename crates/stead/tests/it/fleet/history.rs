//! Who changed what, when and why; and which machines have it.

use serde_json::{Value, json};

use super::harness::{Fleet, file};

/// The first column of every line but the heading.
fn ids(table: &str) -> Vec<String> {
    table.lines().skip(1).filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[test]
fn the_log_tells_who_changed_what_and_why() {
    let fleet = Fleet::found();
    for (name, content, message) in [("web", "1", "first banner"), ("db", "1", "a database"), ("web", "2", "Second Banner")] {
        fleet.apply_with(name, file("/motd", content), &["-m", message]).ok();
    }
    let all = fleet.stead(&["log"]).ok();
    let lines: Vec<&str> = all.lines().collect();
    assert!(lines[0].starts_with("CHANGE"), "{all}");
    for (line, parts) in
        [(1, ["Profile/web", "Second Banner"]), (2, ["Profile/db", "a database"]), (3, ["Profile/web", "first banner"])]
    {
        assert!(parts.iter().all(|part| lines[line].contains(part)), "{all}");
        // The comment of the key, which `ssh-keygen -C test` wrote beside it.
        assert!(lines[line].contains(" test "), "{all}");
    }
    // The coordinator's own change, for a namespace that clients take for granted.
    assert!(lines[4].contains("Namespace/default") && lines[4].contains("(online)"), "{all}");

    let ids = ids(&all);
    let of = |words: &[&str]| ids_of(&fleet, words);
    assert_eq!(of(&[]), ids);
    assert_eq!(of(&["-n", "2"]), ids[..2]);
    assert_eq!(of(&["profile", "web"]), [ids[0].clone(), ids[2].clone()]);
    assert_eq!(of(&["profile/web", "-n", "1"]), ids[..1]);
    assert_eq!(of(&["--grep", "BANNER"]), [ids[0].clone(), ids[2].clone()]);
    assert_eq!(of(&["--author", "TEST"]), ids[..3]);
    assert_eq!(of(&["--author", "nobody"]), [""; 0]);
    assert_eq!(of(&["--since", "1h"]), ids);
    assert_eq!(of(&["--since", "2999-01-01"]), [""; 0]);
    fleet.stead(&["log", "profile", "never"]).fails(3);

    for words in [&["log", "-o", "json"][..], &["log", "--grep", "nothing like it", "-o", "json"]] {
        let list: Value = serde_json::from_str(&fleet.stead(words).ok()).unwrap();
        assert_eq!(list["kind"], "List", "{list}");
    }
    let list: Value = serde_json::from_str(&fleet.stead(&["log", "profile", "web", "-o", "json"]).ok()).unwrap();
    assert_eq!(list["items"][0]["spec"]["message"], "Second Banner");
    let yaml = fleet.stead(&["log", "-o", "yaml"]).ok();
    assert!(yaml.starts_with("apiVersion: v1\nkind: List\n") && yaml.contains("message: a database"), "{yaml}");
    assert!(fleet.stead(&["log", "-o", "wide"]).ok().starts_with("CHANGE"));

    by_what_people_call_it(&fleet, &ids);
}

fn ids_of(fleet: &Fleet, words: &[&str]) -> Vec<String> {
    let named = fleet.stead(&[&["log", "-o", "name"], words].concat()).ok();
    named.lines().map(|line| line.trim_start_matches("change.stead.dev/").to_owned()).collect()
}

fn by_what_people_call_it(fleet: &Fleet, ids: &[String]) {
    let shown = |reference: &str| fleet.stead(&["show", reference, "-o", "name"]).ok();
    let newest = format!("change.stead.dev/{}\n", ids[0]);
    let value: Value = serde_json::from_str(&fleet.stead(&["show", "latest", "-o", "json"]).ok()).unwrap();
    let revision = value["receipt"]["revision"].as_u64().unwrap();
    for reference in ["latest", "@", &ids[0], &ids[0].to_uppercase(), &ids[0][..24], &format!("rev:{revision}")] {
        assert_eq!(shown(reference), newest, "{reference}");
    }
    // All of them were made within days, so that so few characters mean several.
    let several = fleet.stead(&["show", &ids[0][..6]]).fails(4);
    assert!(several.contains("several changes"), "{several}");
    for nothing in ["zzzzzzzz", "rev:99999"] {
        fleet.stead(&["show", nothing]).fails(3);
    }
}

#[test]
fn a_change_is_shown_with_its_differences_and_the_machines_that_have_it() {
    let mut fleet = Fleet::with_machines(&["m1", "m2"]);
    fleet.apply_and_wait("web", file("/motd", "one"));
    fleet.apply_and_wait("web", file("/motd", "two"));
    let shown = fleet.stead(&["show", "latest"]).ok();
    for part in [
        "(test)",
        "an owner of the root, of the role owners",
        "--- Profile/web (sequence 1)",
        "+++ Profile/web (sequence 2)",
        "content: one",
        "content: two",
        "Machines: 2 applied",
        "Everything fits what was signed.",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    let states = |reference: &str| -> Vec<(String, String, String)> {
        let value: Value = serde_json::from_str(&fleet.stead(&["show", reference, "-o", "json"]).ok()).unwrap();
        let text = |word: &Value, name: &str| word[name].as_str().unwrap().to_owned();
        let words = value["machines"].as_array().unwrap().iter();
        words.map(|word| (text(word, "machine"), text(word, "state"), text(word, "checked"))).collect()
    };
    let word = |machine: &str, state: &str, checked: &str| (machine.to_owned(), state.to_owned(), checked.to_owned());
    assert_eq!(states("latest"), [word("m1", "applied", "signed"), word("m2", "applied", "signed")]);
    let first = ids_of(&fleet, &["profile", "web"]).pop().unwrap();
    assert_eq!(states(&first), [word("m1", "newer", "signed"), word("m2", "newer", "signed")]);

    // One that is away has it not, and says so by saying nothing.
    fleet.agent("m2").kill();
    let sequence = fleet.apply("web", file("/motd", "three"));
    let profile = "profile/web";
    fleet.wait(profile, &format!("status.sequence={sequence}"));
    fleet.wait(profile, "status.converged=1");
    let latest = || {
        let value: Value = serde_json::from_str(&fleet.stead(&["show", "latest", "-o", "json"]).ok()).unwrap();
        value["machines"].clone()
    };
    let machines = latest();
    assert_eq!((&machines[0]["machine"], &machines[0]["state"]), (&json!("m2"), &json!("pending")), "{machines:#}");
    assert_eq!((&machines[1]["machine"], &machines[1]["state"]), (&json!("m1"), &json!("applied")), "{machines:#}");

    fleet.stead(&["delete", profile]).ok();
    let gone = fleet.stead(&["show", "latest"]).ok();
    assert!(gone.contains("+++ /dev/null") && gone.contains("delete"), "{gone}");
}
