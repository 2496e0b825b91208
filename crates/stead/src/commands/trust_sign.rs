//! `stead trust sign`: one more owner's signature on a version of the trust root.

use super::Context;
use super::trust_show::render;
use crate::cli::TrustSignArgs;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::{Outcome, root_file, signer};

pub(super) fn run(context: &Context, args: TrustSignArgs) -> Outcome {
    let (mut signed, root) = root_file::read_parsed(&args.file)?;
    let fleet = root.fleet.unwrap_or_else(|| signed.digest());
    if let Some(expected) = context.settings.fleet().filter(|expected| *expected != fleet) {
        return Err(Failure::refused(format!("{} is of the fleet {fleet}, not of {expected}", args.file.display())));
    }
    // Signatures that do not fit are found before another one is added to them.
    let present = root_file::signers(&signed, &root)?;
    context.say(&render(&root, &signed));
    let mut added = 0;
    for signer in signer::load_all(&context.settings)? {
        let key = signer.public_key();
        if present.contains(key) {
            context.say(&format!("{} has signed it already.", key.fingerprint()));
            continue;
        }
        signed.add_signature(signer.as_ref()).map_err(|error| Failure::of(FailureKind::User, error))?;
        if !root.owners.keys.contains(key) {
            context
                .say(&format!("{} is no owner of this version; it counts only as one of the version before.", key.fingerprint()));
        }
        added += 1;
    }
    root_file::write(&args.file, &signed)?;
    context.print(&format!("{}: {added} signature(s) added, {} in all\n", args.file.display(), signed.signatures.len()))?;
    match root_file::missing(&signed, &root, None)? {
        Some(missing) => context.say(&format!("It has {missing}.")),
        None if root.version > 1 => context.say(&format!("Next: stead trust submit {}", args.file.display())),
        None => {}
    }
    Ok(ExitCode::Success)
}
