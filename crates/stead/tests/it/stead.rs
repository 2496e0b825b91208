//! Runs the binary in a folder of its own, with nothing of the caller's environment.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A home folder for one operator.
pub(crate) struct Home {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The standard output of a command that did what it was asked.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.stdout
    }

    /// The standard error of a command that must end with a code.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:#?}");
        self.stderr
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// Sets an environment variable for every command from here on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The path of a file as an argument.
    pub(crate) fn arg(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A command with this home and no other environment.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("PATH", std::env::var("PATH").unwrap());
        command.envs(self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `stead`.
    pub(crate) fn stead(&self, words: &[&str]) -> Ended {
        Ended::of(self.command(env!("CARGO_BIN_EXE_stead")).args(words).output().unwrap())
    }

    /// Runs `stead` with something on its standard input.
    pub(crate) fn stead_with(&self, words: &[&str], input: &str) -> Ended {
        let mut child = self.command(env!("CARGO_BIN_EXE_stead")).args(words).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ended::of(child.wait_with_output().unwrap())
    }

    /// Runs another program, which must succeed.
    #[track_caller]
    pub(crate) fn run(&self, program: &str, words: &[&str]) -> String {
        Ended::of(self.command(program).args(words).output().unwrap()).ok()
    }

    /// Makes an ed25519 key as `ssh-keygen` does, and gives its fingerprint.
    pub(crate) fn keygen(&self, name: &str, passphrase: &str) -> String {
        self.keygen_of(&["-t", "ed25519"], name, passphrase)
    }

    /// The same for any algorithm.
    pub(crate) fn keygen_of(&self, algorithm: &[&str], name: &str, passphrase: &str) -> String {
        let path = self.arg(name);
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        // -a 1: the tests need an encrypted file, not one that is slow to open.
        let words = [algorithm, &["-a", "1", "-q", "-C", "test", "-N", passphrase, "-f", &path]].concat();
        self.run("ssh-keygen", &words);
        let shown = self.run("ssh-keygen", &["-lf", &path]);
        shown.split_whitespace().nth(1).unwrap().to_owned()
    }
}
