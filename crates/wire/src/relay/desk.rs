//! What the port of a relay that runs alone answers beside the relaying: how far it is, and what coordinators bring it.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use stead_trust::SignedRoll;
use tokio::sync::Semaphore;

use super::roll::{MEMBERS_BYTES_MAX, ROOTS_BYTES_MAX, RelayStanding, RollKeeper, TakeError};

/// Where a relay says how far it is.
pub const RELAY_PATH: &str = "/stead/v1/relay";
/// Where it takes versions of the trust root.
pub const RELAY_ROOTS_PATH: &str = "/stead/v1/relay/roots";
/// Where it takes a roll's members. The roll itself is in the head, so that nothing is read for who may not say it.
pub const RELAY_ROLL_PATH: &str = "/stead/v1/relay/roll";
/// The header with the signed roll: base64 of its JSON.
pub const RELAY_ROLL_HEADER: &str = "stead-roll";

/// Bodies that are read at once, each at most some megabytes: coordinators bring little, and strangers' roots are verified.
const BODIES_AT_ONCE_MAX: usize = 4;

/// Tells what the door counts.
pub(super) type Counts = Box<dyn Fn() -> (usize, u64) + Send + Sync>;

/// Answers for a relay that runs alone.
pub(super) struct Desk {
    pub(super) keeper: Arc<RollKeeper>,
    pub(super) counts: Counts,
    /// Cuts off who is admitted no more.
    pub(super) review: Box<dyn Fn() + Send + Sync>,
    bodies: Semaphore,
}

/// An answer: its code, and JSON.
type Answered = (StatusCode, Vec<u8>);

impl Desk {
    pub(super) fn new(keeper: Arc<RollKeeper>, counts: Counts, review: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { keeper, counts, review, bodies: Semaphore::new(BODIES_AT_ONCE_MAX) }
    }

    /// Whether a path is answered here.
    pub(super) fn knows(path: &str) -> bool {
        path == RELAY_PATH || path == RELAY_ROOTS_PATH || path == RELAY_ROLL_PATH
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (code, body) = match self.act(request).await {
            Ok(()) => (StatusCode::OK, serde_json::to_vec(&self.standing()).unwrap_or_default()),
            Err(answered) => answered,
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = code;
        response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        response
    }

    fn standing(&self) -> RelayStanding {
        let (established, refused) = (self.counts)();
        RelayStanding { established, refused, ..self.keeper.standing() }
    }

    async fn act(&self, request: Request<Incoming>) -> Result<(), Answered> {
        let (head, body) = request.into_parts();
        match (&head.method, head.uri.path()) {
            (&Method::GET, RELAY_PATH) => Ok(()),
            (&Method::PUT, RELAY_ROOTS_PATH) => {
                let body = self.read(body, ROOTS_BYTES_MAX).await?;
                self.keeper.take_roots(&body).await.map_err(refused)?;
                (self.review)();
                Ok(())
            }
            (&Method::PUT, RELAY_ROLL_PATH) => {
                let signed = signed_roll(&head.headers).map_err(refused)?;
                self.keeper.look(&signed).map_err(refused)?;
                let members = self.read(body, MEMBERS_BYTES_MAX).await?;
                self.keeper.take_roll(signed, members.to_vec()).await.map_err(refused)?;
                (self.review)();
                Ok(())
            }
            _ => Err(told(StatusCode::METHOD_NOT_ALLOWED, "this relay is asked with GET, and told with PUT")),
        }
    }

    async fn read(&self, body: Incoming, limit: usize) -> Result<Bytes, Answered> {
        let busy = || told(StatusCode::SERVICE_UNAVAILABLE, "this relay is being told something already; try again");
        let _place = self.bodies.try_acquire().map_err(|_| busy())?;
        let read = Limited::new(body, limit).collect().await;
        read.map(http_body_util::Collected::to_bytes)
            .map_err(|error| told(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body, of at most {limit} bytes: {error}")))
    }
}

fn signed_roll(headers: &HeaderMap) -> Result<SignedRoll, TakeError> {
    let text =
        headers.get(RELAY_ROLL_HEADER).ok_or_else(|| TakeError::Format(format!("there is no header {RELAY_ROLL_HEADER}")))?;
    let bytes = BASE64.decode(text.as_bytes()).map_err(|error| TakeError::Format(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| TakeError::Format(error.to_string()))
}

/// The header's value for a roll.
pub fn relay_roll_header(roll: &SignedRoll) -> String {
    BASE64.encode(serde_json::to_vec(roll).unwrap_or_default())
}

fn refused(error: TakeError) -> Answered {
    let code = match &error {
        TakeError::Format(_) => StatusCode::BAD_REQUEST,
        TakeError::Old { .. } | TakeError::NoRoot => StatusCode::CONFLICT,
        TakeError::Keep(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::FORBIDDEN,
    };
    tracing::warn!(%error, "something that was brought to this relay was refused");
    told(code, &error.to_string())
}

fn told(code: StatusCode, message: &str) -> Answered {
    (code, serde_json::to_vec(&serde_json::json!({"message": message})).unwrap_or_default())
}
