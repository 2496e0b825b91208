//! The peer: bytes to and fro on streams of iroh, with nothing around them.

use super::{REQUEST_BYTES, Round, gather, timed};
use crate::failure::BenchError;
use iroh::endpoint::{Connection, RecvStream, SendStream, presets};
use iroh::{Endpoint, RelayMode};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The protocol's name when the connection is made.
const ALPN: &[u8] = b"stead-bench/echo/1";

/// Two endpoints on loopback and their connection.
pub(super) struct Raw {
    client: Endpoint,
    server: Endpoint,
    connection: Connection,
}

impl Raw {
    pub(super) async fn start() -> Result<Self, BenchError> {
        let (client, server) = (bind().await?, bind().await?);
        let listening = server.clone();
        tokio::spawn(async move {
            while let Some(incoming) = listening.accept().await {
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    while let Ok((send, receive)) = connection.accept_bi().await {
                        tokio::spawn(echo(send, receive));
                    }
                });
            }
        });
        let connection = client.connect(server.addr(), ALPN).await.map_err(BenchError::step("connecting over iroh"))?;
        Ok(Self { client, server, connection })
    }

    /// Each client has a stream of its own.
    pub(super) async fn round(&self, clients: usize, requests: usize) -> Result<Round, BenchError> {
        gather(clients, requests, || {
            let connection = self.connection.clone();
            async move {
                let (mut send, mut receive) = connection.open_bi().await.map_err(BenchError::step("opening a stream"))?;
                let mut seconds = Vec::with_capacity(requests);
                let mut answer = [0; REQUEST_BYTES];
                for _ in 0..requests {
                    let request = async {
                        send.write_all(&[7; REQUEST_BYTES]).await.map_err(BenchError::step("writing a request"))?;
                        receive.read_exact(&mut answer).await.map_err(BenchError::step("reading an answer"))
                    };
                    timed(&mut seconds, request).await?;
                }
                Ok(seconds)
            }
        })
        .await
    }

    /// So many requests at once on one stream, as a session has them, with nothing that tells them apart.
    pub(super) async fn pipelined(&self, clients: usize, requests: usize) -> Result<Round, BenchError> {
        gather(1, clients * requests, || {
            let connection = self.connection.clone();
            async move {
                let (mut send, mut receive) = connection.open_bi().await.map_err(BenchError::step("opening a stream"))?;
                let places = Arc::new(Semaphore::new(clients));
                let (writing, total) = (Arc::clone(&places), clients * requests);
                let writer = tokio::spawn(async move {
                    for _ in 0..total {
                        writing.acquire().await.map_err(BenchError::step("waiting for a place"))?.forget();
                        send.write_all(&[7; REQUEST_BYTES]).await.map_err(BenchError::step("writing a request"))?;
                    }
                    Ok::<_, BenchError>(send)
                });
                let (mut seconds, mut answer) = (Vec::with_capacity(total), [0; REQUEST_BYTES]);
                for _ in 0..total {
                    let reading = receive.read_exact(&mut answer);
                    timed(&mut seconds, reading).await.map_err(BenchError::step("reading an answer"))?;
                    places.add_permits(1);
                }
                writer.await.map_err(BenchError::step("waiting for a client"))??;
                Ok(seconds)
            }
        })
        .await
    }

    pub(super) async fn close(self) {
        self.connection.close(0_u32.into(), b"measured");
        self.client.close().await;
        self.server.close().await;
    }
}

async fn bind() -> Result<Endpoint, BenchError> {
    let builder =
        Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled).alpns(vec![ALPN.to_vec()]).clear_ip_transports();
    let builder = builder.bind_addr("127.0.0.1:0").map_err(BenchError::step("binding an endpoint"))?;
    builder.bind().await.map_err(BenchError::step("binding an endpoint"))
}

/// Sends back what comes, until the stream ends.
async fn echo(mut send: SendStream, mut receive: RecvStream) {
    let mut bytes = [0; REQUEST_BYTES];
    while receive.read_exact(&mut bytes).await.is_ok() {
        if send.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
