//! The layers of configuration, and where each value is said to come from.

use crate::stead::Home;

fn shown(home: &Home, words: &[&str], setting: &str) -> String {
    let text = home.stead(&[&["config", "show", "--origin"], words].concat()).ok();
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(setting)).unwrap().to_owned();
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ").replace(home.path("").to_str().unwrap(), "HOME/")
}

#[test]
fn flag_then_environment_then_file_then_default() {
    let mut home = Home::new();
    let file = home.path(".config/stead/config.toml");
    assert_eq!(shown(&home, &[], "log_level"), "warn default");
    home.write(".config/stead/config.toml", "log_level = \"info\"\nrequest_timeout_seconds = 5\n");
    assert_eq!(shown(&home, &[], "log_level"), "info file HOME/.config/stead/config.toml");
    assert_eq!(shown(&home, &[], "request_timeout_seconds"), "5 file HOME/.config/stead/config.toml");
    home.set("STEAD_LOG_LEVEL", "debug");
    assert_eq!(shown(&home, &[], "log_level"), "debug environment STEAD_LOG_LEVEL");
    assert_eq!(shown(&home, &["--log-level", "error"], "log_level"), "error flag --log-level");
    std::fs::remove_file(&file).unwrap();
    home.write(".config/stead/config.json", "{\"server\": \"https://a:1\"}");
    assert_eq!(shown(&home, &[], "server"), "https://a:1 file HOME/.config/stead/config.json");
    assert_eq!(shown(&home, &[], "fleet"), "- default");
    assert_eq!(shown(&home, &["-k", "a", "-k", "b"], "key"), "a, b flag --key");
    assert_eq!(shown(&home, &[], "key"), "agent default");
    home.keygen(".ssh/id_ed25519", "");
    assert_eq!(shown(&home, &[], "key"), "HOME/.ssh/id_ed25519 default");
    home.set("XDG_CONFIG_HOME", home.path("other").to_str().unwrap().to_owned().as_str());
    assert_eq!(shown(&home, &[], "server"), "- default");
}

#[test]
fn the_configuration_is_for_programs_too() {
    let home = Home::new();
    let json = home.stead(&["config", "show", "--origin", "-o", "json", "--server", "https://a:1"]).ok();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["server"], serde_json::json!({"value": ["https://a:1"], "origin": "flag --server"}));
    assert_eq!(value["output"]["origin"], "flag --output");
}

#[test]
fn wrong_configuration_says_where() {
    /// File, its text, variables, words, what the error says.
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [&'a str], &'a str);
    let cases: &[Case<'_>] = &[
        (
            "config.toml",
            "server = \"https://a:1\"\ncolour = true\n",
            &[],
            &[],
            "config.toml:2: there is no setting `colour`; there are server, ca_file",
        ),
        ("config.toml", "\noutput = 5\n", &[], &[], "config.toml:2: "),
        (
            "config.toml",
            "output = \"xml\"\n",
            &[],
            &[],
            "config.toml:1: `output` is \"xml\": expected one of table, wide, json, yaml, name",
        ),
        (
            "config.json",
            "{\n \"fleet\": \"sha256:00\"\n}",
            &[],
            &[],
            "config.json:2: `fleet` is \"sha256:00\": expected `sha256:` and 64",
        ),
        ("config.toml", "", &[("STEAD_SERVER", "fleet:6443")], &[], "environment STEAD_SERVER: \"fleet:6443\": expected a URL"),
        ("config.toml", "", &[], &["--fleet", "x"], "flag --fleet: \"x\": expected `sha256:`"),
        ("config.toml", "", &[], &["--config", "missing.toml"], "cannot read the configuration file missing.toml"),
    ];
    for (file, text, variables, words, expected) in cases {
        let mut home = Home::new();
        home.write(&format!(".config/stead/{file}"), text);
        for (name, value) in *variables {
            home.set(name, value);
        }
        let error = home.stead(&[&["config", "show"], *words].concat()).fails(2);
        assert!(error.contains(expected), "{expected:?} is not in\n{error}");
    }
}

#[test]
fn two_files_are_one_too_many() {
    let home = Home::new();
    home.write(".config/stead/config.toml", "");
    home.write(".config/stead/config.json", "{}");
    assert!(home.stead(&["config", "show"]).fails(2).contains("there are two configuration files"));
    home.stead(&["config", "show", "--config", ".config/stead/config.json"]).ok();
    // What needs no settings works all the same.
    home.stead(&["version"]).ok();
}
