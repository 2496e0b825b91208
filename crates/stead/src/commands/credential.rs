//! `stead credential`: the exec plugin of `kubectl` (client-go credential plugins); run by programs, not by people.

use serde_json::json;

use super::Context;
use crate::Outcome;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::login::log_in;
use crate::token::cached;

/// The version that every `kubectl` from 1.20 on takes; it must be the one in the kubeconfig.
pub(crate) const API_VERSION: &str = "client.authentication.k8s.io/v1beta1";

pub(super) async fn run(context: &Context) -> Outcome {
    let token = match cached(&context.settings)? {
        Some(token) => token,
        None => log_in(&Client::anonymous(&context.settings)?, &context.settings).await?,
    };
    let credential = json!({
        "apiVersion": API_VERSION, "kind": "ExecCredential",
        "status": {"token": token.token, "expirationTimestamp": token.expiration_timestamp},
    });
    context.print(&format!("{credential}\n"))?;
    Ok(ExitCode::Success)
}
