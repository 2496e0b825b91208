//! Metrics as they are exposed: every one of them on the page that lists them, and read by a real Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::harness::{COORDINATOR, Fleet, file, free_port, until};
use super::process::Process;
use crate::observability::{page_path, prometheus};
use crate::stead::Home;

/// A fleet whose coordinator and machines serve their metrics.
fn fleet(machines: &[&str]) -> Fleet {
    let mut home = Home::new();
    home.set("STEAD_LISTEN_METRICS", "127.0.0.1:0");
    let mut fleet = Fleet::found_in(home, &COORDINATOR);
    for name in machines {
        fleet.join(name);
    }
    fleet
}

pub(super) fn coordinators_address(fleet: &Fleet) -> String {
    fleet.ready_value("metrics").replace("http://", "").replace("/metrics", "")
}

fn agents_address(fleet: &Fleet, name: &str) -> String {
    let log = fleet.log(name);
    let line = log.lines().find(|line| line.contains("metrics are served")).unwrap_or_else(|| panic!("{log}"));
    line.split_whitespace().find_map(|word| word.strip_prefix("address=")).unwrap_or_else(|| panic!("{line}")).to_owned()
}

/// The body of an answer of a small HTTP server.
pub(super) fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}

/// One metric as it is exposed.
#[derive(Default)]
struct Exposed {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// What an exposition holds, by the name under which it is asked for.
fn exposed(text: &str) -> BTreeMap<String, Exposed> {
    let mut all: BTreeMap<String, Exposed> = BTreeMap::new();
    let mut families: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                families.insert(name.to_owned(), help.to_owned());
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let full = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
                let help = families.get(name).cloned().unwrap_or_default();
                all.insert(full, Exposed { kind: kind.to_owned(), help, labels: BTreeSet::new() });
            }
            (Some(sample), ..) if sample.starts_with("stead_") => {
                let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let key = if all.contains_key(name) { name } else { base.unwrap_or(name) };
                let metric = all.get_mut(key).unwrap_or_else(|| panic!("a sample of no metric: {line}"));
                let names =
                    labels.trim_end_matches('}').split("\",").filter_map(|pair| pair.split_once('=')).map(|(name, _)| name);
                metric.labels.extend(names.filter(|name| *name != "le").map(str::to_owned));
            }
            _ => {}
        }
    }
    all
}

fn table(text: &str) -> String {
    let rows = exposed(text).into_iter().map(|(name, Exposed { kind, help, labels })| {
        let labels: Vec<String> = labels.into_iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "))
    });
    format!("| name | type | labels | meaning |\n|---|---|---|---|\n{}", rows.collect::<String>())
}

/// About how many series there are of each machine.
const SERIES: usize = 23;

/// The page, from what two processes expose, and what one of them says of the machines.
fn page(coordinator: &str, machines: &str, agent: &str) -> String {
    format!(
        "# Metrics\n\n\
        A coordinator serves these at `/metrics` of its API to owners, and with `--listen-metrics ADDRESS` to whoever reaches that address; an\n\
        agent serves its own with the same flag. The format is OpenMetrics. `observability/` has alerts and a dashboard that use them, and\n\
        `docs/runbooks.md` says what to do. `cargo xtask metrics` writes this page; a test holds it to what running processes expose.\n\n\
        Of a histogram there are `NAME_bucket` (with `le`), `NAME_sum` and `NAME_count`. No label has a key, a path or anything else without an end\n\
        as its value; only those of each machine, which have a path of their own, have its name. The certificate that a\n\
        coordinator makes for its API does not end before 2099, so no metric counts its days.\n\n\
        ## Coordinator\n\n{}\n## Each machine, as its coordinator knows it\n\nAt `/metrics/machines` of the same ports, some {SERIES} series a machine: for machines that no Prometheus reaches.\n\n{}\n## Agent\n\n{}",
        table(coordinator),
        table(machines),
        table(agent)
    )
}

#[test]
fn every_metric_is_on_the_page() {
    let fleet = fleet(&["m1"]);
    fleet.apply_and_wait("motd", file("/motd", "hello"));
    let coordinator = get(&coordinators_address(&fleet), "/metrics").unwrap();
    let agent = get(&agents_address(&fleet, "m1"), "/metrics").unwrap();
    let machines = get(&coordinators_address(&fleet), "/metrics/machines").unwrap();
    assert!(machines.contains("stead_machine_state{machine=\"m1\",state=\"Converged\"} 1"), "{machines}");
    assert!(machines.contains("stead_machine_behind_objects{machine=\"m1\"} 0"), "{machines}");
    let live = page(&coordinator, &machines, &agent);
    if std::env::var_os("STEAD_METRICS_PAGE").is_some_and(|order| order == "rewrite") {
        std::fs::write(page_path(), live).unwrap();
        return;
    }
    let written = std::fs::read_to_string(page_path()).unwrap();
    let missing: Vec<&str> = live.lines().filter(|line| !written.contains(line)).collect();
    let gone: Vec<&str> = written.lines().filter(|line| !live.contains(line)).collect();
    assert!(
        missing.is_empty() && gone.is_empty() && live == written,
        "`cargo xtask metrics`: not on it {missing:#?}, not exposed {gone:#?}"
    );
    for name in ["m1", "motd", "/motd"] {
        let labelled = coordinator.lines().find(|line| line.contains(&format!("\"{name}")));
        assert!(labelled.is_none(), "a label that grows with the fleet: {labelled:?}");
    }
}

/// A Prometheus that scrapes these addresses every second, with our alerts.
struct Prometheus {
    _process: Process,
    address: String,
}

impl Prometheus {
    fn start(home: &Home, coordinator: &str, agents: &[String]) -> Self {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../observability/alerts.yaml");
        let job = |name: &str, targets: Value| json!({"job_name": name, "metrics_path": "/metrics", "static_configs": [{"targets": targets}]});
        // JSON is YAML.
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules.canonicalize().unwrap()],
            "scrape_configs": [job("coordinator", json!([coordinator])), job("agents", json!(agents))],
        });
        home.write("prometheus.json", &config.to_string());
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(prometheus("prometheus"));
        command.arg(format!("--config.file={}", home.path("prometheus.json").display()));
        command.arg(format!("--storage.tsdb.path={}", home.path("prometheus").display()));
        command.args([&format!("--web.listen-address={address}"), "--log.level=warn"]).stdout(Stdio::null());
        Self { _process: Process::spawn(&mut command), address }
    }

    /// What its API says.
    fn api(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&get(&self.address, &format!("/api/v1/{path}"))?).ok()
    }

    /// The one number that a query has for an answer.
    fn number(&self, query: &str) -> Option<f64> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.api(&format!("query?query={encoded}"))?;
        answer.pointer("/data/result/0/value/1")?.as_str()?.parse().ok()
    }
}

#[test]
fn a_real_prometheus_reads_coordinator_and_agents() {
    let fleet = fleet(&["m1", "m2"]);
    let agents = ["m1", "m2"].map(|name| agents_address(&fleet, name));
    let prometheus = Prometheus::start(&fleet.home, &coordinators_address(&fleet), &agents);
    fleet.apply_and_wait("motd", file("/motd", "hello"));
    for (query, expected) in [
        ("sum(up)", 3.0),
        ("max(stead_fleet_machines_converged)", 2.0),
        ("sum(stead_agent_units{kind=\"file\", state=\"Converged\"})", 2.0),
        ("sum(stead_agent_acts_total{kind=\"file\", outcome=\"done\"})", 2.0),
        ("sum(stead_agent_act_seconds_count{kind=\"file\"})", 2.0),
        ("max(stead_admission_admitted_total{signer=\"owners\"})", 1.0),
        // Two machines and one profile on each: the machine acknowledges its own object too.
        ("sum(stead_control_acknowledgements_total{outcome=\"Applied\"})", 4.0),
        ("sum(stead_admission_seconds_bucket{signer=\"owners\", le=\"+Inf\"})", 1.0),
        ("min(stead_process_start_time_seconds) > bool 1e9", 1.0),
    ] {
        until(query, || prometheus.number(query).filter(|number| (number - expected).abs() < 0.5));
    }
    let groups = until("the rules are evaluated", || {
        let rules = prometheus.api("rules")?;
        let groups = rules.pointer("/data/groups")?.as_array()?.clone();
        let all = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        let states: Vec<Value> = all.map(|rule| rule["health"].clone()).collect();
        (!states.is_empty() && states.iter().all(|state| state == "ok")).then_some(groups)
    });
    assert!(groups.len() > 3, "{groups:#?}");
    for target in prometheus.api("targets").unwrap()["data"]["activeTargets"].as_array().unwrap() {
        assert_eq!(target["lastError"], "", "{target:#}");
    }
}
