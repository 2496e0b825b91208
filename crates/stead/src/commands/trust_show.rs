//! `stead trust show`: the trust root in words, and whether its chain holds.

use stead_trust::{PublicKey, Role, Root, RootChain, SignedRoot};

use super::Context;
use crate::aligned::{aligned, indented};
use crate::cli::TrustShowArgs;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Format, json, yaml};
use crate::root_file::FleetDocument;
use crate::{Outcome, root_file};

pub(super) async fn run(context: &Context, args: TrustShowArgs) -> Outcome {
    let fleet = context.settings.fleet();
    let mut freshness = String::new();
    let (versions, verdict) = match &args.file {
        Some(path) => {
            let versions = root_file::read_all(path)?;
            let verdict = verdict_of_file(&versions)?;
            (versions, verdict)
        }
        None => {
            let document = FleetDocument::fetch(&Client::anonymous(&context.settings)?).await?;
            let chain = document.verify_or_trust(fleet)?;
            freshness = document.freshness_line(&chain);
            let pinned = if fleet.is_some() {
                ""
            } else {
                " (no fleet is configured: compare its id with the one that an owner gave you)"
            };
            (
                chain.signed().to_vec(),
                format!("The chain holds, from the fleet's id to version {}{pinned}.", chain.newest().version),
            )
        }
    };
    let Some(newest) = versions.last() else { return Err(Failure::user("there is no version of the trust root in it")) };
    let root = root_file::parse(newest)?;
    let text = match context.settings.output() {
        format @ (Format::Json | Format::Yaml) => {
            let value = serde_json::to_value(&root).map_err(|error| Failure::internal(error.to_string()))?;
            if format == Format::Json { json(&value)? } else { yaml(&value)? }
        }
        _ => format!("{}{freshness}{}{verdict}\n", render(&root, newest), history(&versions)?),
    };
    context.print(&text)?;
    Ok(ExitCode::Success)
}

/// What can be said of versions in a file: of a chain from version 1, everything; of one version, its own signatures.
fn verdict_of_file(versions: &[SignedRoot]) -> Result<String, Failure> {
    let Some(first) = versions.first() else { return Err(Failure::user("there is no version of the trust root in it")) };
    let root = root_file::parse(first)?;
    if root.version == 1 && versions.len() > 1 {
        let chain = RootChain::verify(&first.digest(), versions).map_err(|error| Failure::refused(error.to_string()))?;
        return Ok(format!("The chain holds, from version 1 to version {}.", chain.newest().version));
    }
    Ok(match root_file::missing(first, &root, None)? {
        None if root.version == 1 => "It carries the signatures that it needs.".to_owned(),
        None => {
            "Enough of its own owners have signed it; whether enough of the version before did, the coordinator says.".to_owned()
        }
        Some(missing) => format!("It has {missing}."),
    })
}

/// One version in words: what a person reads before signing it.
pub(super) fn render(root: &Root, signed: &SignedRoot) -> String {
    let fleet = root.fleet.unwrap_or_else(|| signed.digest());
    let head = vec![
        vec!["Fleet:".to_owned(), fleet.to_string()],
        vec!["Version:".to_owned(), format!("{} of {}", root.version, root.time)],
        vec!["Owners:".to_owned(), format!("{} of {} must sign the next version", root.owners.threshold, root.owners.keys.len())],
    ];
    let roles = root.roles.iter().map(|role| {
        let keys: Vec<String> = role.keys.iter().map(PublicKey::fingerprint).collect();
        let kinds: Vec<String> = role.kinds.iter().map(ToString::to_string).collect();
        format!(
            "Role {}: {} of {} must sign{}\n  keys:       {}\n  kinds:      {}\n  namespaces: {}\n",
            role.name,
            role.threshold,
            role.keys.len(),
            limits(role),
            keys.join("\n              "),
            kinds.join(", "),
            role.namespaces.iter().map(|name| if name.is_empty() { "(cluster)" } else { name }).collect::<Vec<_>>().join(", "),
        )
    });
    let online: Vec<String> = root.online.kinds.iter().map(ToString::to_string).collect();
    let touch = if root.require_user_presence { "required" } else { "not required" };
    format!(
        "{}{}{}Coordinators:\n{}  write by themselves: {}\nA touch of the authenticator is {touch}. A change must be admitted within {} h.\n{}",
        aligned(&[], head),
        indented(2, &keys(&root.owners.keys)),
        roles.collect::<String>(),
        indented(2, &keys(&root.online.keys)),
        online.join(", "),
        root.expiry.admit_within_seconds / 3_600,
        root.expiry
            .freshness_days
            .map_or_else(String::new, |days| format!("Owners say every {days} days that they are there.\n")),
    )
}

fn limits(role: &Role) -> String {
    let prefix = role.name_prefix.as_ref().map(|prefix| format!(", names that begin with {prefix}"));
    let machines = role.machine_selector.as_ref().map(|selector| format!(", machines {selector}"));
    let facts = role.fact_labels.then(|| ", labels made of facts count".to_owned());
    prefix.into_iter().chain(machines).chain(facts).collect()
}

fn keys(keys: &[PublicKey]) -> String {
    let algorithm = |key: &PublicKey| key.as_str().split_whitespace().next().unwrap_or_default().to_owned();
    aligned(&[], keys.iter().map(|key| vec![key.fingerprint(), algorithm(key)]).collect())
}

fn history(versions: &[SignedRoot]) -> Result<String, Failure> {
    let mut rows = Vec::new();
    for signed in versions {
        let root = root_file::parse(signed)?;
        let signers: Vec<String> = root_file::signers(signed, &root)?.iter().map(PublicKey::fingerprint).collect();
        rows.push(vec![root.version.to_string(), root.time.to_string(), signed.digest().short(), signers.join(", ")]);
    }
    Ok(aligned(&["version", "time", "digest", "signed by"], rows))
}
