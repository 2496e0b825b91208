//! `stead trust init`: the first version of the trust root, whose digest is the fleet's id.

use jiff::Timestamp;
use stead_trust::{PublicKey, Root, SignedRoot, Signer};

use super::Context;
use crate::cli::TrustInitArgs;
use crate::config::write_values;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::{Outcome, online_key, root_file, signer};

/// The file that a coordinator starts with.
const ROOT: &str = "root.json";

pub(super) fn run(context: &Context, args: TrustInitArgs) -> Outcome {
    let path = args.out.join(ROOT);
    if path.exists() {
        return Err(Failure::user(format!("there is a trust root in {} already", path.display()))
            .hint("A fleet has one first version. `stead trust rotate` makes the next; another fleet needs another folder."));
    }
    let mut signers = Vec::new();
    let mut owners: Vec<PublicKey> = Vec::new();
    for word in context.settings.keys() {
        let key = match signer::load_if_at_hand(word, &context.settings)? {
            Some(signer) => {
                let key = signer.public_key().clone();
                signers.push(signer);
                key
            }
            None => online_key::read(word)?,
        };
        if owners.contains(&key) {
            return Err(Failure::user(format!("the key {} is given twice", key.fingerprint())));
        }
        owners.push(key);
    }
    if args.threshold as usize > owners.len() {
        let message = format!("{} owners must sign, and only {} are given", args.threshold, owners.len());
        return Err(Failure::user(message).hint("Give each owner's key with --key, or a lower --threshold."));
    }
    let online = args.online.iter().map(|word| online_key::read(word)).collect::<Result<Vec<_>, _>>()?;
    if let Some(both) = online.iter().find(|key| owners.contains(key)) {
        let message = format!("{} would be an owner and a coordinator at once", both.fingerprint());
        return Err(Failure::user(message).hint("A coordinator's key lies on its disk; owners' keys must not."));
    }
    let mut root = Root::default_for(owners, online, Timestamp::now());
    root.owners.threshold = args.threshold;
    root.expiry.freshness_days = args.freshness_days;
    for role in &mut root.roles {
        role.threshold = args.threshold;
    }
    let signers: Vec<&dyn Signer> = signers.iter().map(AsRef::as_ref).collect();
    let signed = SignedRoot::sign(&root, &signers).map_err(|error| Failure::of(FailureKind::User, error))?;
    root_file::write(&path, &signed)?;
    let fleet = signed.digest();
    write_values(context.settings.file(), &[("fleet", vec![fleet.to_string()])])
        .map_err(|error| Failure::of(FailureKind::Config, error))?;
    context.print(&format!("fleet {fleet}\n"))?;
    context.say(&format!("Wrote {} and, in {}, the fleet's id.", path.display(), context.settings.file().display()));
    match root_file::missing(&signed, &root, None)? {
        None => context.say(&format!("Next: stead coordinator --trust-root {}", path.display())),
        Some(missing) => {
            context.say(&format!("It has {missing}: stead trust sign {} --key KEY", path.display()));
        }
    }
    Ok(ExitCode::Success)
}
