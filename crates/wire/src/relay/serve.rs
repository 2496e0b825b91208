//! One connection at the relay's port, from its first byte until iroh's relay service has it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use iroh_relay::server::{
    http_server::{RelayService, RelayServiceWithNotify},
    streams::MaybeTlsStream,
};
use tokio::{
    net::TcpStream,
    sync::Notify,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{RELAY_HEAD_BYTES_MAX, RelayRefusal, desk::Desk, door::Door, door::Number};

/// How a connection's number goes through iroh's relay service to the gate behind it. What a client sends under this name is replaced.
const NUMBER: HeaderName = HeaderName::from_static("stead-connection");

/// The number of a connection, as its request carries it.
pub(super) fn number(headers: &HeaderMap) -> Option<Number> {
    headers.get(NUMBER)?.to_str().ok()?.parse().ok()
}

/// How a connection's HTTP ended.
enum Ended {
    /// The relay service has it.
    Upgraded,
    /// It is over.
    Closed(Option<RelayRefusal>),
}

/// What stands behind the port.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) service: RelayService,
    pub(super) door: Arc<Door>,
    /// What it answers beside the relaying, where it runs alone.
    pub(super) desk: Option<Arc<Desk>>,
}

/// Serves a connection's HTTP until the relay service has it, and cuts it off where it takes too long to prove its key.
pub(super) async fn connection(stream: TcpStream, number: Number, Port { service, door, desk }: Port, stop: CancellationToken) {
    let deadline = Instant::now() + Duration::from_millis(door.limits().establish_milliseconds_max);
    let established = Arc::new(Notify::new());
    let let_in = established.notified();
    tokio::pin!(let_in);
    // From here on it is heard, whenever it comes.
    let_in.as_mut().enable();
    let service = RelayServiceWithNotify::new(service, Arc::clone(&established));
    let ended = tokio::select! {
        ended = timeout_at(deadline, serve(stream, number, service, desk)) => ended,
        () = stop.cancelled() => return door.turned_back(number, None),
    };
    match ended {
        Ok(Ended::Upgraded) => {
            tokio::select! {
                () = let_in => {}
                () = tokio::time::sleep_until(deadline) => door.expire(number),
                () = stop.cancelled() => door.turned_back(number, None),
            }
        }
        Ok(Ended::Closed(refusal)) => door.turned_back(number, refusal),
        Err(_) => door.expire(number),
    }
}

/// iroh's relay service for one connection, with an eye on what it answers.
struct Watched {
    service: RelayServiceWithNotify,
    desk: Option<Arc<Desk>>,
    number: Number,
    upgraded: Arc<AtomicBool>,
    strange: Arc<AtomicBool>,
}

impl Service<Request<Incoming>> for Watched {
    type Response = <RelayServiceWithNotify as Service<Request<Incoming>>>::Response;
    type Error = <RelayServiceWithNotify as Service<Request<Incoming>>>::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(desk) = self.desk.clone().filter(|_| Desk::knows(request.uri().path())) {
            let strange = Arc::clone(&self.strange);
            return Box::pin(async move {
                let answer = desk.answer(request).await;
                strange.fetch_or(answer.status().is_client_error(), Ordering::Relaxed);
                Ok(answer.map(|body| Box::new(body) as _))
            });
        }
        request.headers_mut().insert(NUMBER, HeaderValue::from(self.number));
        let answer = self.service.call(request).into_inner();
        let status = answer.as_ref().map_or(StatusCode::INTERNAL_SERVER_ERROR, http::Response::status);
        self.upgraded.fetch_or(status == StatusCode::SWITCHING_PROTOCOLS, Ordering::Relaxed);
        self.strange.fetch_or(status.is_client_error(), Ordering::Relaxed);
        Box::pin(std::future::ready(answer))
    }
}

async fn serve(stream: TcpStream, number: Number, service: RelayServiceWithNotify, desk: Option<Arc<Desk>>) -> Ended {
    let (upgraded, strange) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let service = Watched { service, desk, number, upgraded: Arc::clone(&upgraded), strange: Arc::clone(&strange) };
    // The whole connection has a deadline until it is let in; its head needs none of its own.
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(RELAY_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(MaybeTlsStream::Plain(stream)), service)
        .with_upgrades()
        .await;
    if upgraded.load(Ordering::Relaxed) {
        return Ended::Upgraded;
    }
    let malformed = served.as_ref().is_err_and(hyper::Error::is_parse);
    let refusal = match (malformed, strange.load(Ordering::Relaxed)) {
        (true, _) => Some(RelayRefusal::Malformed),
        (_, true) => Some(RelayRefusal::NotForRelay),
        _ => None,
    };
    Ended::Closed(refusal)
}
