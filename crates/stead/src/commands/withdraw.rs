//! `stead withdraw`: takes a proposal back.

use serde_json::json;
use stead_model::Object;

use super::Context;
use crate::cli::WithdrawArgs;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::{Outcome, proposal};

pub(super) async fn run(context: &Context, args: WithdrawArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let found = proposal::must_find(&client, &args.proposal).await?;
    let name = found.metadata.name;
    let _withdrawn: Object = client.post(&format!("/stead/v1/proposals/{name}/withdraw"), &json!({})).await?;
    context.print(&format!("proposal.stead.dev/{name} withdrawn\n"))?;
    Ok(ExitCode::Success)
}
