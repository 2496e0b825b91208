//! OpenSSH as the other side: what `ssh-keygen` signs we verify, and what we sign it verifies.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use stead_trust::{
    KeyFileError, MachineKey, PublicKey, Signature, SignatureError, SignatureNamespace, Signer, SigningKey, export, verify,
};
use tempfile::TempDir;

const DOCUMENT: &[u8] = br#"{"message":"a test","type":"stead.dev/change/v1"}"#;

/// Runs `ssh-keygen`, with some standard input, and says whether it succeeded.
pub(crate) fn ssh_keygen(folder: &Path, arguments: &[&str], input: &[u8]) -> bool {
    let mut command = Command::new("ssh-keygen");
    command.current_dir(folder).args(arguments).env_remove("SSH_AUTH_SOCK");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ssh-keygen is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait().unwrap().success()
}

/// Makes a key file `key` in a folder of its own.
pub(crate) fn key_file(arguments: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = ssh_keygen(folder.path(), &[&["-q", "-f", "key", "-C", "a comment"], arguments].concat(), b"");
    assert!(made, "ssh-keygen {arguments:?}");
    folder
}

fn read(folder: &TempDir, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).unwrap()
}

/// Has `ssh-keygen -Y verify` check an export of a signature.
pub(crate) fn openssh_accepts(namespace: SignatureNamespace, document: &[u8], signature: &Signature) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let export = export(namespace, document, std::slice::from_ref(signature), "allowed_signers", |_| "signature".to_owned());
    std::fs::write(folder.path().join("allowed_signers"), &export.allowed_signers).unwrap();
    std::fs::write(folder.path().join("signature"), &export.signatures[0].armor).unwrap();
    let arguments: Vec<&str> = export.signatures[0].arguments.iter().map(String::as_str).collect();
    ssh_keygen(folder.path(), &arguments, &export.document)
}

const ALGORITHMS: [&[&str]; 3] = [&["-t", "ed25519"], &["-t", "ecdsa", "-b", "256"], &["-t", "rsa", "-b", "3072"]];

#[test]
fn what_openssh_signs_we_verify() {
    for algorithm in ALGORITHMS {
        let folder = key_file(&[algorithm, &["-N", ""]].concat());
        std::fs::write(folder.path().join("document"), DOCUMENT).unwrap();
        assert!(ssh_keygen(folder.path(), &["-q", "-Y", "sign", "-f", "key", "-n", "change@stead.dev", "document"], b""));
        let signature = Signature::from_armor(&read(&folder, "document.sig")).unwrap();
        let key: PublicKey = read(&folder, "key.pub").parse().unwrap();
        assert_eq!(verify(SignatureNamespace::Change, DOCUMENT, &signature).unwrap(), key, "{algorithm:?}");
        assert_eq!(signature.to_armor(), read(&folder, "document.sig"), "the same armor, byte for byte");
        assert!(matches!(verify(SignatureNamespace::Root, DOCUMENT, &signature), Err(SignatureError::Namespace { .. })));
        assert!(matches!(verify(SignatureNamespace::Change, b"other", &signature), Err(SignatureError::Mismatch { .. })));
    }
}

#[test]
fn what_we_sign_openssh_verifies() {
    for algorithm in ALGORITHMS {
        let folder = key_file(&[algorithm, &["-N", ""]].concat());
        let key = SigningKey::from_openssh(&read(&folder, "key"), None).unwrap();
        let signature = key.sign(SignatureNamespace::Change, DOCUMENT).unwrap();
        assert_eq!(&verify(SignatureNamespace::Change, DOCUMENT, &signature).unwrap(), key.public_key());
        assert!(openssh_accepts(SignatureNamespace::Change, DOCUMENT, &signature), "{algorithm:?}");
        assert!(!openssh_accepts(SignatureNamespace::Change, b"other", &signature), "{algorithm:?}");
        assert!(!openssh_accepts(SignatureNamespace::Root, DOCUMENT, &signature), "{algorithm:?}");
    }
}

#[test]
fn encrypted_key_files_ask_for_their_passphrase() {
    // Few rounds, so that the test is quick.
    let folder = key_file(&["-t", "ed25519", "-N", "correct horse", "-a", "2"]);
    let text = read(&folder, "key");
    assert!(matches!(SigningKey::from_openssh(&text, None), Err(KeyFileError::NeedsPassphrase)));
    assert!(matches!(SigningKey::from_openssh(&text, Some("wrong")), Err(KeyFileError::WrongPassphrase)));
    let key = SigningKey::from_openssh(&text, Some("correct horse")).unwrap();
    assert_eq!(key.public_key(), &read(&folder, "key.pub").parse().unwrap());
}

#[test]
fn a_host_key_makes_a_machine() {
    let folder = key_file(&["-t", "ed25519", "-N", ""]);
    let key = SigningKey::from_openssh(&read(&folder, "key"), None).unwrap();
    let seed = key.seed().unwrap();
    let same = SigningKey::from_seed(&seed);
    assert_eq!(same.public_key(), key.public_key());
    assert_eq!(MachineKey::try_from(key.public_key()).unwrap(), same.machine_key().unwrap());
    // And back into a file that OpenSSH reads.
    std::fs::write(folder.path().join("again"), same.to_openssh().unwrap().as_bytes()).unwrap();
    assert!(Command::new("chmod").args(["600", "again"]).current_dir(folder.path()).status().unwrap().success());
    assert!(ssh_keygen(folder.path(), &["-y", "-f", "again"], b""));
}

#[test]
fn weak_keys_are_refused() {
    for (arguments, expected) in [
        (["-t", "rsa", "-b", "2048"], "2048 bits"),
        (["-t", "ecdsa", "-b", "384"], "nistp384"),
        (["-t", "ecdsa", "-b", "521"], "nistp521"),
    ] {
        let folder = key_file(&[&arguments[..], &["-N", ""]].concat());
        let error = read(&folder, "key.pub").parse::<PublicKey>().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(SigningKey::from_openssh(&read(&folder, "key"), None).is_err());
        std::fs::write(folder.path().join("document"), DOCUMENT).unwrap();
        assert!(ssh_keygen(folder.path(), &["-q", "-Y", "sign", "-f", "key", "-n", "change@stead.dev", "document"], b""));
        assert!(matches!(Signature::from_armor(&read(&folder, "document.sig")), Err(SignatureError::Key(_))), "{expected}");
    }
}

#[test]
fn only_sha512_under_rsa() {
    use rsa::signature::{SignatureEncoding as _, Signer as _};
    let folder = key_file(&["-t", "rsa", "-b", "3072", "-N", ""]);
    let private = ssh_key::PrivateKey::from_openssh(read(&folder, "key")).unwrap();
    let key: PublicKey = read(&folder, "key.pub").parse().unwrap();
    let pair = private.key_data().rsa().unwrap();
    let number = |value: &ssh_key::Mpint| rsa::BigUint::from_bytes_be(value.as_positive_bytes().unwrap());
    let primes = vec![number(&pair.private.p), number(&pair.private.q)];
    let secret =
        rsa::RsaPrivateKey::from_components(number(&pair.public.n), number(&pair.public.e), number(&pair.private.d), primes)
            .unwrap();
    let data = stead_trust::signed_data(SignatureNamespace::Change, DOCUMENT);
    let sha256 = rsa::pkcs1v15::SigningKey::<rsa::sha2::Sha256>::new(secret).sign(&data).to_vec();
    let algorithm = ssh_key::Algorithm::Rsa { hash: Some(ssh_key::HashAlg::Sha256) };
    let raw = ssh_key::Signature::new(algorithm, sha256).unwrap();
    assert!(matches!(Signature::from_raw(&key, SignatureNamespace::Change, &raw), Err(SignatureError::Algorithm { .. })));
}
