//! A restored record in PostgreSQL with two coordinators: machines give back to whichever they are connected to, and where that one is
//! killed in the middle, to the other.

use serde_json::{Value, json};
use stead_peers::TempPostgres;
use stead_store::{Engine as _, PostgresEngine};

use super::harness::{Fleet, file, free_port, until};
use super::process::Process;
use crate::stead::Home;

const MACHINES: [&str; 3] = ["m1", "m2", "m3"];
/// Profiles that the restored record does not know, in several changes.
const PROFILES: usize = 48;
const PER_CHANGE: usize = 12;

fn words<'a>(state: &'a str, url: &'a str) -> [&'a str; 5] {
    ["coordinator", "--state-dir", state, "--store", url]
}

fn name(number: usize) -> String {
    format!("lost-{number:02}")
}

/// The second coordinator, always on the same ports: where the machines look for it when the first is gone.
fn start_second(fleet: &Fleet, url: &str, ports: [u16; 3]) -> Process {
    let mut command = fleet.home.command(env!("CARGO_BIN_EXE_stead"));
    command.args(words("second", url)).args(["--trust-root", "trust/root.json"]);
    for (flag, port) in ["--listen", "--listen-machines", "--listen-relay"].into_iter().zip(ports) {
        command.args([flag, &format!("127.0.0.1:{port}")]);
    }
    command.env("STEAD_LOG_LEVEL", "info").stderr(fleet.log_file("second"));
    let mut second = Process::spawn(&mut command);
    assert!(second.line("ready ").is_some(), "{}", fleet.log("second"));
    second
}

/// Signs the profiles, and waits until every machine has the last of them.
fn go_on(fleet: &Fleet) {
    let numbers: Vec<usize> = (0..PROFILES).collect();
    for part in numbers.chunks(PER_CHANGE) {
        let profile = |number: &usize| {
            let spec = json!({"selector": {}, "files": [{"path": format!("/{}", name(*number)), "content": "lost"}]});
            json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": name(*number)}, "spec": spec})
                .to_string()
        };
        fleet.home.write("lost.yaml", &part.iter().map(profile).collect::<Vec<_>>().join("\n---\n"));
        fleet.stead(&["apply", "-f", "lost.yaml"]).ok();
    }
    for machine in MACHINES {
        for number in 0..PROFILES {
            until(machine, || fleet.file(machine, &format!("/{}", name(number))).map(drop));
        }
    }
}

/// Lets the older record begin anew, as a restore does.
fn restore(url: &str) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let engine = PostgresEngine::open_offline(url, None).await.unwrap();
        let before = engine.meta().await.unwrap();
        engine.begin_anew(&before.incarnation, jiff::Timestamp::now()).await.unwrap();
        engine.close().await;
    });
}

#[test]
fn machines_give_back_through_two_coordinators_though_one_is_killed() {
    let server = TempPostgres::start();
    let (home, url) = (Home::new(), server.url());
    Fleet::trust_two(&home, ["coordinator", "second"]);
    let mut fleet = Fleet::on_root(home, &words("coordinator", &url));
    let ports = [(); 3].map(|()| free_port());
    let mut second = start_second(&fleet, &url, ports);
    for machine in MACHINES {
        fleet.join(machine);
    }
    fleet.apply_and_wait("kept", file("/kept", "before"));
    let login = ["login", "--server", &fleet.server(), "--ca-file", "coordinator/tls/authority.crt"];
    until("the client knows both", || fleet.stead(&login).stdout.contains("Other coordinators").then_some(()));
    for process in [&mut second, fleet.coordinator.as_mut().unwrap()] {
        assert!(process.stop().success());
    }
    server.run_sql("CREATE DATABASE older TEMPLATE stead");
    fleet.start_coordinator_with(&words("coordinator", &url));
    let mut second = start_second(&fleet, &url, ports);
    go_on(&fleet);

    second.kill();
    fleet.coordinator.as_mut().unwrap().kill();
    let older = url.replace("/stead?", "/older?");
    restore(&older);
    fleet.start_coordinator_with(&words("coordinator", &older));
    let mut second = start_second(&fleet, &older, ports);
    // Whichever it is that asks first is killed as soon as something of it is in the record.
    let taking = |log: &str| fleet.log(log).contains("taken in again");
    let first_asks =
        until("something comes back", || taking("coordinator").then_some(true).or_else(|| taking("second").then_some(false)));
    if first_asks {
        fleet.coordinator.as_mut().unwrap().kill();
    } else {
        second.kill();
    }
    let report = until("everything through the other", || {
        let report: Value = serde_json::from_str(&fleet.stead(&["restore", "status", "-o", "json"]).stdout).ok()?;
        (report["machines"]["givenBack"] == MACHINES.len()).then_some(report)
    });
    assert_eq!((&report["machines"]["notYet"], &report["toSign"], &report["incomplete"]), (&json!([]), &json!([]), &json!([])));
    let mut found: Vec<String> =
        fleet.list("profiles").iter().map(|profile| profile["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    found.sort();
    let expected: Vec<String> = std::iter::once("kept".to_owned()).chain((0..PROFILES).map(name)).collect();
    assert_eq!(found, expected);
    // Each is in the record once, in the change that it was signed in.
    let log = fleet.list("changes");
    let mut entries: Vec<(&str, u64)> = Vec::new();
    for change in &log {
        for entry in change["spec"]["entries"].as_array().unwrap() {
            let object = entry["object"].as_str().unwrap();
            if object.starts_with("Profile/lost-") {
                entries.push((object, entry["sequence"].as_u64().unwrap()));
            }
        }
    }
    entries.sort_unstable();
    assert_eq!(entries.len(), PROFILES, "{entries:?}");
    assert!(entries.iter().all(|(_, sequence)| *sequence == 1), "{entries:?}");
    let sequence = fleet.apply("lost-00", file("/lost-00", "from here on"));
    assert_eq!(sequence, 2);
    fleet.wait_converged("lost-00", 2);
}
