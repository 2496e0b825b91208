//! `stead change export`: the files with which OpenSSH checks a change without Stead.

use std::path::Path;

use stead_trust::{Bundle, Leaf, SignatureNamespace, export};

use super::Context;
use crate::cli::ChangeExportArgs;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::{Outcome, history};

/// The signed document.
const STATEMENT: &str = "statement.json";
/// The keys that may have signed it.
const ALLOWED_SIGNERS: &str = "allowed_signers";

pub(super) async fn run(context: &Context, args: ChangeExportArgs) -> Outcome {
    let client = Client::connect(&context.settings).await?;
    let change = history::find(&client, &args.id).await?;
    let bundle = history::bundle(&client, &change.metadata.name).await?;
    let commands = write(&args.out, &bundle)?;
    let out = args.out.display();
    context.print(&format!("Wrote the change to {out}. To check it without Stead:\n\n  cd {out}\n{commands}"))?;
    Ok(ExitCode::Success)
}

/// Writes the files and gives the commands that check them.
fn write(folder: &Path, bundle: &Bundle) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::user(format!("cannot write to {}: {error}", folder.display()));
    std::fs::create_dir_all(folder.join("entries")).map_err(failed)?;
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).map_err(failed);
    if std::fs::read_dir(folder).map_err(failed)?.count() > 1 {
        return Err(Failure::user(format!("{} is not empty", folder.display())).hint("Name a new folder with --out."));
    }
    let signature_file = |index: usize| format!("{STATEMENT}.{}.sig", index + 1);
    let export = export(SignatureNamespace::Change, &bundle.statement, &bundle.signatures, ALLOWED_SIGNERS, signature_file);
    put(STATEMENT, &export.document)?;
    put(ALLOWED_SIGNERS, export.allowed_signers.as_bytes())?;
    let mut commands = String::new();
    for (index, signature) in export.signatures.iter().enumerate() {
        put(&signature_file(index), signature.armor.as_bytes())?;
        commands.push_str(&format!("  ssh-keygen {} < {STATEMENT}\n", signature.arguments.join(" ")));
    }
    for entry in &bundle.entries {
        put(&format!("entries/{}.leaf.json", entry.index), &entry.leaf)?;
        if let Some(object) = &entry.object {
            put(&format!("entries/{}.object.json", entry.index), object)?;
        }
    }
    put("receipt.json", &bundle.receipt)?;
    put("receipt.json.sig", bundle.receipt_signature.to_armor().as_bytes())?;
    put("README.txt", readme(bundle, &commands)?.as_bytes())?;
    Ok(commands)
}

fn readme(bundle: &Bundle, commands: &str) -> Result<String, Failure> {
    let mut entries = String::new();
    for entry in &bundle.entries {
        let leaf = Leaf::from_bytes(&entry.leaf).map_err(|error| Failure::refused(error.to_string()))?;
        entries.push_str(&format!("  entries/{}: {} {} (sequence {})\n", entry.index, leaf.op, leaf.key(), leaf.sequence));
    }
    Ok(format!(
        "A change of a Stead fleet, to be checked without Stead.\n\n\
         Who signed the statement:\n\n{commands}\n\
         {ALLOWED_SIGNERS} names the keys that the signatures claim; compare their fingerprints with the owners you know.\n\
         The statement commits to the entries by `entriesRoot`, a Merkle tree (RFC 9162, SHA-256) over the .leaf.json files in\n\
         their order; a leaf commits to its .object.json by `digest`, the SHA-256 of the 32 bytes of `salt` and the object.\n\n{entries}"
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use stead_model::{Digest, Object, Revision};
    use stead_trust::{Authorship, BundleEntry, Salt, SignedReceipt, Signer, SigningKey, StatementBuilder};

    /// A change of one Profile, signed by the key of the seed of ones.
    pub(crate) fn bundle(fleet: Digest) -> Bundle {
        let key = SigningKey::from_seed(&[1; 32]);
        let time: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let authorship = Authorship::Person { author: key.public_key().clone() };
        let mut builder = StatementBuilder::new(fleet, "01ARZ3NDEKTSV4RRFFQ69G5FAV", time, time, "why", authorship);
        let mut object = Object { api_version: "stead.dev/v1".into(), kind: "Profile".into(), ..Object::default() };
        object.metadata.name = "web".into();
        builder.put(&object, 1, Salt::from_bytes([2; 32])).unwrap();
        let submission = builder.build().unwrap().sign(&[&key]).unwrap();
        let receipt = SignedReceipt::sign(fleet, submission.statement.digest(), Revision(1), time, &key).unwrap();
        let entry = &submission.entries[0];
        Bundle {
            statement: submission.statement.document.clone(),
            signatures: submission.statement.signatures.clone(),
            entries: vec![BundleEntry { leaf: entry.leaf.clone(), proof: Vec::new(), index: 0, object: entry.object.clone() }],
            receipt: receipt.document,
            receipt_signature: receipt.signature,
        }
    }

    #[test]
    fn openssh_accepts_what_is_exported_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let commands = write(folder.path(), &bundle(Digest::of(b"fleet"))).unwrap();
        let check = || {
            let status = std::process::Command::new("sh").args(["-ec", &commands]).current_dir(folder.path()).output().unwrap();
            status.status.success()
        };
        assert!(check(), "{commands}");
        let mut altered = std::fs::read(folder.path().join(STATEMENT)).unwrap();
        altered.push(b' ');
        std::fs::write(folder.path().join(STATEMENT), altered).unwrap();
        assert!(!check());
        assert!(write(folder.path(), &bundle(Digest::of(b"fleet"))).is_err());
        let readme = std::fs::read_to_string(folder.path().join("README.txt")).unwrap();
        assert!(readme.contains("entries/0: put Profile/web (sequence 1)"), "{readme}");
    }
}
