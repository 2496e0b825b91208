//! Changes that depend on more than what they write.

use serde_json::json;

use super::harness::{Fleet, file};

#[test]
fn a_change_goes_ahead_only_where_what_it_depends_on_holds() {
    let fleet = Fleet::found();
    assert_eq!(fleet.apply("base", file("/base", "one")), 1);
    assert_eq!(fleet.apply("base", file("/base", "two")), 2);
    let cases: &[(&[&str], i32)] = &[
        (&["--if-sequence", "profile/base=1"], 5),
        (&["--if-absent", "profile/base"], 5),
        (&["--if-sequence", "profile/base=2", "--if-sequence", "profile/none=1"], 5),
        (&["--if-sequence", "profile/base"], 2),
        (&["--if-sequence", "profile/base=2", "--if-absent", "profile/web"], 0),
        // It is there now.
        (&["--if-absent", "profile/web"], 5),
    ];
    for (number, (words, code)) in cases.iter().enumerate() {
        for dry in [&["--dry-run"][..], &[]] {
            let ended = fleet.apply_with("web", file("/web", &number.to_string()), &[words, dry].concat());
            let expected = if *code == 0 && !dry.is_empty() { 7 } else { *code };
            assert_eq!(ended.code, expected, "{words:?} {dry:?}: {ended:#?}");
            assert!(*code != 5 || ended.stderr.contains("what the change depends on does not hold"), "{ended:#?}");
        }
    }
    assert_eq!(fleet.get("profile/web")["spec"]["files"][0]["content"], "4");
}

#[test]
fn a_manifest_that_was_read_is_meant_for_what_was_read() {
    let fleet = Fleet::found();
    fleet.apply("web", file("/web", "one"));
    let mut read = fleet.get("profile/web");
    read["spec"]["files"][0]["content"] = json!("mine");
    fleet.home.write("read.json", &read.to_string());
    fleet.apply("web", file("/web", "theirs"));
    let refused = fleet.stead(&["apply", "-f", "read.json"]);
    assert_eq!(refused.code, 5, "{refused:#?}");
    assert!(refused.stdout.contains("content: theirs") && refused.stdout.contains("content: mine"), "{}", refused.stdout);

    let mut read = fleet.get("profile/web");
    read["spec"]["files"][0]["content"] = json!("mine");
    fleet.home.write("read.json", &read.to_string());
    fleet.stead(&["apply", "-f", "read.json"]).ok();
    assert_eq!(fleet.get("profile/web")["spec"]["files"][0]["content"], "mine");
}
