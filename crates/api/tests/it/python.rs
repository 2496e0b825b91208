//! Python's `kubernetes`.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::fixture::{Fixture, Wish};
use crate::peers;

/// Long enough for any machine; a lease lasts for some seconds.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn its_clients_work() {
    let fixture = Fixture::start(Wish::everything_online()).await;
    let home = tempfile::tempdir().unwrap();
    let mut command = peers::command(peers::python(), &fixture, home.path());
    let said = peers::run(command.arg(peers::script("python_client.py"))).await;
    assert!(said.contains("done"), "{said}");
}

/// Somebody who wants to lead.
struct Candidate {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Candidate {
    fn start(fixture: &Fixture, home: &std::path::Path, name: &str) -> Self {
        let mut command = peers::command(peers::python(), fixture, home);
        let mut process = command.arg(peers::script("python_leader.py")).arg(name).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    async fn says(&mut self, expected: &str) {
        let said = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("the candidate has ended");
                if line == expected {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("it does not say {expected:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_its_candidates_leads_and_the_other_takes_over() {
    const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases/leader";
    let fixture = Fixture::start(Wish::default()).await;
    let home = tempfile::tempdir().unwrap();
    let mut first = Candidate::start(&fixture, home.path(), "first");
    first.says("leading").await;
    let mut second = Candidate::start(&fixture, home.path(), "second");
    second.says("following first").await;
    // The leader renews, and is not taken over from meanwhile.
    let renewed = |lease: &serde_json::Value| lease["spec"]["renewTime"].clone();
    let before = fixture.get(LEASE).await.expect(200);
    let later = async {
        loop {
            let lease = fixture.get(LEASE).await.expect(200);
            if renewed(&lease) != renewed(&before) {
                return lease;
            }
        }
    };
    let later = tokio::time::timeout(PATIENCE, later).await.expect("the lease is not renewed");
    assert_eq!(later["spec"]["holderIdentity"], "first");
    first.process.kill().await.unwrap();
    second.says("leading").await;
    assert_eq!(fixture.get(LEASE).await.expect(200)["spec"]["holderIdentity"], "second");
    second.process.kill().await.unwrap();
}
