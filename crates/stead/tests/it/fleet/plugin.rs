//! `kubectl stead`, with what kubectl knows of the coordinator.

use std::process::{Command, Stdio};

use super::harness::{Fleet, file};
use super::kubectl::kubectls;

#[test]
fn kubectl_runs_it_as_its_plugin_with_its_own_context() {
    let fleet = Fleet::found();
    std::fs::create_dir_all(fleet.home.path("bin")).unwrap();
    let said = fleet.stead(&["plugin", "install", "bin"]).ok();
    assert!(said.contains("bin/kubectl-stead -> "), "{said}");
    // Twice is once.
    fleet.stead(&["plugin", "install", "bin"]).ok();
    // Of the configuration only the fleet is left: server and certificate are in the kubeconfig that `stead login` wrote.
    let config = ".config/stead/config.toml";
    let kept: String =
        fleet.home.read(config).lines().filter(|line| line.starts_with("fleet")).map(|line| format!("{line}\n")).collect();
    fleet.home.write(config, &kept);
    assert!(fleet.stead(&["get", "machines"]).fails(2).contains("no coordinator is set"));

    let path = format!("{}:{}", fleet.home.arg("bin"), std::env::var("PATH").unwrap());
    for (name, program) in kubectls() {
        let run = |words: &[&str]| {
            let mut command: Command = fleet.home.command(&program);
            let output = command.args(words).env("PATH", &path).stdin(Stdio::null()).output().unwrap();
            (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
        };
        let profile = name.replace('.', "-");
        let manifest = fleet.manifest(&profile, file("/motd", name));
        let (code, said) = run(&["stead", "apply", "-f", &manifest, "-m", name]);
        assert!(code == 0 && said.contains("created"), "{name}: {said}");
        let (code, said) = run(&["stead", "diff", "-f", &manifest]);
        assert!(code == 0 && said.is_empty(), "{name}: {said}");
        let (code, said) = run(&["stead", "log", "-n", "1"]);
        assert!(code == 0 && said.contains(name), "{name}: {said}");
        let (code, said) = run(&["stead", "config", "show", "--origin"]);
        assert!(code == 0 && said.contains("kubeconfig ") && said.contains(".kube/config"), "{name}: {said}");
        let (_, said) = run(&["stead", "get"]);
        assert!(said.contains("Usage: kubectl stead get"), "{name}: {said}");
        let (_, said) = run(&["plugin", "list"]);
        assert!(said.contains("kubectl-stead"), "{name}: {said}");
        // Exit codes come through.
        assert_eq!(run(&["stead", "get", "profile/none"]).0, 3, "{name}");
    }
    let (_, newest) = kubectls().into_iter().next_back().unwrap();
    let output = fleet.home.command(&newest).args(["__complete", "stead", "prop"]).env("PATH", &path).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("propose\t"), "{output:?}");
}
