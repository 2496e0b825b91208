//! Requests by psql: admitted as if they had come by the API, once, and answered there.

use std::process::Command;

use serde_json::{Value, json};
use stead_admission::Admission;
use stead_model::{GroupKind, ObjectKey};
use stead_peers::TempPostgres;
use stead_store::{Options, PostgresEngine, Store};
use stead_trust::SigningKey;

use crate::fleet::{Fleet, profile};

async fn open(server: &TempPostgres) -> Store {
    Store::open(PostgresEngine::open(&server.url()).await.unwrap(), Options::default()).await.unwrap()
}

/// A role of a person who may submit, as the documentation makes it.
const ROLES: &str = "
    CREATE ROLE stead_submit;
    GRANT USAGE ON SCHEMA stead TO stead_submit;
    GRANT EXECUTE ON FUNCTION stead.submit(jsonb), stead.propose(jsonb, text), stead.outcome(text) TO stead_submit;
    CREATE ROLE anna LOGIN IN ROLE stead_submit;
    CREATE ROLE bert LOGIN IN ROLE stead_submit;
    CREATE ROLE carl LOGIN;
";

/// Runs one statement with psql; its arguments are quoted by psql itself.
fn psql(server: &TempPostgres, role: &str, sql: &str, argument: &str) -> Result<String, String> {
    let mut command: Command = server.psql();
    command.args(["--username", role, "--set", &format!("argument={argument}")]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), sql.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn ask(server: &TempPostgres, role: &str, call: &str, argument: &str) -> Result<String, String> {
    psql(server, role, &format!("SELECT stead.{call}"), argument)
}

/// State, message and revision, once it is settled.
async fn outcome(server: &TempPostgres, role: &str, id: &str) -> (String, String, String) {
    loop {
        let row = psql(server, role, "SELECT state, message, revision FROM stead.outcome(:'argument')", id).unwrap();
        let mut parts = row.split('|').map(str::to_owned);
        let (state, message) = (parts.next().unwrap(), parts.next().unwrap());
        if state != "waiting" {
            return (state, message, parts.next().unwrap());
        }
        tokio::task::yield_now().await;
    }
}

fn serve(admission: &Admission) -> tokio::task::JoinHandle<()> {
    let admission = admission.clone();
    tokio::spawn(async move { admission.serve_inbox().await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envelopes_and_proposals_are_admitted_and_garbage_is_refused() {
    let server = TempPostgres::start();
    let fleet = Fleet::on(open(&server).await).await;
    server.run_sql(ROLES);
    let serving = serve(&fleet.admission);

    // A signed Change.
    let submission = fleet.signed(&fleet.owner, &profile("hello"), 1);
    let envelope = serde_json::to_string(&submission).unwrap();
    let id = ask(&server, "anna", "submit(:'argument')", &envelope).unwrap();
    let (state, message, revision) = outcome(&server, "anna", &id).await;
    assert_eq!((state.as_str(), revision.as_str()), ("done", "2"), "{message}");
    let statement: Value = serde_json::from_slice(&submission.statement.document).unwrap();
    assert_eq!(message, format!("change {}", statement["id"].as_str().unwrap().to_ascii_lowercase()));
    let key = ObjectKey::new(GroupKind::new("stead.dev", "Profile"), "", "web");
    assert_eq!(fleet.stored(&key).unwrap().spec()["files"][0]["content"], "hello");
    assert_eq!(
        psql(&server, "bert", "SELECT * FROM stead.outcome(:'argument')", &id).unwrap(),
        "",
        "it is nobody else's business"
    );

    // A proposal, which the coordinator signs, saying for whom.
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant"}}).to_string();
    let id = ask(&server, "bert", "propose(:'argument')", &namespace).unwrap();
    assert_eq!(outcome(&server, "bert", &id).await.0, "done");
    let namespace_key = ObjectKey::new(GroupKind::new("", "Namespace"), "", "tenant");
    assert!(fleet.stored(&namespace_key).is_some());
    let change = fleet.admission.store().changes(None, 1).await.unwrap().remove(0);
    assert_eq!((change.author.as_str(), change.message.as_str()), ("postgres:bert", "proposed through the database"));
    let id = ask(&server, "bert", "propose(:'argument', 'delete')", &namespace).unwrap();
    assert_eq!(outcome(&server, "bert", &id).await.0, "done");
    assert!(fleet.stored(&namespace_key).is_none());

    // What is refused, and why.
    let stranger = SigningKey::from_seed(&[9; 32]);
    let foreign = serde_json::to_string(&fleet.signed(&stranger, &profile("x"), 2)).unwrap();
    let owners = serde_json::to_string(&profile("x")).unwrap();
    let cases = [
        ("submit(:'argument')", envelope.as_str(), "sequence 1 is there"),
        ("submit(:'argument')", foreign.as_str(), "SHA256:"),
        ("submit(:'argument')", "{\"rubbish\": [1, 2]}", "this is no signed change"),
        ("propose(:'argument')", owners.as_str(), "stead apply -f FILE"),
        ("propose(:'argument')", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\"}", "no kind \"Pod\""),
        ("propose(:'argument')", "17", "no kind"),
        ("propose(:'argument', 'delete')", namespace.as_str(), "does not exist"),
    ];
    let before = fleet.admission.store().revision();
    for (call, argument, reason) in cases {
        let id = ask(&server, "anna", call, argument).unwrap();
        let (state, message, _) = outcome(&server, "anna", &id).await;
        assert_eq!(state, "refused", "{argument}: {message}");
        assert!(message.contains(reason), "{argument}: {message}");
    }
    assert_eq!(fleet.admission.store().revision(), before);

    serving.abort();
}

#[tokio::test]
async fn rights_and_forms_are_the_databases_to_refuse() {
    let server = TempPostgres::start();
    open(&server).await;
    server.run_sql(ROLES);
    for (role, call, argument, reason) in [
        ("anna", "submit(:'argument')", "no json", "invalid input syntax for type json"),
        ("anna", "submit(NULL)", "", "there is nothing to submit"),
        ("anna", "propose(:'argument', 'patch')", "{}", "the operation is put or delete, not patch"),
        ("anna", "ask('put', :'argument')", "{}", "permission denied for function ask"),
        ("carl", "submit(:'argument')", "{}", "permission denied for schema stead"),
    ] {
        let error = ask(&server, role, call, argument).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
    let error = psql(&server, "anna", "SELECT * FROM stead.inbox", "").unwrap_err();
    assert!(error.contains("permission denied for table inbox"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_bounded() {
    let server = TempPostgres::start();
    let fleet = Fleet::on(open(&server).await).await;
    let fill = "SELECT count(stead.propose(jsonb_build_object('n', n))) FROM generate_series(1, 1000) AS n";
    assert_eq!(psql(&server, "stead", fill, "").unwrap(), "1000");
    let error = ask(&server, "stead", "propose('{}')", "").unwrap_err();
    assert!(error.contains("1000 requests wait for a coordinator already"), "{error}");
    let long = "SELECT stead.propose(jsonb_build_object('text', repeat('x', 67108864)))";
    let error = psql(&server, "stead", long, "").unwrap_err();
    assert!(error.contains("67108864 is the limit"), "{error}");
    let serving = serve(&fleet.admission);
    let left = "SELECT count(*) FROM stead.inbox WHERE state = 'waiting'";
    while psql(&server, "stead", left, "").unwrap() != "0" {}
    serving.abort();
}

/// Two coordinators serve the inbox; each request is done once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_request_is_done_once_whoever_takes_it() {
    const REQUESTS: usize = 100;
    let server = TempPostgres::start();
    let fleet = Fleet::on(open(&server).await).await;
    let other = Admission::open(
        open(&server).await,
        fleet.admission.fleet(),
        std::sync::Arc::new(crate::fleet::online()),
        crate::fleet::environment(),
    );
    let other = other.unwrap();
    let serving = [serve(&fleet.admission), serve(&other)];
    let propose = "SELECT count(stead.propose(jsonb_build_object('apiVersion', 'v1', 'kind', 'Namespace', \
                   'metadata', jsonb_build_object('name', 'n' || n)))) FROM generate_series(1, 100) AS n";
    psql(&server, "stead", propose, "").unwrap();
    // One that a coordinator took and then died with: its minute is over.
    let lapsed = "UPDATE stead.inbox SET taken_until = now() - interval '1 second' WHERE state = 'waiting'";
    let waiting = "SELECT count(*) FROM stead.inbox WHERE state = 'waiting'";
    while psql(&server, "stead", waiting, "").unwrap() != "0" {
        psql(&server, "stead", lapsed, "").unwrap();
        psql(&server, "stead", "SELECT pg_notify('stead_inbox', '')", "").unwrap();
    }
    assert_eq!(psql(&server, "stead", "SELECT DISTINCT state, message LIKE 'change %' FROM stead.inbox", "").unwrap(), "done|t");
    let changes = fleet.admission.store().changes(None, 1_000).await.unwrap();
    assert_eq!(changes.len(), REQUESTS, "one change a request");
    let revisions = psql(&server, "stead", "SELECT count(DISTINCT revision) FROM stead.inbox", "").unwrap();
    assert_eq!(revisions, REQUESTS.to_string());
    serving.iter().for_each(|task| task.abort());
}
