//! A coordinator and an agent over iroh, as they are; the request is the coordinator's question for a plan.

use super::{REQUEST_BYTES, Round, gather, timed};
use crate::failure::BenchError;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use stead_wire::{
    Admission, AgentConfig, AgentConnection, AgentEvent, Coordinator, CoordinatorConfig, CoordinatorHandle, Hello, HubEvent,
    IrohConfig, IrohTransport, Join, MemoryOutbox, PeerAddress, PeerKey, Transport, UnixClock, Verdict,
};
use tokio::sync::mpsc;

/// The fleet of both.
const FLEET: [u8; 32] = [7; 32];

/// After this long a request that has no answer ends the measurement.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Lets everybody in.
struct Everyone;

impl Admission for Everyone {
    fn is_member(&self, _: &PeerKey) -> bool {
        true
    }

    async fn hello(&self, _: PeerKey, _: Hello) -> Verdict {
        Verdict::Welcome { incarnation: 1 }
    }

    async fn join(&self, _: PeerKey, _: Hello, _: Join) -> Verdict {
        Verdict::Unknown
    }
}

/// Both ends, connected.
pub(super) struct Session {
    coordinator: CoordinatorHandle,
    machine: PeerKey,
    transports: [Arc<IrohTransport>; 2],
}

impl Session {
    pub(super) async fn start() -> Result<Self, BenchError> {
        let (here, there) = (bind(1).await?, bind(2).await?);
        let clock: UnixClock = Arc::new(|| 0);
        let (coordinator, mut heard) = Coordinator::spawn(here.clone(), CoordinatorConfig::new(FLEET, clock.clone()), Everyone);
        let address = PeerAddress { key: here.local_key(), addresses: here.bound_addresses(), relay: None };
        let config = AgentConfig {
            hello: Hello::new(FLEET, [9; 16]),
            join: None,
            coordinators: vec![address],
            seed: 1,
            unix_clock: clock,
        };
        let (agent, mut told) = AgentConnection::spawn(config, there.clone(), Arc::new(MemoryOutbox::default()));
        tokio::spawn(async move {
            while let Some(event) = told.recv().await {
                if let AgentEvent::Plan { id, body } = event
                    && agent.answer_plan(id, body).await.is_err()
                {
                    return;
                }
            }
        });
        joined(&mut heard).await?;
        tokio::spawn(async move { while heard.recv().await.is_some() {} });
        Ok(Self { coordinator, machine: there.local_key(), transports: [here, there] })
    }

    pub(super) async fn round(&self, clients: usize, requests: usize) -> Result<Round, BenchError> {
        gather(clients, requests, || {
            let (coordinator, machine) = (self.coordinator.clone(), self.machine);
            async move {
                let body = Bytes::from_static(&[7; REQUEST_BYTES]);
                let mut seconds = Vec::with_capacity(requests);
                for _ in 0..requests {
                    let request = coordinator.request_plan(machine, body.clone(), ANSWER_LIMIT);
                    timed(&mut seconds, request).await.map_err(BenchError::step("asking for a plan"))?;
                }
                Ok(seconds)
            }
        })
        .await
    }

    pub(super) async fn close(self) {
        self.coordinator.stop();
        for transport in self.transports {
            transport.close().await;
        }
    }
}

async fn joined(heard: &mut mpsc::Receiver<HubEvent>) -> Result<(), BenchError> {
    while let Some(event) = heard.recv().await {
        if matches!(event, HubEvent::Joined { .. }) {
            return Ok(());
        }
    }
    Err(BenchError::step("connecting a session")("the coordinator ended"))
}

async fn bind(secret: u8) -> Result<Arc<IrohTransport>, BenchError> {
    let bind = vec![std::net::SocketAddr::from(([127, 0, 0, 1], 0))];
    let config = IrohConfig { secret_key: [secret; 32], bind, ..IrohConfig::default() };
    IrohTransport::bind(config).await.map(Arc::new).map_err(BenchError::step("binding an endpoint"))
}
