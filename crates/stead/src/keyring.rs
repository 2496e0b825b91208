//! Whose a key is: by the versions of the trust root, and by the comments of the public keys at hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stead_trust::{PublicKey, Root, RootChain, SignedRoot};

use crate::client::Client;
use crate::config::{Settings, home};
use crate::failure::Failure;
use crate::root_file::{self, FleetDocument};

/// Public keys whose comments are looked at: more than a person keeps.
const COMMENTS_MAX: usize = 256;
/// The longest public key file in bytes.
const PUBLIC_KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

/// What is known of keys.
pub(crate) struct Keyring {
    chain: RootChain,
    /// What each version says, newest first.
    versions: Vec<Root>,
    /// Comments by fingerprint.
    comments: BTreeMap<String, String>,
}

impl Keyring {
    /// Of the fleet in the settings, or of whichever this is where there is none. The chain is verified.
    pub(crate) async fn fetch(client: &Client, settings: &Settings) -> Result<Self, Failure> {
        let chain = FleetDocument::fetch(client).await?.verify_or_trust(settings.fleet())?;
        Ok(Self::of(chain, comments(settings)))
    }

    pub(crate) fn of(chain: RootChain, comments: BTreeMap<String, String>) -> Self {
        let parsed = |signed: &SignedRoot| root_file::parse(signed).ok();
        let versions = chain.signed().iter().rev().filter_map(parsed).collect();
        Self { chain, versions, comments }
    }

    pub(crate) fn chain(&self) -> &RootChain {
        &self.chain
    }

    /// Whether any version of the root names it, as a person's or a coordinator's.
    pub(crate) fn is_known(&self, key: &PublicKey) -> bool {
        self.versions.iter().any(|root| root.is_persons_key(key) || root.is_online_key(key))
    }

    /// Whether any version of the root names it as a coordinator's.
    pub(crate) fn is_coordinators(&self, key: &PublicKey) -> bool {
        self.versions.iter().any(|root| root.is_online_key(key))
    }

    /// Who holds it, in words.
    pub(crate) fn who(&self, key: &PublicKey) -> String {
        let Some(newest) = self.versions.first() else { return "not in the trust root".to_owned() };
        if let Some(standing) = standing(newest, key) {
            return standing;
        }
        let earlier = self.versions.iter().find_map(|root| Some((root.version, standing(root, key)?)));
        earlier.map_or_else(
            || "not in the trust root".to_owned(),
            |(version, standing)| format!("{standing} until version {version} of the trust root, gone since"),
        )
    }

    /// The comment of a key of this fingerprint.
    pub(crate) fn comment(&self, fingerprint: &str) -> Option<&str> {
        self.comments.get(fingerprint).map(String::as_str)
    }

    /// A fingerprint with the comment that is known for it.
    pub(crate) fn named(&self, fingerprint: &str) -> String {
        self.comment(fingerprint).map_or_else(|| fingerprint.to_owned(), |comment| format!("{fingerprint} ({comment})"))
    }
}

fn standing(root: &Root, key: &PublicKey) -> Option<String> {
    if root.is_online_key(key) {
        return Some("a coordinator".to_owned());
    }
    let roles: Vec<&str> = root.roles.iter().filter(|role| role.keys.contains(key)).map(|role| role.name.as_str()).collect();
    match (root.owners.keys.contains(key), roles.as_slice()) {
        (false, []) => None,
        (true, []) => Some("an owner of the root".to_owned()),
        (true, roles) => Some(format!("an owner of the root, of the role {}", roles.join(", "))),
        (false, roles) => Some(format!("of the role {}", roles.join(", "))),
    }
}

/// The comments of the public keys in `~/.ssh` and beside the keys of the settings. A file that is no public key says nothing.
fn comments(settings: &Settings) -> BTreeMap<String, String> {
    let beside =
        settings.keys().iter().map(|key| PathBuf::from(if key.ends_with(".pub") { key.clone() } else { format!("{key}.pub") }));
    let folder = home().and_then(|home| std::fs::read_dir(home.join(".ssh")).ok());
    let in_folder = folder.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let files = in_folder.filter(|path| path.extension().is_some_and(|end| end == "pub")).take(COMMENTS_MAX).chain(beside);
    files.filter_map(|path| read_comment(&path)).collect()
}

fn read_comment(path: &Path) -> Option<(String, String)> {
    if std::fs::metadata(path).ok()?.len() > PUBLIC_KEY_FILE_BYTES_MAX {
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    let mut words = text.trim().splitn(3, ' ');
    let key: PublicKey = format!("{} {}", words.next()?, words.next()?).parse().ok()?;
    let comment: String = words.next()?.trim().chars().filter(|character| !character.is_control()).collect();
    (!comment.is_empty()).then(|| (key.fingerprint(), comment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_trust::{Signer as _, SigningKey};

    #[test]
    fn keys_are_told_by_their_place_in_the_root() {
        let [owner, online, next, stranger] = [1, 2, 3, 4].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let time = "2026-01-01T00:00:00Z".parse().unwrap();
        let first = Root::default_for(vec![owner.public_key().clone()], vec![online.public_key().clone()], time);
        let mut second = first.next_version(time).unwrap();
        let signed = SignedRoot::sign(&first, &[&owner]).unwrap();
        second.fleet = Some(signed.digest());
        second.owners.keys = vec![next.public_key().clone()];
        second.roles[0].keys = vec![next.public_key().clone()];
        let versions = [signed.clone(), SignedRoot::sign(&second, &[&owner, &next]).unwrap()];
        let chain = RootChain::verify(&signed.digest(), &versions).unwrap();
        let keyring = Keyring::of(chain, BTreeMap::from([(next.public_key().fingerprint(), "carol@desk".to_owned())]));
        assert_eq!(keyring.who(next.public_key()), "an owner of the root, of the role owners");
        assert_eq!(keyring.who(online.public_key()), "a coordinator");
        assert!(keyring.who(owner.public_key()).ends_with("until version 1 of the trust root, gone since"));
        assert_eq!(keyring.who(stranger.public_key()), "not in the trust root");
        assert!(keyring.is_known(owner.public_key()) && !keyring.is_known(stranger.public_key()));
        assert!(keyring.named(&next.public_key().fingerprint()).ends_with(" (carol@desk)"));
    }
}
