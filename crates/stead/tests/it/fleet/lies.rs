//! A coordinator whose record was altered, and an owner at the command line: nothing of it is signed, and none of it passes for true.

use serde_json::{Value, json};

use super::harness::{Fleet, file};

fn alter(fleet: &mut Fleet, statement: &str) {
    fleet.coordinator.as_mut().unwrap().stop();
    fleet.home.run("sqlite3", &["coordinator/record.db", statement]);
    fleet.start_coordinator();
}

#[test]
fn a_machine_that_is_said_to_have_a_change_has_to_have_said_so() {
    let mut fleet = Fleet::with_machines(&["m1"]);
    fleet.apply_and_wait("web", file("/web", "one"));
    fleet.agent("m1").kill();
    fleet.apply("web", file("/web", "two"));
    alter(
        &mut fleet,
        "UPDATE objects SET json = replace(json, '\"sequence\":1,\"signature\"', '\"sequence\":2,\"signature\"') WHERE kind = 'Machine.stead.dev'",
    );
    let machine = fleet.get("machine/m1");
    let words = machine["status"]["acknowledgements"].as_array().unwrap();
    assert!(
        words.iter().any(|word| word["object"] == "Profile/web" && word["sequence"] == 2),
        "the record was not altered: {machine:#}"
    );
    let shown: Value = serde_json::from_str(&fleet.stead(&["show", "latest", "-o", "json"]).ok()).unwrap();
    let word = &shown["machines"][0];
    assert_eq!((&word["state"], &word["checked"]), (&json!("claimed"), &json!("BAD")), "{word:#}");
    let text = fleet.stead(&["show", "latest"]).ok();
    assert!(text.contains("1 claimed") && text.contains("1 words could not be checked"), "{text}");
}

/// What a machine signed is what is shown of it, whatever the record says beside it; and a machine that has said nothing has not said
/// that it has a change.
#[test]
fn each_machine_is_shown_by_what_it_signed() {
    let mut fleet = Fleet::with_machines(&["good", "failing", "away", "forged"]);
    fleet.agent("away").stop();
    let blocked = fleet.root_of("failing").join("web");
    std::fs::create_dir_all(blocked.join("in the way")).unwrap();
    let sequence = fleet.apply("web", file("/web", "one"));
    for name in ["good", "failing", "forged"] {
        super::harness::until("each machine has said what became of it", || {
            let machine = fleet.get(&format!("machine/{name}"));
            let words = machine["status"]["acknowledgements"].as_array().cloned().unwrap_or_default();
            words.iter().any(|word| word["object"] == "Profile/web" && word["sequence"] == sequence).then_some(())
        });
    }
    for name in ["failing", "forged", "good"] {
        fleet.agent(name).stop();
    }
    // The failure is shown as a success, and one machine's word as another's.
    alter(
        &mut fleet,
        "UPDATE objects SET json = replace(json, '\"outcome\":\"Failed\"', '\"outcome\":\"Applied\"') WHERE name = 'failing' AND kind = 'Machine.stead.dev';
         UPDATE objects SET json = json_set(json, '$.status.acknowledgements', (SELECT json_extract(json, '$.status.acknowledgements') FROM objects WHERE name = 'good' AND kind = 'Machine.stead.dev')) WHERE name = 'forged' AND kind = 'Machine.stead.dev';",
    );
    let shown: Value = serde_json::from_str(&fleet.stead(&["show", "latest", "-o", "json"]).ok()).unwrap();
    let of = |name: &str| {
        let word = shown["machines"].as_array().unwrap().iter().find(|word| word["machine"] == name).unwrap();
        (word["state"].as_str().unwrap().to_owned(), word["checked"].as_str().unwrap().to_owned())
    };
    let text = |state: &str, checked: &str| (state.to_owned(), checked.to_owned());
    assert_eq!(of("good"), text("applied", "signed"), "{shown:#}");
    assert_eq!(of("failing"), text("failed", "signed"), "{shown:#}");
    assert_eq!(of("away"), text("pending", ""), "{shown:#}");
    assert_eq!(of("forged"), text("claimed", "BAD"), "{shown:#}");
}

#[test]
fn what_was_altered_is_neither_taken_back_nor_pruned_nor_patched() {
    let mut fleet = Fleet::found();
    for name in ["web", "free", "base"] {
        fleet.apply(name, file(&format!("/{name}"), "one"));
    }
    fleet.apply("web", file("/web", "two"));
    let second = fleet.stead(&["log", "profile", "web", "-n", "1", "-o", "name"]).ok().trim().to_owned();
    fleet.apply("web", file("/web", "three"));
    alter(
        &mut fleet,
        "UPDATE entries SET object = CAST(replace(CAST(object AS TEXT), '\"one\"', '\"evil\"') AS BLOB) WHERE name = 'web' AND sequence = 1;
         UPDATE objects SET json = replace(json, '\"name\":\"free\"', '\"name\":\"free\",\"labels\":{\"stead.dev/set\":\"fleet\"}') WHERE name = 'free';
         UPDATE objects SET json = replace(json, '\"content\":\"one\"', '\"content\":\"evil\"') WHERE name = 'base';",
    );
    assert!(fleet.stead(&["get", "profiles", "-l", "stead.dev/set=fleet"]).ok().contains("free"), "the record was not altered");
    for words in [&["undo", &second, "--force"][..], &["show", &second]] {
        let refused = fleet.stead(words).fails(4);
        assert!(refused.contains("Profile/web at sequence 1 is not what was signed"), "{words:?}: {refused}");
    }
    let manifest = fleet.manifest("other", file("/other", "x"));
    let refused = fleet.stead(&["apply", "-f", &manifest, "--set", "fleet", "--prune"]).fails(4);
    assert!(refused.contains("Profile/free is shown as one of the set") && refused.contains("nobody signed that"), "{refused}");
    fleet.get("profile/free");

    let (mut proxy, _) = super::proxy::start(&fleet, &[], std::process::Stdio::null());
    let patch = json!({"metadata": {"labels": {"site": "graz"}}}).to_string();
    let [_, (_, kubectl)] = super::kubectl::kubectls();
    let mut command = fleet.home.command(&kubectl);
    command
        .args(["patch", "profile/base", "--type=merge", "-p", &patch])
        .env("KUBECONFIG", fleet.home.arg(super::proxy::KUBECONFIG));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("shown otherwise than it was signed"), "{said}");
    proxy.stop();
    let log: Value = serde_json::from_str(&fleet.stead(&["log", "profile", "base", "-o", "json"]).ok()).unwrap();
    assert_eq!(log["items"].as_array().unwrap().len(), 1, "nothing was signed: {log:#}");
}
