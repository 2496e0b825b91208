//! Ansible's `kubernetes.core`.

use crate::fixture::{Fixture, Wish};
use crate::peers;

#[tokio::test(flavor = "multi_thread")]
async fn its_modules_create_change_and_delete() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let home = tempfile::tempdir().unwrap();
    let python = peers::python();
    let mut command = peers::command(python.with_file_name("ansible-playbook"), &fixture, home.path());
    command.args(["--inventory", "localhost,", "--connection", "local"]).arg(peers::script("ansible.yaml"));
    command.arg("--extra-vars").arg(format!("ansible_python_interpreter={}", python.display()));
    command.env("ANSIBLE_COLLECTIONS_PATH", peers::collections()).env("K8S_AUTH_KUBECONFIG", fixture.kubeconfig());
    command.env("ANSIBLE_NOCOLOR", "1").env("ANSIBLE_HOME", home.path());
    let said = peers::run(&mut command).await;
    assert!(said.contains("failed=0") && said.contains("unreachable=0"), "{said}");
}
