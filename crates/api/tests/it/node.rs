//! Node's `@kubernetes/client-node`.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use stead_store::Options;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::fixture::{Fixture, Wish};
use crate::peers;

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A line to the server that can be cut.
struct Line {
    address: SocketAddr,
    up: watch::Sender<bool>,
}

impl Line {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (up, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.clone();
                tokio::spawn(async move {
                    if !*state.borrow() {
                        return;
                    }
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|up| !up) => {}
                    }
                });
            }
        });
        Self { address, up }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_informer_lists_again_when_it_was_away_for_too_long() {
    let store = Options { ring_events_max: 8, ..Options::default() };
    let fixture = Arc::new(Fixture::start(Wish { store, ..Wish::default() }).await);
    fixture.write_lease("kept", 1).await;
    fixture.write_lease("gone", 1).await;
    let line = Line::to(fixture.address).await;
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = home.path().join("kubeconfig");
    let text = std::fs::read_to_string(fixture.kubeconfig()).unwrap();
    std::fs::write(&kubeconfig, text.replace(&fixture.address.to_string(), &line.address.to_string())).unwrap();
    let mut command = peers::command("node", &fixture, home.path());
    command.arg(peers::script("node_informer.mjs")).env("STEAD_NODE_MODULES", peers::node_modules());
    let mut informer = command.env("KUBECONFIG", kubeconfig).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(informer.stdout.take().unwrap()).lines();
    let mut told = async |expected: &[&str]| {
        let mut left: Vec<&str> = expected.to_vec();
        while !left.is_empty() {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("it does not say {left:?}")).unwrap().expect("it has ended");
            left.retain(|wanted| *wanted != line);
        }
    };
    told(&["add kept 1", "add gone 1", "started"]).await;
    fixture.write_lease("kept", 2).await;
    told(&["update kept 2"]).await;

    // Cut off, while more happens than is kept for watchers.
    line.up.send_replace(false);
    told(&["error"]).await;
    for number in 0..40 {
        fixture.write_lease(&format!("new-{}", number % 2), number).await;
    }
    fixture.send("DELETE", "/apis/coordination.k8s.io/v1/namespaces/default/leases/gone", &[], "").await.expect(200);
    let forgetful = stead_store::Retention { revisions_max: 8, bytes_max: u64::MAX };
    fixture.admission.store().compact(forgetful).await.unwrap();
    let behind = fixture.api.counters().watches_behind;
    line.up.send_replace(true);
    told(&["delete gone 1", "add new-0 38", "add new-1 39"]).await;
    assert_eq!(fixture.api.counters().watches_behind, behind + 1);
    // It watches again.
    fixture.write_lease("kept", 3).await;
    told(&["update kept 3"]).await;
    informer.kill().await.unwrap();
}
