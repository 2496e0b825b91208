//! Versions of the trust root: in files, and as a coordinator serves them.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use stead_model::canonical;
use stead_model::{Digest, Object, TrustRoot};
use stead_trust::{
    PublicKey, Root, RootChain, Signature, SignatureNamespace, SignedFreshness, SignedRoot, UserPresence, verify_with,
};

use crate::client::Client;
use crate::failure::{Failure, FailureKind};
use crate::private_file;

/// What a coordinator says of its fleet to whoever asks; all of it is checked here.
#[derive(Debug, Deserialize)]
pub(crate) struct FleetDocument {
    roots: Vec<SignedRoot>,
    #[serde(default)]
    freshness: Option<SignedFreshness>,
}

impl FleetDocument {
    pub(crate) async fn fetch(client: &Client) -> Result<Self, Failure> {
        Ok(client.get("/stead/v1/fleet").await?)
    }

    /// The chain, which must start at a fleet's id.
    pub(crate) fn verify(&self, fleet: &Digest) -> Result<RootChain, Failure> {
        RootChain::verify(fleet, &self.roots).map_err(|error| Failure::of(FailureKind::Refused, error))
    }

    /// When owners last said that they are there, in a line; checked here, as all of it.
    pub(crate) fn freshness_line(&self, chain: &RootChain) -> String {
        let Some(signed) = &self.freshness else { return String::new() };
        match signed.verify(chain.fleet(), chain.newest()) {
            Ok(fresh) => format!("They last said so at {}, by {}.\n", fresh.time, fresh.author.fingerprint()),
            Err(error) => format!("What the coordinator gives for their last word is none of theirs: {error}\n"),
        }
    }

    /// The chain of the configured fleet, or of whichever this is.
    pub(crate) fn verify_or_trust(&self, fleet: Option<Digest>) -> Result<RootChain, Failure> {
        let first =
            || self.roots.first().map(SignedRoot::digest).ok_or_else(|| Failure::refused("the coordinator serves no trust root"));
        self.verify(&fleet.map_or_else(first, Ok)?)
    }
}

/// Reads one version or several from a file: as `trust init` writes it, or as `stead get trustroot -o json` prints it.
pub(crate) fn read_all(path: &Path) -> Result<Vec<SignedRoot>, Failure> {
    let wrong = |what: String| Failure::user(format!("{} is no trust root: {what}", path.display()));
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::user(format!("cannot read {}: {error}", path.display())))?;
    let value: Value = serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let items = match value {
        Value::Array(items) => items,
        Value::Object(mut list) if list.contains_key("items") => match list.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        one => vec![one],
    };
    let roots: Result<Vec<SignedRoot>, String> = items.into_iter().map(signed_root).collect();
    roots.map_err(wrong)
}

fn signed_root(value: Value) -> Result<SignedRoot, String> {
    if value.get("spec").is_none() {
        return serde_json::from_value(value).map_err(|error| error.to_string());
    }
    let object: Object = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let typed: TrustRoot = object.to_typed().map_err(|error| error.to_string())?;
    let signatures = typed.spec.signatures.iter().map(|armor| Signature::from_armor(armor));
    let signatures = signatures.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    Ok(SignedRoot { document: typed.spec.document.into_bytes(), signatures })
}

/// The only version in a file.
pub(crate) fn read(path: &Path) -> Result<SignedRoot, Failure> {
    let mut roots = read_all(path)?;
    match (roots.len(), roots.pop()) {
        (1, Some(signed)) => Ok(signed),
        (count, _) => Err(Failure::user(format!("{} holds {count} versions of the trust root, not one", path.display()))),
    }
}

/// The only version in a file, and what it says.
pub(crate) fn read_parsed(path: &Path) -> Result<(SignedRoot, Root), Failure> {
    let signed = read(path)?;
    let root = parse(&signed)?;
    Ok((signed, root))
}

/// Writes one version to a file.
pub(crate) fn write(path: &Path, signed: &SignedRoot) -> Result<(), Failure> {
    let mut text = serde_json::to_vec_pretty(signed).map_err(|error| Failure::internal(error.to_string()))?;
    text.push(b'\n');
    private_file::write(path, &text).map_err(|error| Failure::of(FailureKind::User, error))
}

/// What a version says; whether it is signed well is another question.
pub(crate) fn parse(signed: &SignedRoot) -> Result<Root, Failure> {
    let wrong = |what: String| Failure::user(format!("the document is no version of a trust root: {what}"));
    let mut members = match canonical::parse(&signed.document).map_err(|error| wrong(error.to_string()))? {
        Value::Object(members) => members,
        _ => return Err(wrong("it is no object".to_owned())),
    };
    members.remove("type");
    let root: Root = serde_json::from_value(Value::Object(members)).map_err(|error| wrong(error.to_string()))?;
    // Writing it again says whether it is well-formed, its type included.
    match root.to_document() {
        Ok(document) if document == signed.document => Ok(root),
        Ok(_) => Err(wrong("its type is another one".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// The owners whose signatures a version carries; one that does not fit is an error.
pub(crate) fn signers(signed: &SignedRoot, root: &Root) -> Result<Vec<PublicKey>, Failure> {
    let presence = if root.require_user_presence { UserPresence::Required } else { UserPresence::NotRequired };
    let verified =
        signed.signatures.iter().map(|signature| verify_with(SignatureNamespace::Root, &signed.document, signature, presence));
    let mut keys: Vec<PublicKey> =
        verified.collect::<Result<_, _>>().map_err(|error| Failure::of(FailureKind::Refused, error))?;
    keys.sort();
    keys.dedup();
    Ok(keys)
}

/// Whose signatures are still missing, in words; nothing where there are enough.
pub(crate) fn missing(signed: &SignedRoot, root: &Root, before: Option<&Root>) -> Result<Option<String>, Failure> {
    let signers = signers(signed, root)?;
    let lacks = |owners: &stead_trust::KeySet, of: &str| {
        let found = owners.keys.iter().filter(|key| signers.contains(key)).count();
        let open: Vec<String> = owners.keys.iter().filter(|key| !signers.contains(key)).map(PublicKey::fingerprint).collect();
        let needed = owners.threshold as usize;
        (found < needed).then(|| format!("{found} of the {needed} signatures of {of}; any of {} can sign", open.join(", ")))
    };
    let own = lacks(&root.owners, &format!("version {}'s own owners", root.version));
    let old = before.and_then(|before| lacks(&before.owners, &format!("version {}'s owners", before.version)));
    let sentences: Vec<String> = old.into_iter().chain(own).collect();
    Ok((!sentences.is_empty()).then(|| sentences.join("; and ")))
}
