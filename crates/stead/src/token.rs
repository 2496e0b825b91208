//! The login token between two commands: a file that only its owner reads, one a coordinator, fleet and key.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::Digest;

use crate::config::Settings;
use crate::failure::{Failure, FailureKind};
use crate::private_file;

/// How long before its end a token is no longer used, in seconds: the request that it is for takes time too.
const MARGIN_SECONDS: i64 = 30;

/// A token and until when it is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Token {
    pub(crate) token: String,
    pub(crate) expiration_timestamp: Timestamp,
}

/// The file of the token for this coordinator, fleet and key.
pub(crate) fn path(settings: &Settings) -> Result<PathBuf, Failure> {
    let fleet = settings.fleet().map(|fleet| fleet.to_string()).unwrap_or_default();
    let keys = settings.keys().first().map_or("", String::as_str);
    let name = Digest::of_parts(&[settings.server()?.as_bytes(), b"\0", fleet.as_bytes(), b"\0", keys.as_bytes()]);
    Ok(settings.cache_dir().join(format!("login-{}.json", name.short())))
}

/// The token in the cache, if it is good for a while still. A file that cannot be read is as good as none.
pub(crate) fn cached(settings: &Settings) -> Result<Option<Token>, Failure> {
    let path = path(settings)?;
    let Ok(text) = std::fs::read(&path) else { return Ok(None) };
    let token = serde_json::from_slice::<Token>(&text).ok();
    Ok(token.filter(|token| token.expiration_timestamp.as_second() - MARGIN_SECONDS > Timestamp::now().as_second()))
}

/// Keeps a token for the next command.
pub(crate) fn keep(settings: &Settings, token: &Token) -> Result<(), Failure> {
    let text = serde_json::to_vec(token).map_err(|error| Failure::internal(error.to_string()))?;
    private_file::write(&path(settings)?, &text).map_err(|error| Failure::of(FailureKind::User, error))
}

/// Forgets a token that the coordinator refused, so that the next command logs in again.
pub(crate) fn forget(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "the token that was refused cannot be removed");
    }
}
