//! The whole way with `kubectl`, from the login to a machine that has converged.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use super::harness::{Fleet, PATIENCE, file};

/// Both kubectls: the oldest that is supported, and a current one.
pub(super) fn kubectls() -> [(&'static str, PathBuf); 2] {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    [("STEAD_KUBECTL_120", "kubectl-1.20"), ("STEAD_KUBECTL_132", "kubectl-1.32")].map(|(variable, folder)| {
        let path = std::env::var_os(variable).map_or_else(|| tools.join(folder).join("usr/bin/kubectl"), PathBuf::from);
        assert!(path.is_file(), "{} is not there: `cargo xtask test` installs it, or set {variable}", path.display());
        (folder, path)
    })
}

pub(super) struct Kubectl<'a> {
    name: &'static str,
    program: PathBuf,
    fleet: &'a Fleet,
}

impl<'a> Kubectl<'a> {
    /// The current one, with what `stead login` wrote.
    pub(super) fn newest(fleet: &'a Fleet) -> Self {
        let [_, (name, program)] = kubectls();
        Self { name, program, fleet }
    }
    fn output(&self, words: &[&str]) -> Output {
        // Its only configuration is what `stead login` wrote.
        self.fleet.home.command(&self.program).args(words).stdin(Stdio::null()).output().unwrap()
    }

    /// All that it says, however it ends.
    pub(super) fn text(&self, words: &[&str]) -> String {
        let output = self.output(words);
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    #[track_caller]
    pub(super) fn run(&self, words: &[&str], parts: &[&str]) {
        let output = self.output(words);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{} {words:?}: {out}{err}", self.name);
        for part in parts {
            assert!(out.contains(part), "{} {words:?}: {part:?} is not in {out}", self.name);
        }
    }

    #[track_caller]
    pub(super) fn fails(&self, words: &[&str], parts: &[&str]) {
        let output = self.output(words);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{} {words:?} succeeded", self.name);
        for part in parts {
            assert!(err.contains(part), "{} {words:?}: {part:?} is not in {err}", self.name);
        }
    }
}

#[test]
fn kubectl_works_with_a_fleet() {
    let fleet = Fleet::with_machines(&["m1", "m2"]);
    for (name, program) in kubectls() {
        let kubectl = Kubectl { name, program, fleet: &fleet };
        kubectl.run(&["get", "machines"], &["NAME", "m1", "m2", "True"]);
        kubectl.run(&["describe", "machine", "m1"], &["Name:", "m1", "Events:", "Joined"]);
        let profile = name.replace('.', "-");
        let manifest = fleet.manifest(&profile, file(&format!("/{profile}"), "by kubectl"));
        kubectl.fails(&["apply", "-f", &manifest], &["Forbidden", "stead apply -f"]);
        // And the command that it was told of does it.
        fleet.stead(&["apply", "-f", &manifest, "-m", name]).ok();
        let timeout = format!("--timeout={PATIENCE}");
        kubectl.run(&["wait", "--for=condition=Converged", &format!("profile/{profile}"), &timeout], &["condition met"]);
        kubectl.run(&["wait", "--for=condition=Converged", "machine/m1", "machine/m2", &timeout], &["condition met"]);
        for machine in ["m1", "m2"] {
            assert_eq!(fleet.file(machine, &profile).as_deref(), Some("by kubectl"));
        }
        kubectl.run(&["create", "namespace", &profile], &["created"]);
        kubectl.run(&["get", "namespaces"], &[&profile, "Active"]);
        kubectl.run(&["get", "changes"], &[&profile]);
    }
}
