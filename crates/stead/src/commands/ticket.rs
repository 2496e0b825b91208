//! `stead ticket create`: a ticket of the coordinator's, with an owner's signed delegation in it where that was asked for.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use stead_trust::{Delegation, SignedDelegation, Signer};
use stead_wire::Ticket;

use super::Context;
use super::label::to_map;
use crate::Outcome;
use crate::change::fleet;
use crate::cli::TicketCreateArgs;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::signer;

/// What the coordinator adds to a ticket: its keys and addresses, the root's version, a pass.
#[derive(Deserialize)]
struct TicketAnswer {
    ticket: String,
}

pub(super) async fn run(context: &Context, args: TicketCreateArgs) -> Outcome {
    let fleet = fleet(&context.settings)?;
    let client = Client::connect(&context.settings).await?;
    let answer: TicketAnswer = client.post("/stead/v1/ticket", &json!({"delegate": args.delegate})).await?;
    let mut ticket: Ticket = answer.ticket.parse().map_err(|error| Failure::of(FailureKind::Internal, error))?;
    if ticket.fleet != *fleet.as_bytes() {
        return Err(Failure::refused("the coordinator made a ticket for another fleet").hint("Is --server right?"));
    }
    if args.delegate {
        let now = Timestamp::now();
        let delegation = Delegation {
            fleet,
            time: now,
            labels: to_map(&args.labels),
            name_pattern: args.name_pattern.clone(),
            machines: args.machines,
            until: args.until.after(now),
        };
        let signers = signer::load_all(&context.settings)?;
        let signers: Vec<&dyn Signer> = signers.iter().map(AsRef::as_ref).collect();
        let signed = SignedDelegation::sign(&delegation, &signers).map_err(|error| Failure::of(FailureKind::User, error))?;
        // Canonical text in a JSON envelope, as every other signed document travels.
        let bytes = serde_json::to_vec(&signed).map_err(|error| Failure::internal(error.to_string()))?;
        ticket.delegation = Some(bytes.into());
        context.say(&format!(
            "This ticket lets {} machine(s) named {} in until {}. Whoever holds it can use it.",
            args.machines, args.name_pattern, delegation.until
        ));
    }
    context.print(&format!("{ticket}\n"))?;
    Ok(ExitCode::Success)
}
