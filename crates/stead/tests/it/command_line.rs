//! Help, mistakes, exit codes, completions and manual pages.

use crate::stead::Home;

#[test]
fn help_is_for_newcomers_and_has_the_exit_codes() {
    let home = Home::new();
    let help = home.stead(&["--help"]).ok();
    for line in
        ["First steps", "stead apply -f web.yaml", "Exit codes:", "  0  Done.", "  5  Somebody changed the object meanwhile"]
    {
        assert!(help.contains(line), "{line:?} is not in\n{help}");
    }
    for command in [
        "login", "get", "describe", "watch", "wait", "apply", "diff", "delete", "approve", "ticket", "change", "trust", "config",
        "log", "show", "undo",
    ] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command} is not in\n{help}");
        let own = home.stead(&[command, "--help"]).ok();
        assert!(own.contains("Usage: stead"), "{own}");
    }
    assert!(!help.contains("credential"), "{help}");
}

#[test]
fn mistakes_end_with_two_and_say_what_to_write() {
    let home = Home::new();
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage: stead"),
        (&["aply"], "'apply'"),
        (&["get"], "<KIND>"),
        (&["get", "machin"], "There are machines, profiles"),
        (&["get", "machines", "-o", "xml"], "[possible values: table, wide, json, yaml, name]"),
        (&["get", "machines", "-l", "a in"], "selector"),
        (&["wait", "machines", "--for", "Ready"], "condition=Ready"),
        (&["wait", "machines", "--for", "delete", "--timeout", "5"], "90s or 24h"),
        (&["ticket", "create", "--label", "a=b"], "--delegate"),
        (&["approve", "x", "--label", "a"], "write KEY=VALUE"),
        (&["delete"], "<KIND>"),
        (&["trust", "init", "--online", "x"], "--out <DIR>"),
        (&["get", "machines"], "no coordinator is set"),
        (&["apply", "-f", "missing.yaml"], "cannot read missing.yaml"),
    ];
    for (words, expected) in cases {
        let error = home.stead(words).fails(2);
        assert!(error.contains(expected), "stead {words:?}: {expected:?} is not in\n{error}");
        assert!(!error.contains('\u{1b}'), "colour without a terminal: {error:?}");
    }
}

#[test]
fn errors_are_sentences_with_hints() {
    let home = Home::new();
    assert_eq!(
        home.stead(&["get", "machines"]).fails(2),
        "error: no coordinator is set\nhint: Run `stead login --server https://HOST:PORT --ca-file FILE` once, or set STEAD_SERVER.\n"
    );
    assert_eq!(
        home.stead(&["apply", "-f", "missing.yaml"]).fails(2),
        "error: cannot read missing.yaml\n  because: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_coordinator_that_is_away_is_eight() {
    let home = Home::new();
    home.keygen(".ssh/id_ed25519", "");
    // Port 1 is nobody's.
    let error = home.stead(&["get", "machines", "--server", "http://127.0.0.1:1"]).fails(8);
    assert!(error.starts_with("error: the coordinator at http://127.0.0.1:1 cannot be reached\n  because: "), "{error}");
    assert!(error.contains("hint: Is the coordinator running"), "{error}");
}

#[test]
fn completions_and_manual_pages_come_from_the_same_tree() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.stead(&["completion", shell]).ok().contains("stead"), "{shell}");
    }
    assert!(home.stead(&["man"]).ok().contains(".TH stead 1"));
    home.stead(&["man", &home.arg("man")]).ok();
    for page in ["stead.1", "stead-apply.1", "stead-trust-init.1", "stead-change-export.1"] {
        assert!(home.read(&format!("man/{page}")).contains(".SH"), "{page}");
    }
    assert!(!home.path("man/stead-credential.1").exists());
    assert_eq!(home.stead(&["version"]).ok(), concat!("stead ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn logs_can_be_json() {
    let home = Home::new();
    home.keygen(".ssh/id_ed25519", "");
    let error = home
        .stead(&["get", "machines", "--server", "http://127.0.0.1:1", "--log-level", "trace", "--log-format", "json"])
        .fails(8);
    let logged = error.lines().filter(|line| line.starts_with('{')).count();
    assert!(logged > 0, "{error}");
    for line in error.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}
