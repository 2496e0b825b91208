//! Schemathesis: requests made from the served OpenAPI documents, good ones and bad ones. None may be answered with a 5xx.

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

use crate::fixture::{Fixture, Wish, profile};
use crate::peers;

/// Requests that are made up for each operation, beside those that its parameters and fields give.
const EXAMPLES: &str = "3";
/// What they are made from, so that a failure comes again.
const SEED: &str = "1";
/// Documents that are tried at once.
const AT_ONCE: usize = 2;

/// Objects of one name, so that not every request for one is answered with 404.
async fn things(fixture: &Fixture) {
    let metadata = json!({"name": "thing", "namespace": "default"});
    fixture.post("/apis/stead.dev/v1/profiles", &profile("thing")).await.expect(201);
    let key = json!({"key": "00".repeat(32)});
    for kind in ["machines", "enrollments"] {
        let object = json!({"metadata": {"name": "thing"}, "spec": key});
        fixture.post(&format!("/apis/stead.dev/v1/{kind}"), &object).await.expect(201);
    }
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    fixture.post(leases, &json!({"metadata": metadata})).await.expect(201);
}

/// Tries one document to its end.
async fn attempt(fixture: &Fixture, path: &str, place: &str) -> Result<(), String> {
    let home = tempfile::tempdir().unwrap();
    // A watch answers for as long as it is asked to.
    let mut settings = "[parameters]\n\"query.watch\" = \"false\"\n\"path.namespace\" = \"default\"\n".to_owned();
    if ["apis/stead.dev/v1", "apis/coordination.k8s.io/v1"].contains(&path) {
        settings.push_str("\"path.name\" = \"thing\"\n");
    }
    let file = home.path().join("schemathesis.toml");
    std::fs::write(&file, settings).unwrap();
    let program = peers::python().with_file_name("schemathesis");
    let mut command = peers::command(program, fixture, home.path());
    command.arg("--config-file").arg(&file).args(["run", &format!("http://{}{place}", fixture.plain_address)]);
    command.args(["--checks", "not_a_server_error", "--max-examples", EXAMPLES, "--seed", SEED, "--no-color"]);
    // The newer spelling of Events is served by what serves the older one.
    let phases = if path.starts_with("apis/events.k8s.io") { "fuzzing" } else { "coverage,fuzzing" };
    command.args(["--phases", phases, "--generation-database", "none"]);
    command.args(["--header", &format!("Authorization: Bearer {}", fixture.token)]);
    let output = command.current_dir(home.path()).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{path}: {said}");
    if output.status.success() && said.contains(" passed") { Ok(()) } else { Err(format!("{path}: {said}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_the_documents_allow_or_forbid_breaks_the_server() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    things(&fixture).await;
    let index = fixture.get("/openapi/v3").await.expect(200);
    let documents = index["paths"].as_object().unwrap();
    assert!(documents.len() >= 6, "{index}");
    let attempts = documents.iter().map(|(path, place)| {
        let place = place["serverRelativeURL"].as_str().unwrap();
        attempt(&fixture, path, place)
    });
    let result: Result<(), String> = futures::stream::iter(attempts).buffer_unordered(AT_ONCE).try_collect().await;
    result.unwrap();
    fixture.get("/api/v1/namespaces/default").await.expect(200);
}
