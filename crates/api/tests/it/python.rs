//! Python's `kubernetes`.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::fixture::{Fixture, Wish};

#[tokio::test(flavor = "multi_thread")]
async fn its_clients_work() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/python/bin/python3");
    let python = std::env::var_os("STEAD_PYTHON").map_or(tools, PathBuf::from);
    assert!(python.is_file(), "{} is not there: `cargo xtask test` installs it, or set STEAD_PYTHON", python.display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python_client.py");
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command
        .arg(script)
        .env("KUBECONFIG", fixture.kubeconfig())
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("done"), "{out}{err}");
}
