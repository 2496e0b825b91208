//! Logging in: the client writes the document itself, signs it, and gets a token for it.

use jiff::Timestamp;
use serde::Deserialize;
use stead_model::Digest;
use stead_trust::{Login, PublicKey, SignedLogin, Signer};

use crate::client::Client;
use crate::config::Settings;
use crate::failure::{Failure, FailureKind};
use crate::signer;
use crate::token::{self, Token};

/// Where a coordinator says who it is, and where it takes logins.
const PATH: &str = "/stead/v1/login";

/// What a coordinator says of itself before anybody has logged in.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Greeting {
    pub(crate) fleet: Digest,
    pub(crate) coordinator: PublicKey,
    nonce: String,
    time: Timestamp,
}

/// Asks a coordinator who it is. One of another fleet than the configured one is refused before anything is signed.
pub(crate) async fn greet(client: &Client, settings: &Settings) -> Result<Greeting, Failure> {
    let greeting: Greeting = client.get(PATH).await?;
    match settings.fleet() {
        Some(fleet) if fleet != greeting.fleet => {
            let message = format!("the coordinator serves the fleet {}, not {fleet}", greeting.fleet);
            Err(Failure::refused(message)
                .hint("Is --server right? If you mean the other fleet, use another configuration file (--config) for it."))
        }
        _ => Ok(greeting),
    }
}

/// Logs in with the first key of the settings and keeps the token.
pub(crate) async fn log_in(client: &Client, settings: &Settings) -> Result<Token, Failure> {
    let greeting = greet(client, settings).await?;
    answer(client, settings, greeting).await
}

/// Answers a greeting with a signature of the settings' first key, and keeps the token.
pub(crate) async fn answer(client: &Client, settings: &Settings, greeting: Greeting) -> Result<Token, Failure> {
    let key = signer::load_first(settings)?;
    let token = answer_as(client, key.as_ref(), greeting).await?;
    token::keep(settings, &token)?;
    Ok(token)
}

/// Answers a greeting as the holder of a key.
pub(crate) async fn answer_as(client: &Client, key: &dyn Signer, greeting: Greeting) -> Result<Token, Failure> {
    let now = Timestamp::now();
    let login = Login { fleet: greeting.fleet, time: now, coordinator: greeting.coordinator, nonce: greeting.nonce };
    let signed = SignedLogin::sign(&login, key).map_err(|error| Failure::of(FailureKind::User, error))?;
    client.post(PATH, &signed).await.map_err(|error| {
        let apart = now.as_second() - greeting.time.as_second();
        let failure = Failure::from(error).hint(format!("The login was signed by {}.", key.public_key().fingerprint()));
        /// More than the network and a touch explain.
        const APART_SECONDS: u64 = 60;
        if apart.unsigned_abs() < APART_SECONDS {
            failure
        } else {
            failure.hint(format!("This clock and the coordinator's are {apart} s apart."))
        }
    })
}
