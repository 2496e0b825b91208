//! Traces and logs: one change followed from the owner's terminal to a machine and back, by its id alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::harness::{COORDINATOR, Fleet, file, until};
use super::process::Process;
use crate::stead::Home;

/// What a file of a machine holds, which is nobody's business.
const CONTENT: &str = "the-content-of-a-file-that-nobody-else-may-see";

fn python() -> PathBuf {
    let installed = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/python/bin/python3");
    std::env::var_os("STEAD_PYTHON").map_or_else(installed, PathBuf::from)
}

/// A collector as OpenTelemetry's own definitions make it.
struct Collector {
    process: Process,
    endpoint: String,
    spans: PathBuf,
}

impl Collector {
    fn start(home: &Home) -> Self {
        let spans = home.path("spans.jsonl");
        let mut command = Command::new(python());
        command.args(["-c", include_str!("collector.py")]).arg(&spans).stdout(Stdio::piped());
        let mut process = Process::spawn(&mut command);
        let ready = process.line("ready ").unwrap_or_else(|| panic!("no collector: `cargo xtask tools` installs what it needs"));
        let endpoint = format!("http://127.0.0.1:{}", ready.trim_start_matches("ready "));
        Self { process, endpoint, spans }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.spans).unwrap_or_default()
    }

    /// The spans of a change, by its id. The last line may still be being written.
    fn of(&self, change: &str) -> Vec<Value> {
        let trace = format!("{:032x}", ulid::Ulid::from_string(change).unwrap().0);
        let spans = self.text();
        let spans = spans.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        spans.filter(|span| span["trace"] == trace).collect()
    }
}

fn named<'a>(spans: &'a [Value], service: &str, name: &str) -> Option<&'a Value> {
    spans.iter().find(|span| span["service"] == service && span["name"] == name)
}

/// Everything that a change goes through.
const PARTS: [(&str, &str); 13] = [
    ("stead", "change"),
    ("stead", "sign"),
    ("stead", "submit"),
    ("stead-coordinator", "request"),
    ("stead-coordinator", "admit"),
    ("stead-coordinator", "verify"),
    ("stead-coordinator", "commit"),
    ("stead-coordinator", "send"),
    ("stead-coordinator", "taken"),
    ("stead-agent", "judge"),
    ("stead-agent", "remember"),
    ("stead-agent", "converge"),
    ("stead-agent", "acknowledge"),
];

/// A coordinator that logs all that it does.
fn talkative() -> Vec<&'static str> {
    [COORDINATOR.as_slice(), &["--log-level", "debug", "--log-format", "json"]].concat()
}

/// Applies a file, and gives the change's id.
fn apply(fleet: &Fleet, words: &[&str]) -> (String, String) {
    let ended = fleet.apply_with("motd", file("/motd", CONTENT), &[&["-o", "json"], words].concat());
    let change: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:#?}"));
    (change["metadata"]["name"].as_str().unwrap_or_else(|| panic!("{change:#}")).to_uppercase(), ended.stderr)
}

#[test]
fn one_trace_has_every_part_of_a_change() {
    let mut home = Home::new();
    let mut collector = Collector::start(&home);
    home.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint);
    let mut fleet = Fleet::found_in(home, &COORDINATOR);
    fleet.join("m1");
    let (change, _) = apply(&fleet, &[]);
    fleet.wait("profile/motd", "condition=Converged");
    let missing = |spans: &[Value]| PARTS.into_iter().find(|(service, name)| named(spans, service, name).is_none());
    let spans = until("every part of the trace", || {
        let spans = collector.of(&change);
        missing(&spans).is_none().then_some(spans)
    });
    // One tree: every parent is there, and only the first span has none.
    let ids: Vec<&Value> = spans.iter().map(|span| &span["span"]).collect();
    for span in &spans {
        let first = span["name"] == "change" && span["service"] == "stead";
        assert!(if first { span["parent"] == "" } else { ids.contains(&&span["parent"]) }, "{span:#}\n{spans:#?}");
        assert!(span["end"].as_u64() >= span["start"].as_u64());
    }
    let of = |service, name| named(&spans, service, name).unwrap();
    assert_eq!(of("stead-coordinator", "verify")["parent"], of("stead-coordinator", "admit")["span"]);
    assert_eq!(of("stead-coordinator", "admit")["parent"], of("stead-coordinator", "request")["span"]);
    assert_eq!(of("stead-coordinator", "request")["kind"], 2, "a server's span");
    let attributes = &of("stead-agent", "converge")["attributes"];
    assert_eq!(
        (&attributes["host.name"], &attributes["stead.object"], &attributes["stead.unit"], &attributes["stead.outcome"]),
        (&json!("m1"), &json!("Profile/motd"), &json!("file:/motd"), &json!("Converged"))
    );
    assert_eq!(of("stead-coordinator", "send")["attributes"]["host.name"], "m1");

    // What the coordinator signs itself begins with the request.
    let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "traced"}});
    let token = std::fs::read_to_string(newest(&fleet.home.path(".cache/stead"))).unwrap();
    let token: Value = serde_json::from_str(&token).unwrap();
    let namespace = create(&fleet, token["token"].as_str().unwrap(), &manifest);
    assert_eq!(namespace.status, 201, "{namespace:?}");
    let listed = fleet.list("changes");
    let made = listed.iter().find(|change| change.to_string().contains("traced")).unwrap_or_else(|| panic!("{listed:#?}"));
    let made = made["metadata"]["name"].as_str().unwrap().to_uppercase();
    let spans = until("the trace of a namespace", || {
        let spans = collector.of(&made);
        named(&spans, "stead-coordinator", "request").is_some().then_some(spans)
    });
    let (request, commit) = (named(&spans, "stead-coordinator", "request"), named(&spans, "stead-coordinator", "commit"));
    assert_eq!((&request.unwrap()["parent"], &commit.unwrap()["parent"]), (&json!(""), &request.unwrap()["span"]));
    assert_eq!(request.unwrap()["attributes"]["stead.request"], namespace.audit_id);

    // Nothing secret is in any span, and nothing waits for a collector that has gone.
    let text = collector.text();
    nothing_secret(&fleet, &text);
    collector.process.kill();
    fleet.apply("later", file("/later", "hello"));
}

/// What the API answered.
#[derive(Debug)]
struct Created {
    status: u16,
    audit_id: String,
}

/// Creates a namespace as any client of Kubernetes does.
fn create(fleet: &Fleet, token: &str, manifest: &Value) -> Created {
    // Another call of the program may have done it; here there is none before it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = std::fs::read(fleet.home.path("coordinator/tls/authority.crt")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let certificates = reqwest::Certificate::from_pem_bundle(&authority).unwrap();
        let client = reqwest::Client::builder().tls_certs_only(certificates).build().unwrap();
        let url = format!("{}/api/v1/namespaces", fleet.server());
        let answer = client.post(url).bearer_auth(token).json(manifest).send().await.unwrap();
        let audit_id = answer.headers().get("audit-id").map(|id| id.to_str().unwrap().to_owned()).unwrap_or_default();
        Created { status: answer.status().as_u16(), audit_id }
    })
}

fn newest(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
        .unwrap_or_else(|| panic!("{} is empty", folder.display()))
}

/// Holds a text to what it must not have in it.
#[track_caller]
fn nothing_secret(fleet: &Fleet, text: &str) {
    let token: Value = serde_json::from_str(&std::fs::read_to_string(newest(&fleet.home.path(".cache/stead"))).unwrap()).unwrap();
    let ticket = std::fs::read_to_string(fleet.home.path("m1.ticket")).unwrap();
    let pass = std::fs::read(fleet.home.path("coordinator/join.pass")).unwrap();
    let pass_hex: String = pass.iter().map(|byte| format!("{byte:02x}")).collect();
    let secrets = [
        ("a file's content", CONTENT.to_owned()),
        ("a login's token", token["token"].as_str().unwrap().to_owned()),
        ("a ticket", ticket.trim().to_owned()),
        ("the pass of tickets", String::from_utf8_lossy(&pass).trim().to_owned()),
        ("the pass of tickets, in hexadecimal", pass_hex),
        ("a private key", "PRIVATE KEY".to_owned()),
    ];
    for (what, secret) in secrets {
        assert!(secret.len() > 8, "{what} is too short to be looked for");
        assert!(
            !text.contains(&secret),
            "{what} is in it: {}",
            text.lines().find(|line| line.contains(&secret)).unwrap_or_default()
        );
    }
}

/// The lines of a log about a change that say something, each as JSON.
fn lines(log: &str, change: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["change"] == change).collect()
}

#[test]
fn one_change_is_found_in_every_log_and_nothing_secret_is() {
    let mut home = Home::new();
    home.set("STEAD_LOG_FORMAT", "json");
    let mut fleet = Fleet::found_in(home, &talkative());
    fleet.join("m1");
    let (change, told) = apply(&fleet, &["--log-level", "debug"]);
    fleet.wait("profile/motd", "condition=Converged");
    let said = |log: &str, target: &str, message: &str| {
        lines(log, &change)
            .into_iter()
            .find(|line| line["target"].as_str().unwrap().starts_with(target) && line["message"] == message)
    };
    for message in ["signed", "the change was admitted"] {
        assert!(said(&told, "stead::", message).is_some(), "{message}: {told}");
    }
    let coordinator = |target, message| until(message, || said(&fleet.log("coordinator"), target, message));
    let admitted = coordinator("stead_admission", "a signed change");
    let committed = coordinator("stead_admission", "committed");
    assert_eq!(committed["request"], admitted["request"], "both were in one request");
    assert_eq!(coordinator("stead_api", "answered")["request"], admitted["request"]);
    let sent = coordinator("stead_control", "sent");
    let revision = committed["revision"].as_u64().unwrap();
    assert_eq!((&sent["machine"], &sent["object"], &sent["revision"]), (&json!("m1"), &json!("Profile/motd"), &json!(revision)));
    let handed = |line: &Value| line["message"] == "a state is out" && line["revision"].as_u64() >= Some(revision);
    let log = fleet.log("coordinator");
    assert!(log.lines().filter_map(|line| serde_json::from_str(line).ok()).any(|line| handed(&line)), "{log}");
    let taken = coordinator("stead_control", "acknowledgement taken");
    assert_eq!((&taken["machine"], &taken["outcome"]), (&json!("m1"), &json!("Applied")));
    for message in ["accepted", "acted", "acknowledged"] {
        let line = until(message, || said(&fleet.log("m1"), "stead_agent", message));
        assert_eq!((&line["machine"], &line["object"]), (&json!("m1"), &json!("Profile/motd")), "{line:#}");
    }
    for text in [told, fleet.log("coordinator"), fleet.log("m1")] {
        nothing_secret(&fleet, &text);
    }
}
