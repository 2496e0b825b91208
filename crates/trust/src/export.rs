//! What `ssh-keygen -Y verify` needs to check a statement without us.

use crate::key::PublicKey;
use crate::signature::{Signature, SignatureNamespace};

/// A signed document in the files that OpenSSH reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The document, just as it was signed: the standard input of `ssh-keygen`.
    pub document: Vec<u8>,
    /// One file `allowed_signers` for all signatures.
    pub allowed_signers: String,
    /// Each signature, and the command that checks it.
    pub signatures: Vec<ExportedSignature>,
}

/// One signature of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedSignature {
    /// The key that it claims; also who signed, as `allowed_signers` and `ssh-keygen -I` name them: the key's fingerprint.
    pub key: PublicKey,
    /// The armored text.
    pub armor: String,
    /// The arguments of `ssh-keygen`, for these names of the two files.
    pub arguments: Vec<String>,
}

/// Makes the export of a document and its signatures; `allowed_signers` and the signature's files are named by the caller.
pub fn export(
    namespace: SignatureNamespace,
    document: &[u8],
    signatures: &[Signature],
    allowed_signers_file: &str,
    signature_file: impl Fn(usize) -> String,
) -> Export {
    let line = |key: &PublicKey| format!("{} namespaces=\"{namespace}\" {key}\n", key.fingerprint());
    let exported = signatures.iter().enumerate().map(|(index, signature)| {
        let key = signature.claimed_key().clone();
        let (who, file) = (key.fingerprint(), signature_file(index));
        let arguments = ["-Y", "verify", "-f", allowed_signers_file, "-I", &who, "-n", namespace.as_str(), "-s", &file];
        ExportedSignature { key, armor: signature.to_armor(), arguments: arguments.iter().map(ToString::to_string).collect() }
    });
    let exported: Vec<ExportedSignature> = exported.collect();
    let allowed_signers = exported.iter().map(|signature| line(&signature.key)).collect();
    Export { document: document.to_vec(), allowed_signers, signatures: exported }
}
