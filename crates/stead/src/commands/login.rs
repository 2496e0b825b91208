//! `stead login`: logs in, and writes down what the next commands and kubectl need.

use super::Context;
use crate::Outcome;
use crate::cli::LoginArgs;
use crate::client::Client;
use crate::config::write_values;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::root_file::FleetDocument;
use crate::{kubeconfig, login, token};

pub(super) async fn run(context: &Context, args: LoginArgs) -> Outcome {
    let settings = &context.settings;
    let client = Client::anonymous(settings)?;
    let greeting = login::greet(&client, settings).await?;
    // Before anything is signed: the root must start at that fleet's id, and name this coordinator.
    let document = FleetDocument::fetch(&client).await?;
    let chain = document.verify(&greeting.fleet)?;
    if !chain.newest().is_online_key(&greeting.coordinator) {
        let message =
            format!("the coordinator's key {} is not in the trust root of the fleet", greeting.coordinator.fingerprint());
        return Err(Failure::refused(message).hint("Whoever answers is no coordinator of this fleet. Is --server right?"));
    }
    let first_time = settings.fleet().is_none();
    let coordinator = greeting.coordinator.fingerprint();
    let token = login::answer(&client, settings, greeting).await?;

    let mut values = vec![("server", settings.server()?.to_owned()), ("fleet", chain.fleet().to_string())];
    if let Some(ca_file) = settings.ca_file() {
        let absolute = std::path::absolute(&ca_file).unwrap_or(ca_file);
        values.push(("ca_file", absolute.to_string_lossy().into_owned()));
    }
    if let ([key], false) = (settings.keys(), settings.key_is_default()) {
        values.push(("key", absolute_key(key)));
    }
    write_values(settings.file(), &values).map_err(|error| Failure::of(FailureKind::Config, error))?;

    // The token's file is named after the settings as the next command sees them.
    token::keep(&settings.with_fleet(*chain.fleet()), &token)?;
    context.print(&format!(
        "Logged in to {} (coordinator {coordinator}) until {}.\nFleet {}, trust root version {}.\nWrote {}.\n",
        settings.server()?,
        token.expiration_timestamp,
        chain.fleet(),
        chain.newest().version,
        settings.file().display(),
    ))?;
    if first_time {
        context.say("This was the first login: compare the fleet's id with the one that its owner gave you.");
    }
    if !args.no_kubeconfig {
        let path = kubeconfig::location(args.kubeconfig)?;
        kubeconfig::write_context(&path, settings)?;
        context.print(&format!(
            "Wrote the context {} to {} and made it the current one.\n",
            kubeconfig::CONTEXT,
            path.display()
        ))?;
    }
    Ok(ExitCode::Success)
}

/// A key as it is found from any folder: paths made absolute, the rest as it is.
fn absolute_key(key: &str) -> String {
    let path = std::path::Path::new(key);
    if path.exists() {
        std::path::absolute(path).map_or_else(|_| key.to_owned(), |path| path.to_string_lossy().into_owned())
    } else {
        key.to_owned()
    }
}
