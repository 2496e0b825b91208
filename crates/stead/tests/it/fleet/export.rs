//! A change that OpenSSH checks without us.

use super::harness::{Fleet, file};

#[test]
fn openssh_accepts_an_exported_change_and_no_altered_one() {
    let fleet = Fleet::found();
    fleet.apply_with("web", file("/motd", "checked"), &["-m", "to be checked"]).ok();
    let changes = fleet.list("changes");
    let change = changes.iter().find(|change| change["spec"]["message"] == "to be checked").unwrap();
    fleet.stead(&["change", "export", change["metadata"]["name"].as_str().unwrap(), "--out", "exported"]).ok();

    let readme = fleet.home.read("exported/README.txt");
    let commands: Vec<&str> = readme.lines().filter(|line| line.contains("ssh-keygen")).map(str::trim).collect();
    assert_eq!(commands.len(), 1, "{readme}");
    let verify = || {
        let mut command = fleet.home.command("sh");
        command.args(["-c", commands[0]]).current_dir(fleet.home.path("exported")).output().unwrap()
    };
    let verdict = verify();
    assert!(verdict.status.success(), "{verdict:?}");
    assert!(String::from_utf8_lossy(&verdict.stdout).contains("Good \"change@stead.dev\" signature"), "{verdict:?}");

    let path = fleet.home.path("exported/statement.json");
    let sound = std::fs::read(&path).unwrap();
    for at in [0, sound.len() / 2, sound.len() - 1] {
        let mut altered = sound.clone();
        altered[at] ^= 1;
        std::fs::write(&path, altered).unwrap();
        let verdict = verify();
        assert!(!verdict.status.success(), "byte {at}: {verdict:?}");
    }
}
