//! `stead trust rotate`: the next version of the trust root.

use jiff::Timestamp;
use stead_model::GroupKind;
use stead_trust::{PublicKey, Root, SignedRoot, Signer};

use super::Context;
use super::trust_show::render;
use crate::cli::TrustRotateArgs;
use crate::client::Client;
use crate::duration::whole_seconds;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::root_file::FleetDocument;
use crate::{Outcome, kind_word, online_key, resign, root_file, signer};

pub(super) async fn run(context: &Context, args: TrustRotateArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let chain = FleetDocument::fetch(&client).await?.verify_or_trust(context.settings.fleet())?;
    let before = chain.newest();
    let next = before.next_version(whole_seconds(Timestamp::now())).map_err(|error| Failure::of(FailureKind::Internal, error))?;
    let root = edited(next, &args)?;
    let signers = signer::load_all(&context.settings)?;
    let signers: Vec<&dyn Signer> = signers.iter().map(AsRef::as_ref).collect();
    let signed = SignedRoot::sign(&root, &signers).map_err(|error| Failure::of(FailureKind::User, error))?;
    context.say(&render(&root, &signed));
    let missing = root_file::missing(&signed, &root, Some(before))?;
    if let Some(path) = &args.out {
        root_file::write(path, &signed)?;
        let path = path.display();
        context.print(&format!("wrote version {} to {path}\n", root.version))?;
        match missing {
            Some(missing) => {
                context.say(&format!("It has {missing}. Each: stead trust sign {path}; then: stead trust submit {path}"))
            }
            None => context.say(&format!("Next: stead trust submit {path}")),
        }
        return Ok(ExitCode::Success);
    }
    if let Some(missing) = missing {
        return Err(Failure::refused(format!("version {} has {missing}; nothing was sent", root.version))
            .hint("Give the other keys with --key too, or write it to a file with --out for their owners to sign."));
    }
    chain.extend(&signed).map_err(|error| Failure::of(FailureKind::Refused, error))?;
    let left = resign::keys_that_left(before, &root);
    resign::send_root(&client, &signed, root.version).await?;
    context.print(&format!("trustroot.stead.dev/v{} created\n", root.version))?;
    resign::after_rotation(context, &left, args.no_resign).await?;
    Ok(ExitCode::Success)
}

/// The next version with what was asked for. A role that had the owners' keys keeps having them.
fn edited(mut root: Root, args: &TrustRotateArgs) -> Result<Root, Failure> {
    let asked_for_nothing =
        [&args.add_key, &args.remove_key, &args.add_online, &args.remove_online, &args.online_kind, &args.owners_kind]
            .iter()
            .all(|words| words.is_empty());
    if asked_for_nothing && args.threshold.is_none() && args.freshness_days.is_none() {
        return Err(Failure::user("nothing would change in the trust root").hint("`stead trust rotate --help` lists what can."));
    }
    let owners = root.owners.clone();
    let mirrors = |keys: &[PublicKey]| keys.len() == owners.keys.len() && keys.iter().all(|key| owners.keys.contains(key));
    for word in &args.add_key {
        let key = online_key::read(word)?;
        if root.owners.keys.contains(&key) {
            return Err(Failure::user(format!("{} is an owner already", key.fingerprint())));
        }
        root.owners.keys.push(key);
    }
    for word in &args.remove_key {
        let leaving = online_key::among(word, &root.owners.keys, "the owners")?.clone();
        root.owners.keys.retain(|key| *key != leaving);
        for role in root.roles.iter_mut().filter(|role| !mirrors(&role.keys)) {
            role.keys.retain(|key| *key != leaving);
        }
    }
    root.owners.threshold = args.threshold.unwrap_or(root.owners.threshold);
    if let Some(days) = args.freshness_days {
        root.expiry.freshness_days = (days > 0).then_some(days);
    }
    for role in root.roles.iter_mut().filter(|role| mirrors(&role.keys)) {
        role.keys.clone_from(&root.owners.keys);
        if role.threshold == owners.threshold {
            role.threshold = root.owners.threshold;
        }
    }
    for word in &args.add_online {
        root.online.keys.push(online_key::read(word)?);
    }
    for word in &args.remove_online {
        let leaving = online_key::among(word, &root.online.keys, "the coordinators")?.clone();
        root.online.keys.retain(|key| *key != leaving);
    }
    for word in &args.online_kind {
        let kind = kind(word)?;
        if !root.online.kinds.contains(&kind) {
            root.online.kinds.push(kind);
        }
    }
    for word in &args.owners_kind {
        let kind = kind(word)?;
        root.online.kinds.retain(|present| *present != kind);
        if !root.roles.iter().any(|role| role.kinds.contains(&kind)) {
            return Err(Failure::user(format!("no role of the trust root covers {kind}: nobody could write it")));
        }
    }
    Ok(root)
}

/// A kind by one of its names, or one that this version does not serve by its full name, such as `Instance.stead.dev`.
fn kind(word: &str) -> Result<GroupKind, Failure> {
    match kind_word::info(word) {
        Ok(info) => Ok(info.group_kind()),
        Err(_) if word.starts_with(|first: char| first.is_ascii_uppercase()) && word.contains('.') => {
            let (kind, group) = word.split_once('.').unwrap_or((word, ""));
            Ok(GroupKind::new(group, kind))
        }
        Err(failure) => {
            Err(failure.hint("Kinds that this version does not know are written in full, such as Instance.stead.dev."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_trust::SigningKey;

    fn key(seed: u8) -> PublicKey {
        SigningKey::from_seed(&[seed; 32]).public_key().clone()
    }

    fn args() -> TrustRotateArgs {
        TrustRotateArgs {
            add_key: vec![],
            remove_key: vec![],
            add_online: vec![],
            remove_online: vec![],
            online_kind: vec![],
            owners_kind: vec![],
            threshold: None,
            freshness_days: None,
            out: None,
            no_resign: false,
        }
    }

    fn root() -> Root {
        Root::default_for(vec![key(1)], vec![key(9)], "2026-01-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn roles_of_the_owners_follow_the_owners() {
        let asked = TrustRotateArgs {
            add_key: vec![key(2).to_string(), key(3).to_string()],
            remove_key: vec![key(1).fingerprint()],
            threshold: Some(2),
            online_kind: vec!["profile".to_owned()],
            ..args()
        };
        let root = edited(root(), &asked).unwrap();
        assert_eq!(root.owners.keys, [key(2), key(3)]);
        assert_eq!((root.roles[0].keys.clone(), root.roles[0].threshold), (vec![key(2), key(3)], 2));
        assert!(root.online.kinds.contains(&GroupKind::new("stead.dev", "Profile")));
        let back = TrustRotateArgs { owners_kind: vec!["Profile".to_owned(), "Instance.stead.dev".to_owned()], ..args() };
        let root = edited(root, &back).unwrap();
        assert!(!root.online.kinds.contains(&GroupKind::new("stead.dev", "Profile")));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let cases = [
            (args(), "nothing would change"),
            (TrustRotateArgs { add_key: vec![key(1).to_string()], ..args() }, "an owner already"),
            (TrustRotateArgs { remove_key: vec![key(2).to_string()], ..args() }, "not among the keys of the owners"),
            (TrustRotateArgs { online_kind: vec!["nonsense".to_owned()], ..args() }, "no kind"),
        ];
        for (asked, expected) in cases {
            let failure = edited(root(), &asked).unwrap_err().render(crate::terminal::Terminal::plain());
            assert!(failure.contains(expected), "{failure}");
        }
    }
}
