//! `stead trust fresh`: an owner says that the owners are still there.

use jiff::Timestamp;
use serde_json::Value;
use stead_trust::SignedFreshness;

use super::Context;
use crate::Outcome;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::output::{Format, json, yaml};
use crate::root_file::FleetDocument;
use crate::signer;

pub(super) async fn run(context: &Context) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let chain = FleetDocument::fetch(&client).await?.verify_or_trust(context.settings.fleet())?;
    let root = chain.newest();
    let owner = signer::load_first(&context.settings)?;
    if !root.owners.keys.contains(owner.public_key()) {
        let message = format!("{} is no owner of version {} of the trust root", owner.public_key().fingerprint(), root.version);
        return Err(Failure::refused(message).hint("Sign with an owner's key (--key); `stead trust show` lists the owners."));
    }
    let signed = SignedFreshness::sign(*chain.fleet(), root.version, Timestamp::now(), owner.as_ref());
    let signed = signed.map_err(|error| Failure::of(FailureKind::User, error))?;
    let answer: Value = client.post("/stead/v1/freshness", &signed).await?;
    let text = match context.settings.output() {
        Format::Json => json(&answer)?,
        Format::Yaml => yaml(&answer)?,
        _ => {
            let again = match root.expiry.freshness_days {
                Some(days) => format!("within {days} days, machines have to hear of it again"),
                None => "the trust root asks for nothing of the kind (`stead trust rotate --freshness-days DAYS`)".to_owned(),
            };
            let time = answer.get("time").and_then(Value::as_str).unwrap_or_default();
            format!("the owners are there, as of {time}; {again}\n")
        }
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}
