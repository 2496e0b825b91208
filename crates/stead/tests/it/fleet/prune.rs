//! A folder of manifests as one change, and what left it.

use serde_json::json;

use super::harness::{Fleet, file};

fn write(fleet: &Fleet, path: &str, name: &str, content: &str) {
    let mut spec = file(&format!("/{name}"), content);
    spec["selector"] = json!({});
    let profile = json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": name}, "spec": spec});
    fleet.home.write(path, &profile.to_string());
}

const APPLY: [&str; 7] = ["apply", "-f", "fleet", "-R", "--set", "fleet", "--prune"];
const DIFF: [&str; 8] = ["diff", "-f", "fleet", "-R", "--set", "fleet", "--prune", "--no-plan"];

#[test]
fn a_folder_is_one_change_and_what_left_it_goes_with_it() {
    let fleet = Fleet::with_machines(&["m1"]);
    write(&fleet, "fleet/web.json", "web", "1");
    write(&fleet, "fleet/deep/db.json", "db", "1");
    fleet.home.write("fleet/.hidden/broken.json", "{");
    fleet.apply_with("other", file("/other", "1"), &["--set", "other"]).ok();
    fleet.apply_with("free", file("/free", "1"), &[]).ok();
    fleet.stead(&APPLY).ok();
    fleet.wait_converged("db", 1);
    assert_eq!(fleet.get("profile/web")["metadata"]["labels"]["stead.dev/set"], "fleet");
    assert_eq!(fleet.stead(&DIFF).code, 0);

    std::fs::remove_file(fleet.home.path("fleet/deep/db.json")).unwrap();
    write(&fleet, "fleet/web.json", "web", "2");
    let shown = fleet.stead(&DIFF);
    assert_eq!(shown.code, 7, "{shown:#?}");
    assert!(shown.stdout.contains("+++ /dev/null (pruned)") && shown.stdout.contains("content: \"2\""), "{}", shown.stdout);
    let planned = fleet.stead(&DIFF[..7]);
    assert!(planned.stdout.contains("file:/db (goes away)"), "{}", planned.stdout);
    let dry = fleet.stead(&[&APPLY[..], &["--dry-run"]].concat());
    assert_eq!(dry.code, 7, "{dry:#?}");
    assert!(dry.stdout.contains("profile.stead.dev/db pruned (dry run)"), "{}", dry.stdout);

    fleet.stead(&APPLY).ok();
    fleet.wait_converged("web", 2);
    super::harness::until("the file of the pruned profile goes", || fleet.file("m1", "/db").is_none().then_some(()));
    let made = fleet.stead(&["show", "latest", "--no-machines"]).ok();
    assert!(made.contains("Profile/web") && made.contains("Profile/db"), "one change has both: {made}");
    for kept in ["profile/other", "profile/free"] {
        fleet.get(kept);
    }
    fleet.stead(&["get", "profile/db"]).fails(3);
}

#[test]
fn an_empty_folder_does_not_take_everything_away_by_mistake() {
    let fleet = Fleet::found();
    write(&fleet, "fleet/web.json", "web", "1");
    fleet.stead(&APPLY).ok();
    std::fs::remove_file(fleet.home.path("fleet/web.json")).unwrap();
    for words in [&APPLY[..], &DIFF[..]] {
        let refused = fleet.stead(words).fails(2);
        assert!(refused.contains("all 1 objects of the set \"fleet\" would go") && refused.contains("--prune-all"), "{refused}");
    }
    fleet.get("profile/web");
    fleet.stead(&[&APPLY[..], &["--prune-all"]].concat()).ok();
    fleet.stead(&["get", "profile/web"]).fails(3);
    // Nothing is left of the set.
    fleet.stead(&APPLY).ok();

    write(&fleet, "fleet/web.json", "web", "1");
    fleet.stead(&["apply", "-f", "fleet", "--prune"]).fails(2);
    fleet.stead(&["apply", "-f", "fleet", "--set", "no good name"]).fails(2);
    let text =
        fleet.home.read("fleet/web.json").replace("\"metadata\":{", "\"metadata\":{\"labels\":{\"stead.dev/set\":\"other\"},");
    fleet.home.write("fleet/web.json", &text);
    assert!(fleet.stead(&APPLY).fails(2).contains("belongs to the set \"other\""));
}

#[test]
fn what_no_transaction_takes_is_refused_before_it_is_signed() {
    let fleet = Fleet::found();
    let manifest = |number: usize| json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": format!("p{number}")}, "spec": {"selector": {}}});
    let many = json!({"apiVersion": "v1", "kind": "List", "items": (0..10_001).map(manifest).collect::<Vec<_>>()});
    fleet.home.write("many.json", &many.to_string());
    let refused = fleet.stead(&["apply", "-f", "many.json"]).fails(2);
    assert!(refused.contains("10001") && refused.contains("10000"), "{refused}");
}
