//! `stead top`, and the metrics of each machine: what they tell is how the machines are.

use serde_json::Value;

use super::harness::{Fleet, file, until};

fn machines(fleet: &Fleet, words: &[&str]) -> Vec<Value> {
    let text = fleet.stead(&[&["top", "-o", "json"], words].concat()).ok();
    let value: Value = serde_json::from_str(&text).unwrap();
    value["machines"].as_array().unwrap().clone()
}

#[test]
fn top_tells_how_each_machine_is_doing() {
    let mut fleet = Fleet::with_machines(&["well", "ill", "away"]);
    fleet.apply_and_wait("motd", file("/motd", "hello"));
    // It cannot be converged: a directory with something in it stands where a file has to be.
    std::fs::create_dir_all(fleet.root_of("ill").join("blocked/full")).unwrap();
    fleet.agent("away").kill();
    fleet.apply("blocked", file("/blocked", "x"));
    fleet.wait("machine/ill", "condition=Converged=False");
    until("the well machine has it", || fleet.file("well", "/blocked"));
    fleet.wait("machine/away", "condition=Ready=Unknown");
    fleet.wait("machine/well", "condition=Converged");

    let all = machines(&fleet, &[]);
    let told: Vec<(&str, &str)> =
        all.iter().map(|machine| (machine["name"].as_str().unwrap(), machine["state"].as_str().unwrap())).collect();
    assert_eq!(told, [("ill", "Failing"), ("away", "Silent"), ("well", "Converged")], "{all:#?}");
    let named = |name: &str| all.iter().find(|machine| machine["name"] == name).unwrap();
    assert!(named("ill")["message"].as_str().unwrap().contains("/blocked"), "{:#}", named("ill"));
    assert!(named("away")["behind"].as_u64().unwrap() >= 1, "{:#}", named("away"));
    let well = named("well");
    assert_eq!((&well["agentAsWanted"], &well["agentVersion"]), (&true.into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(well["memory"]["totalBytes"].as_u64().unwrap() > 0 && well["cpuCount"].as_u64().unwrap() > 0, "{well:#}");

    assert_eq!(machines(&fleet, &["-l", "role=web"]).len(), 3);
    assert_eq!(machines(&fleet, &["-l", "role=db"]).len(), 0);
    assert_eq!(machines(&fleet, &["--filter", "silent"])[0]["name"], "away");
    assert_eq!(machines(&fleet, &["--sort", "name", "--reverse"])[0]["name"], "well");
    let table = fleet.stead(&["top"]).ok();
    let first = table.lines().next().unwrap();
    assert!(first.starts_with("NAME") && first.contains("BEHIND") && table.lines().count() == 4, "{table}");
    let wrong = fleet.stead(&["top", "--sort", "colour"]).fails(2);
    assert!(wrong.contains("possible values: name, state"), "{wrong}");
}
