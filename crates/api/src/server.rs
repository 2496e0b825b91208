//! The port: takes connections, holds them to their limits, and hands their requests to the API.
//!
//! HTTP/1.1 only: every client speaks it, and one request at a time on a connection makes each limit plain.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::api::Api;
use crate::limits::{HEADER_BYTES_MAX, HEADER_LINES_MAX};
use crate::stall::Stalling;

/// Pause after the system refused to take a connection, such as for want of file descriptors.
const ACCEPT_PAUSE_MILLISECONDS: u64 = 50;

/// A port that the API is served on.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    api: Api,
}

/// Why a port cannot be served on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system does not give the port.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Plain HTTP would show tokens to whoever listens in.
    #[error("{0} is no loopback address: plain HTTP is served on loopback only")]
    PlainHttp(SocketAddr),
}

impl Server {
    /// Listens on an address. Without TLS, only loopback is allowed.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub async fn bind(address: SocketAddr, tls: Option<Arc<ServerConfig>>, api: Api) -> Result<Self, BindError> {
        if tls.is_none() && !address.ip().is_loopback() {
            return Err(BindError::PlainHttp(address));
        }
        let failed = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, tls: tls.map(TlsAcceptor::from), api })
    }

    /// The address with the port that the system chose.
    pub const fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the API's shutdown; then lets the requests at hand finish.
    pub async fn run(self) {
        let slots = Arc::new(Semaphore::new(self.api.limits().connections_max));
        let connections = TaskTracker::new();
        let shutdown = self.api.shutdown().clone();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MILLISECONDS)).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                self.api.count().connections_refused.add();
                continue;
            };
            self.api.count().connections.add();
            connections.spawn(connection(self.api.clone(), self.tls.clone(), stream, peer.ip(), slot));
        }
        drop(self.listener);
        connections.close();
        connections.wait().await;
    }
}

async fn connection(api: Api, tls: Option<TlsAcceptor>, stream: TcpStream, peer: IpAddr, _slot: OwnedSemaphorePermit) {
    // Small events must not wait for an acknowledgement of the ones before; where the system refuses, they only come later.
    let _ = stream.set_nodelay(true);
    let stall = Duration::from_millis(api.limits().write_stall_milliseconds_max);
    // A client counts as slow until its first request is answered, and from then on when it has begun another one.
    let heard = Arc::new(AtomicBool::new(true));
    let stream = Stalling::new(stream, stall, Arc::clone(&heard));
    let Some(tls) = tls else { return serve(api, stream, peer, heard).await };
    let limit = Duration::from_millis(api.limits().handshake_milliseconds_max);
    let shutdown = api.shutdown().clone();
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(limit, tls.accept(stream)) => shaken,
        () = shutdown.cancelled() => return,
    };
    match shaken {
        Ok(Ok(stream)) => serve(api, stream, peer, heard).await,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a TLS handshake failed");
            api.count().handshakes_failed.add();
        }
        Err(_) => api.count().handshakes_too_slow.add(),
    }
}

async fn serve(api: Api, stream: impl AsyncRead + AsyncWrite + Unpin, peer: IpAddr, heard: Arc<AtomicBool>) {
    let service = {
        let (api, heard) = (api.clone(), Arc::clone(&heard));
        service_fn(move |request| {
            let (api, heard) = (api.clone(), Arc::clone(&heard));
            async move {
                let answer = api.answer(peer, request).await;
                heard.store(false, Ordering::Relaxed);
                Ok::<_, std::convert::Infallible>(answer)
            }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(api.limits().header_milliseconds_max))
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADER_LINES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = api.shutdown().cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    let Err(error) = result else { return };
    tracing::debug!(%peer, %error, "a connection ended");
    let stalled = std::error::Error::source(&error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() == io::ErrorKind::TimedOut);
    let counters = api.count();
    if stalled {
        counters.stalled.add();
    } else if error.is_timeout() {
        if heard.load(Ordering::Relaxed) {
            counters.too_slow.add();
        }
    } else if error.is_parse() {
        counters.malformed.add();
    }
}
