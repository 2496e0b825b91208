//! The birth of a fleet, and several owners who sign one version.

use crate::stead::Home;

#[test]
fn a_fleet_is_born() {
    let home = Home::new();
    let owner = home.keygen(".ssh/id_ed25519", "");
    let host = home.keygen("host", "");
    let ended = home.stead(&["trust", "init", "--online", "host.pub", "--out", "fleet"]);
    assert!(ended.stderr.contains("Next: stead coordinator --trust-root fleet/root.json"), "{ended:?}");
    let fleet = ended.ok().trim().strip_prefix("fleet ").unwrap().to_owned();
    assert!(home.read(".config/stead/config.toml").contains(&fleet));

    let shown = home.stead(&["trust", "show", "fleet/root.json"]).ok();
    for expected in [
        format!("Fleet:     {fleet}\nVersion:   1 of "),
        format!("Owners:    1 of 1 must sign the next version\n  {owner}   ssh-ed25519\n"),
        "Role owners: 1 of 1 must sign\n".to_owned(),
        format!("Coordinators:\n  {host}   ssh-ed25519\n"),
        "It carries the signatures that it needs.\n".to_owned(),
    ] {
        assert!(shown.contains(&expected), "{expected:?} is not in\n{shown}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&home.stead(&["trust", "show", "fleet/root.json", "-o", "json"]).ok()).unwrap();
    assert_eq!(json["version"], 1);

    // A second birth in the same place is a mistake.
    let error = home.stead(&["trust", "init", "--online", "host.pub", "--out", "fleet"]).fails(2);
    assert!(error.contains("there is a trust root in fleet/root.json already"), "{error}");
}

#[test]
fn several_owners_sign_through_a_file() {
    let home = Home::new();
    let (_first, second) = (home.keygen("a", ""), home.keygen("b", ""));
    home.keygen("host", "");
    std::fs::rename(home.path("b"), home.path("b.elsewhere")).unwrap();
    let words = ["trust", "init", "--key", "a", "--key", "b.pub", "--threshold", "2", "--online", "host", "--out", "fleet"];
    let ended = home.stead(&words);
    assert!(
        ended.stderr.contains(&format!("It has 1 of the 2 signatures of version 1's own owners; any of {second} can sign")),
        "{ended:?}"
    );
    ended.ok();
    let again = home.stead(&["trust", "sign", "fleet/root.json", "--key", "a"]);
    assert!(again.stderr.contains("has signed it already"), "{again:?}");
    home.stead(&["trust", "sign", "fleet/root.json", "--key", "b.elsewhere"]).ok();
    assert!(home.stead(&["trust", "show", "fleet/root.json"]).ok().contains("It carries the signatures that it needs."));
    let error = home.stead(&["trust", "submit", "fleet/root.json"]).fails(2);
    assert!(error.contains("the first version is not sent"), "{error}");
}

#[test]
fn what_makes_no_fleet_is_refused() {
    let home = Home::new();
    home.keygen("a", "");
    home.keygen("host", "");
    let cases: &[(&[&str], &str)] = &[
        (&["--key", "a", "--online", "a.pub"], "would be an owner and a coordinator at once"),
        (&["--key", "a", "--key", "a", "--online", "host"], "is given twice"),
        (&["--key", "a", "--threshold", "2", "--online", "host"], "2 owners must sign, and only 1 are given"),
        (&["--key", "a", "--online", "missing.pub"], "cannot read the key missing.pub"),
    ];
    for (words, expected) in cases {
        let error = home.stead(&[&["trust", "init", "--out", "fleet"], *words].concat()).fails(2);
        assert!(error.contains(expected), "{error}");
    }
    assert!(!home.path("fleet").exists());
}

#[test]
fn an_altered_root_is_noticed() {
    let home = Home::new();
    home.keygen("a", "");
    home.keygen("host", "");
    home.stead(&["trust", "init", "--key", "a", "--online", "host", "--out", "fleet"]).ok();
    let altered = home.read("fleet/root.json").replace("\\\"threshold\\\":1", "\\\"threshold\\\":0");
    home.write("altered.json", &altered);
    home.stead(&["trust", "show", "altered.json"]).fails(2);
    let altered = home.read("fleet/root.json").replace("604800", "604801");
    home.write("altered.json", &altered);
    let error = home.stead(&["trust", "show", "altered.json"]).fails(4);
    assert!(error.contains("does not fit the document"), "{error}");
    let error = home.stead(&["trust", "sign", "altered.json", "--key", "a", "--config", "none.toml"]);
    assert_ne!(error.code, 0);
}
