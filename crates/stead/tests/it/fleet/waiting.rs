//! Who waits for what will not come is told why by the machines themselves.

use serde_json::json;

use super::harness::Fleet;

#[test]
fn wait_says_what_fails_on_which_machine() {
    let fleet = Fleet::with_machines(&["m1", "m2"]);
    // In the way of a directory.
    std::fs::write(fleet.root_of("m1").join("data"), "a file").unwrap();
    fleet.apply("stuck", json!({"directories": [{"path": "/data"}], "files": [{"path": "/data/file", "content": "x"}]}));
    fleet.wait("profile/stuck", "status.failed=1");
    fleet.wait("machine/m2", "condition=Converged");
    let wait =
        |words: &[&str]| fleet.stead(&[&["wait"], words, &["--for", "condition=Converged", "--timeout", "1s"]].concat()).fails(6);
    for (words, who) in [(&["profile/stuck"][..], "stuck on m1"), (&["machines"], "m1"), (&["machine/m1"], "m1")] {
        let said = wait(words);
        let (meanwhile, failure) = said.split_once("error: ").unwrap();
        for text in [meanwhile, failure] {
            assert!(
                text.contains(&format!("{who}: ")) && text.contains("/data") && text.contains(" fails: "),
                "{words:?}: {said}"
            );
            assert!(!text.contains("m2"), "{words:?}: {said}");
        }
    }
    std::fs::remove_file(fleet.root_of("m1").join("data")).unwrap();
    fleet.wait("profile/stuck", "condition=Converged");
}
