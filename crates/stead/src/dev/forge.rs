//! A forged change, as somebody would send it who got hold of an owner's session but not of an owner's key.

use std::path::Path;

use clap::FromArgMatches as _;

use super::household::Household;
use crate::change::{Draft, sign_and_send_with};
use crate::cli::{Cli, Command, tree};
use crate::client::Client;
use crate::config::Settings;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::{manifest, signer};

/// Sends a manifest, logged in with one key and signed with another; says how the coordinator refused it.
pub(super) async fn send(
    household: &Household,
    manifest: &str,
    session_key: &Path,
    signing_key: &Path,
) -> Result<String, Failure> {
    let (server, authority, fleet) =
        (household.ready_value("api")?, household.ready_value("ca")?, household.ready_value("fleet")?);
    let (session, cache) = (session_key.display().to_string(), household.path("home/.cache/stead").display().to_string());
    // Every setting is given, so that nothing of the environment that this program runs in gets in.
    let words = [
        "stead",
        "--server",
        &server,
        "--ca-file",
        &authority,
        "--fleet",
        &fleet,
        "--key",
        &session,
        "--cache-dir",
        &cache,
        "apply",
        "-f",
        manifest,
        "-m",
        "forged",
    ];
    let mistyped = |error: clap::Error| Failure::internal(error.to_string());
    let cli = tree().try_get_matches_from(words).and_then(|matches| Cli::from_arg_matches(&matches)).map_err(mistyped)?;
    let Command::Apply(args) = cli.command else { return Err(Failure::internal("the words above are `apply`")) };
    let settings = Settings::load(&cli.settings)?;
    let client = Client::connect(&settings).await?;
    let stranger = signer::load_if_at_hand(&signing_key.display().to_string(), &settings)?;
    let signers: Vec<_> = stranger.into_iter().collect();
    let puts = manifest::read(&args.files.files, &args.files.namespace)?.into_iter().map(|manifest| manifest.object).collect();
    match sign_and_send_with(&client, &settings, &signers, &Draft { puts, ..Draft::default() }, &args.signing).await {
        Err(failure) if failure.exit_code() == ExitCode::Refused => Ok(failure.render(household.terminal())),
        Err(failure) => Err(failure),
        Ok(_) => Err(Failure::internal("a change that no owner signed was admitted")),
    }
}
