//! `stead trust submit`: sends a version of the trust root that enough owners have signed.

use super::Context;
use crate::cli::TrustSubmitArgs;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::root_file::FleetDocument;
use crate::{Outcome, resign, root_file};

pub(super) async fn run(context: &Context, args: TrustSubmitArgs) -> Outcome {
    let (signed, root) = root_file::read_parsed(&args.file)?;
    if root.version == 1 {
        return Err(Failure::user("the first version is not sent: a coordinator starts with it")
            .hint(format!("On the coordinator: stead coordinator --trust-root {}", args.file.display())));
    }
    let client = Client::connect(&context.settings).await?;
    let chain = FleetDocument::fetch(&client).await?.verify_or_trust(context.settings.fleet())?;
    // Checked here first, so that the sentence is about the file that the person holds.
    chain.extend(&signed).map_err(|error| Failure::of(FailureKind::Refused, error))?;
    let left = resign::keys_that_left(chain.newest(), &root);
    resign::send_root(&client, &signed, root.version).await?;
    context.print(&format!("trustroot.stead.dev/v{} created\n", root.version))?;
    resign::after_rotation(context, &left, args.no_resign).await?;
    Ok(ExitCode::Success)
}
