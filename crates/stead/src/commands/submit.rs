//! `stead submit`: a change that was signed in a file.

use super::{Context, propose};
use crate::cli::SubmitArgs;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::output::{Format, json, yaml};
use crate::{Outcome, change, proposal};

pub(super) async fn run(context: &Context, args: SubmitArgs) -> Outcome {
    let pending = proposal::read_file(&args.file, &change::fleet(&context.settings)?)?;
    let client = Client::connect(&context.settings).await?;
    if args.propose {
        let proposed = propose::send(&client, &pending.submission, args.dry_run).await?;
        propose::report(context, &proposed, args.dry_run)?;
    } else {
        let sent = change::send(&client, &pending.submission, &[], args.dry_run).await?;
        let text = match context.settings.output() {
            Format::Json => json(&sent.answer)?,
            Format::Yaml => yaml(&sent.answer)?,
            Format::Name => format!("change.stead.dev/{}\n", sent.id),
            _ if args.dry_run => format!("{} would be admitted (dry run)\n", pending.statement.id.to_ascii_lowercase()),
            _ => format!("admitted (change {})\n", sent.id),
        };
        context.print(&text)?;
    }
    Ok(if args.dry_run { ExitCode::Changed } else { ExitCode::Success })
}
