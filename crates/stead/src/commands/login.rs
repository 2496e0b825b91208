//! `stead login`: logs in, and writes down what the next commands and kubectl need.

use std::path::PathBuf;

use super::Context;
use super::status::{self, Coordinator};
use crate::Outcome;
use crate::cli::LoginArgs;
use crate::client::Client;
use crate::config::{Settings, write_values};
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::root_file::FleetDocument;
use crate::{kubeconfig, login, private_file, token};

/// Coordinators that are written down, the first among them.
const SERVERS_MAX: usize = 8;

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

    // Only those that the root names: a coordinator that lies can send nobody elsewhere.
    let mut others = status::coordinators(&client.with_token(&token)).await?;
    others.retain(|other| chain.newest().is_online_key(&other.key) && other.key.fingerprint() != coordinator);
    let servers = servers(settings.server()?, &others);
    let mut values = vec![("server", servers.clone()), ("fleet", vec![chain.fleet().to_string()])];
    if let Some(ca_file) = ca_file(settings, &others)? {
        values.push(("ca_file", vec![ca_file.to_string_lossy().into_owned()]));
    }
    if let ([key], false) = (settings.keys(), settings.key_is_default()) {
        values.push(("key", vec![absolute_key(key)]));
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
    if let [_, others @ ..] = servers.as_slice()
        && !others.is_empty()
    {
        context.print(&format!("Other coordinators, asked where this one does not answer: {}\n", others.join(" ")))?;
    }
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

/// The server that was logged in to, then one address of each other coordinator.
fn servers(server: &str, others: &[Coordinator]) -> Vec<String> {
    let mut servers = vec![server.to_owned()];
    let more = others.iter().filter_map(|other| other.api.first()).filter(|api| *api != server);
    servers.extend(more.cloned());
    servers.truncate(SERVERS_MAX);
    servers
}

/// The file of the certificates that coordinators must prove themselves with: the one that was given, or, where other coordinators
/// have others, one beside the settings that holds all of them. Without a given one the system's list decides.
fn ca_file(settings: &Settings, others: &[Coordinator]) -> Result<Option<PathBuf>, Failure> {
    let Some(given) = settings.ca_file() else { return Ok(None) };
    let given = std::path::absolute(&given).unwrap_or(given);
    let mut pem = std::fs::read_to_string(&given)
        .map_err(|error| Failure::new(FailureKind::Config, format!("{}: {error}", given.display())))?;
    let missing: Vec<&str> = others
        .iter()
        .map(|other| other.authority.trim())
        .filter(|authority| !authority.is_empty() && !pem.contains(authority))
        .collect();
    if missing.is_empty() {
        return Ok(Some(given));
    }
    for authority in missing {
        if !pem.ends_with('\n') {
            pem.push('\n');
        }
        pem.push_str(authority);
        pem.push('\n');
    }
    let path = settings.file().with_file_name("coordinators.crt");
    let path = std::path::absolute(&path).unwrap_or(path);
    private_file::write(&path, pem.as_bytes()).map_err(|error| Failure::of(FailureKind::Config, error))?;
    Ok(Some(path))
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
