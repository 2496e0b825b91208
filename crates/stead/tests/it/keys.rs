//! Keys from files and from the real ssh-agent.

use std::process::Child;

use crate::stead::Home;

/// A real ssh-agent, which ends with the test.
struct SshAgent(Child);

impl SshAgent {
    fn start(home: &mut Home) -> Self {
        let socket = home.arg("agent.sock");
        let mut child = home.command("ssh-agent").args(["-D", "-a", &socket]).spawn().unwrap();
        // It says its socket's name when it listens there.
        let mut said = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut said).unwrap();
        assert!(said.contains("SSH_AUTH_SOCK"), "{said}");
        home.set("SSH_AUTH_SOCK", &socket);
        Self(child)
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Makes a trust root with a key and shows who signed it.
fn signed_with(home: &Home, key: &str, folder: &str) -> String {
    home.stead(&["trust", "init", "--key", key, "--online", "host.pub", "--out", folder]).ok();
    home.stead(&["trust", "show", &format!("{folder}/root.json")]).ok()
}

const SIGNED: &str = "It carries the signatures that it needs.";

#[test]
fn key_files_of_every_algorithm_sign() {
    let home = Home::new();
    home.keygen("host", "");
    let algorithms: &[&[&str]] = &[&["-t", "ed25519"], &["-t", "ecdsa", "-b", "256"], &["-t", "rsa", "-b", "3072"]];
    for (index, algorithm) in algorithms.iter().enumerate() {
        let name = format!("key{index}");
        let fingerprint = home.keygen_of(algorithm, &name, "");
        let shown = signed_with(&home, &name, &format!("out{index}"));
        assert!(shown.contains(SIGNED) && shown.matches(&fingerprint).count() >= 3, "{shown}");
    }
}

#[test]
fn an_encrypted_file_takes_its_passphrase_from_a_file_or_the_terminal() {
    let mut home = Home::new();
    home.keygen("host", "");
    let fingerprint = home.keygen("key", "correct horse");
    // Without a terminal nobody can be asked.
    let words = ["trust", "init", "--key", "key", "--online", "host.pub", "--out", "out"];
    let error = setsid(&home, &words);
    assert!(error.contains("cannot ask for the passphrase of key"), "{error}");
    assert!(error.contains("STEAD_PASSPHRASE_FILE"), "{error}");

    home.write("wrong", "battery\n");
    let error = home.stead(&[&words[..], &["--passphrase-file", "wrong"]].concat()).fails(2);
    assert!(error.contains("the passphrase does not open the private key"), "{error}");

    home.write("right", "correct horse\n");
    home.set("STEAD_PASSPHRASE_FILE", "right");
    let shown = signed_with(&home, "key", "out");
    assert!(shown.contains(SIGNED) && shown.contains(&fingerprint), "{shown}");
}

/// Runs `stead` in a session of its own, which has no terminal, whatever the test has.
fn setsid(home: &Home, words: &[&str]) -> String {
    let output = home.command("setsid").arg("--wait").arg(env!("CARGO_BIN_EXE_stead")).args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn keys_in_ssh_agent_sign_by_every_name() {
    let mut home = Home::new();
    home.keygen("host", "");
    let fingerprint = home.keygen("key", "");
    let _agent = SshAgent::start(&mut home);
    home.run("ssh-add", &["-q", "key"]);
    // The secret is in the agent alone.
    std::fs::remove_file(home.path("key")).unwrap();
    for (index, word) in ["agent", "key.pub", &fingerprint, home.read("key.pub").trim()].into_iter().enumerate() {
        let shown = signed_with(&home, word, &format!("out{index}"));
        assert!(shown.contains(SIGNED) && shown.contains(&fingerprint), "{word}: {shown}");
    }
    // With two keys, `agent` is not clear, and each is found by its name.
    home.keygen_of(&["-t", "rsa", "-b", "3072"], "second", "");
    home.run("ssh-add", &["-q", "second"]);
    let error = home.stead(&["trust", "init", "--key", "agent", "--online", "host.pub", "--out", "no"]).fails(2);
    assert!(error.contains("ssh-agent holds 2 keys that Stead can use, not one"), "{error}");
    assert!(signed_with(&home, "second.pub", "out9").contains(SIGNED));
}

#[test]
fn keys_that_are_not_there_are_named() {
    let mut home = Home::new();
    home.keygen("host", "");
    home.keygen("other", "");
    home.write("old.pem", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n");
    let init =
        |home: &Home, key: &str| home.stead(&["trust", "init", "--key", key, "--online", "host.pub", "--out", "out"]).fails(2);
    assert!(init(&home, "agent").contains("there is no ssh-agent: SSH_AUTH_SOCK is not set"));
    assert!(init(&home, "nonsense").contains("is neither a file, nor a fingerprint `SHA256:…`, nor `agent`"));
    assert!(init(&home, "./missing").contains("cannot read the key ./missing"));
    assert!(init(&home, "old.pem").contains("not an OpenSSH private key file"));
    let _agent = SshAgent::start(&mut home);
    assert!(init(&home, "SHA256:abc").contains("ssh-agent does not hold the key SHA256:abc; it holds none"));
    assert!(!home.path("out").exists());
}
