//! `stead deny`: refuses machines that ask to join, with one signed change.

use super::Context;
use super::approve::{checked, named};
use crate::Outcome;
use crate::change::{self, Draft};
use crate::cli::DenyArgs;
use crate::client::Client;

pub(super) async fn run(context: &Context, mut args: DenyArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let mut draft = Draft::default();
    for mut enrollment in named(&client, &args.enrollments).await? {
        enrollment.status = None;
        enrollment.spec.approved = Some(false);
        draft.puts.push(checked(&enrollment)?);
    }
    if args.signing.message.is_empty() {
        args.signing.message = format!("deny {}", args.enrollments.join(", "));
    }
    let sent = change::sign_and_send(&client, &context.settings, &draft, &args.signing).await?;
    let note = if args.signing.dry_run { "dry run".to_owned() } else { format!("change {}", sent.id) };
    let lines = args.enrollments.iter().map(|name| format!("enrollment.stead.dev/{name} denied ({note})\n"));
    context.print(&lines.collect::<String>())?;
    Ok(args.signing.outcome())
}
