//! The alerts, their runbooks and the dashboard: they name only metrics and labels that exist, and commands that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::stead::Home;

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The page that lists every metric.
pub(crate) fn page_path() -> PathBuf {
    tree("docs/metrics.md")
}

/// A program of Debian's Prometheus.
pub(crate) fn prometheus(program: &str) -> PathBuf {
    let installed = || tree("target/tools/prometheus/usr/bin");
    let path = std::env::var_os("STEAD_PROMETHEUS").map_or_else(installed, PathBuf::from).join(program);
    assert!(path.is_file(), "{} is not there: `cargo xtask test` installs it, or set STEAD_PROMETHEUS", path.display());
    path
}

fn read(path: &str) -> String {
    std::fs::read_to_string(tree(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The labels of every series that the page lists.
fn series() -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in read("docs/metrics.md").lines().filter(|line| line.starts_with("| `stead_")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        let labels: BTreeSet<String> =
            cells[3].split(", ").map(|label| label.trim_matches('`').to_owned()).filter(|label| !label.is_empty()).collect();
        if cells[2] == "histogram" {
            for (end, le) in [("_bucket", true), ("_sum", false), ("_count", false)] {
                let mut labels = labels.clone();
                labels.extend(le.then(|| "le".to_owned()));
                all.entry(format!("{name}{end}")).or_default().extend(labels);
            }
        } else {
            all.entry(name.to_owned()).or_default().extend(labels);
        }
    }
    assert!(all.len() > 50, "the page lists {} series only", all.len());
    all
}

/// What PromQL says by itself: every other word has to be a metric or a label.
const WORDS: [&str; 19] = [
    "abs",
    "absent",
    "and",
    "bool",
    "by",
    "changes",
    "histogram_quantile",
    "ignoring",
    "increase",
    "max",
    "max_over_time",
    "min",
    "on",
    "or",
    "rate",
    "sum",
    "time",
    "unless",
    "without",
];
/// Labels that Prometheus adds.
const ADDED: [&str; 2] = ["instance", "job"];

/// What is wrong with an expression: names that do not exist.
fn faults(expression: &str, series: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let (mut faults, mut metrics, mut grouped) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = expression;
    let mut last = String::new();
    while let Some(next) = rest.chars().next() {
        if next.is_ascii_alphabetic() || next == '_' {
            let end = rest.find(|next: char| !next.is_ascii_alphanumeric() && next != '_' && next != ':').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            if word.starts_with("stead_") {
                if !series.contains_key(word) {
                    faults.push(format!("there is no metric {word}"));
                }
                metrics.push(word.to_owned());
            } else if !WORDS.contains(&word) {
                faults.push(format!("{word} is neither a metric nor a word of PromQL that is known here"));
            }
            word.clone_into(&mut last);
        } else if next == '{' {
            let end = rest.find('}').unwrap_or_else(|| panic!("{expression}"));
            let (inside, after) = rest.split_at(end);
            rest = &after[1..];
            let names = inside[1..].split(',').filter_map(|pair| pair.split(['=', '!']).next()).map(str::trim);
            for label in names.filter(|label| !label.is_empty() && !ADDED.contains(label)) {
                let known = metrics.last().and_then(|metric| series.get(metric));
                if known.is_none_or(|known| !known.contains(label)) {
                    faults.push(format!("{} has no label {label}", metrics.last().map_or("nothing", String::as_str)));
                }
            }
        } else if next == '(' && ["by", "on", "without", "ignoring"].contains(&last.as_str()) {
            let end = rest.find(')').unwrap_or_else(|| panic!("{expression}"));
            let (inside, after) = rest.split_at(end);
            rest = &after[1..];
            grouped.extend(inside[1..].split(',').map(|label| label.trim().to_owned()));
            last.clear();
        } else if next == '[' {
            rest = rest.split_once(']').unwrap_or_else(|| panic!("{expression}")).1;
        } else {
            // A number may have an exponent; an operator and a space say nothing.
            let end = if next.is_ascii_digit() { rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.') } else { None };
            rest = &rest[end.unwrap_or(if next.is_ascii_digit() { rest.len() } else { next.len_utf8() })..];
            if next != ' ' {
                last.clear();
            }
        }
    }
    for label in grouped.iter().filter(|label| !label.is_empty() && !ADDED.contains(&label.as_str())) {
        if !metrics.iter().filter_map(|metric| series.get(metric)).any(|labels| labels.contains(label)) {
            faults.push(format!("nothing in it has the label {label}"));
        }
    }
    if metrics.is_empty() {
        faults.push("it names no metric".to_owned());
    }
    faults
}

#[test]
fn names_that_do_not_exist_are_found() {
    let series = series();
    for good in [
        "rate(stead_api_requests_total{class=\"read\", instance=~\"a.*\"}[5m]) > 1e3",
        "histogram_quantile(0.99, sum by (class, le) (rate(stead_api_request_seconds_bucket[5m])))",
        "absent(stead_fleet_build)",
    ] {
        assert_eq!(faults(good, &series), Vec::<String>::new(), "{good}");
    }
    for bad in [
        "stead_fleet_machine",
        "stead_fleet_machines{name=\"m1\"}",
        "sum by (class) (stead_fleet_machines)",
        "stead_api_request_seconds > 1",
        "up == 0",
        "stead_api_requests_total{klass!=\"read\"}",
    ] {
        assert!(!faults(bad, &series).is_empty(), "{bad}");
    }
}

/// An alert's name and members.
fn alerts() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read("observability/alerts.yaml")).unwrap();
    let groups = file["groups"].as_array().unwrap();
    let rules: Vec<Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
    assert!(rules.len() > 20);
    rules
}

#[test]
fn alerts_and_dashboard_name_only_what_exists() {
    let series = series();
    let mut wrong = Vec::new();
    for alert in alerts() {
        let faults = faults(alert["expr"].as_str().unwrap(), &series);
        wrong.extend(faults.into_iter().map(|fault| format!("{}: {fault}", alert["alert"])));
    }
    let dashboard: Value = serde_json::from_str(&read("observability/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        for target in panel["targets"].as_array().unwrap_or_else(|| panic!("{panel:#}")) {
            let expression = target["expr"].as_str().unwrap();
            let (all, legend) = (faults(expression, &series), target["legendFormat"].as_str().unwrap());
            wrong.extend(all.into_iter().map(|fault| format!("panel {}: {fault}", panel["title"])));
            for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
                let named = ADDED.contains(&label)
                    || expression.contains(label)
                    || series.iter().any(|(name, labels)| expression.contains(name) && labels.contains(label));
                wrong.extend((!named).then(|| format!("panel {}: the legend's {label} is no label", panel["title"])));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // As Grafana 10 and later take it: every panel has a number and a place of its own.
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    assert!(dashboard["schemaVersion"].as_u64() >= Some(38));
    let mut taken = BTreeSet::new();
    for panel in panels {
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap_or_else(|| panic!("{panel:#}"));
        assert!(place("x") + place("w") <= 24, "{panel:#}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "two panels at one place: {}", panel["title"]);
            }
        }
    }
}

#[test]
fn promtool_takes_the_alerts_and_every_one_has_its_cases() {
    let run = |words: &[&str]| {
        let output = Command::new(prometheus("promtool")).args(words).current_dir(tree("observability")).output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run(&["check", "rules", "alerts.yaml"]);
    run(&["test", "rules", "alerts.test.yaml"]);
    let cases: Value = serde_saphyr::from_str(&read("observability/alerts.test.yaml")).unwrap();
    let mut told: BTreeMap<&str, BTreeSet<bool>> = BTreeMap::new();
    for case in cases["tests"].as_array().unwrap() {
        for test in case["alert_rule_test"].as_array().unwrap() {
            let fires = test["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
            told.entry(test["alertname"].as_str().unwrap()).or_default().insert(fires);
        }
    }
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        assert_eq!(told.get(name).map(BTreeSet::len), Some(2), "{name} needs a case that fires and one that does not");
    }
}

#[test]
fn every_alert_has_a_runbook_whose_commands_exist() {
    let runbooks = read("docs/runbooks.md");
    let sections: BTreeSet<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let (name, annotations) = (alert["alert"].as_str().unwrap().to_owned(), &alert["annotations"]);
        assert_eq!(annotations["runbook"], format!("docs/runbooks.md#{}", name.to_lowercase()));
        assert!(["summary", "description"].iter().all(|kind| annotations[kind].as_str().is_some_and(|text| !text.is_empty())));
        assert!(["critical", "warning", "info"].iter().any(|severity| alert["labels"]["severity"] == *severity));
        assert!(sections.contains(name.as_str()), "docs/runbooks.md has no section {name}");
        names.insert(name);
    }
    for section in sections {
        assert!(names.contains(section), "{section} is no alert");
    }
    let home = Home::new();
    let commands = runbooks.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("stead "));
    let mut seen = 0;
    for command in commands {
        let words: Vec<&str> =
            command.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase())).collect();
        // The words of the command itself, and perhaps a kind or a name, which help does not mind.
        let depth = if ["ticket", "change", "trust", "config"].contains(&words[0]) { 2 } else { 1 };
        home.stead(&[&words[..depth.min(words.len())], &["--help"]].concat()).ok();
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}
