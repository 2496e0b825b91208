//! What somebody may get wrong about backups with pgBackRest, and what must not be seen of a passphrase.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::pgbackrest::Backed;
use super::process::Process;
use crate::stead::Home;

fn private(home: &Home, name: &str, text: &str) {
    let path = home.write(name, text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What is given, the exit code, and what has to be said: what, where, which value, and what to do.
type Case<'a> = (&'a [&'a str], i32, &'a [&'a str]);

#[test]
fn whatever_is_wrong_is_named_and_nothing_is_begun() {
    let (home, backed) = (Home::new(), Backed::new());
    home.stead(&["store", "digest", "--store", &backed.cluster.url()]).ok();
    private(&home, "empty", "\n");
    home.write("open", "secret\n");
    home.write("letter", "Dear pgBackRest");
    let letter = home.arg("letter");
    let cases: &[Case<'_>] = &[
        (&["--stanza", "a b"], 2, &["\"a b\" is no name for a stanza", "letters, digits, - and _"]),
        (&["--stanza", ""], 2, &["is no name for a stanza"]),
        (&["--repo", "relative"], 2, &["relative cannot be told", "a whole path"]),
        (&["--repo", "/with space"], 2, &["/with space cannot be told"]),
        (&["--repo", &letter], 2, &["letter is no folder"]),
        (&["--pgbackrest-config", "here.conf"], 2, &["here.conf cannot be told"]),
        (&["--pgbackrest-config", &letter], 4, &["letter is there", "has not written it", "--replace"]),
        (&["--cipher-pass-file", "nowhere"], 2, &["cannot read nowhere", "No such file"]),
        (&["--cipher-pass-file", "empty"], 2, &["empty has no passphrase in its first line", "openssl rand"]),
        (&["--cipher-pass-file", "open"], 2, &["open has the mode 644", "chmod 600 open"]),
        (&["--superuser", "mallory"], 4, &["role \"mallory\" does not exist", "--superuser"]),
        (&["--store", "record.db"], 2, &["record.db", "pgBackRest is for PostgreSQL", "--store postgres://"]),
        (&["--store", "postgres://stead@localhost/stead?host=/nowhere"], 8, &["/nowhere"]),
        (&["--retention-full", "0"], 2, &["--retention-full", "0"]),
        (&["--process-max", "x"], 2, &["--process-max", "x"]),
    ];
    for (words, code, said) in cases {
        let (url, config, repo) = (backed.cluster.url(), backed.path("pgbackrest.conf"), backed.path("repo"));
        let mut all = vec!["backup", "setup", "--restart"];
        let defaults = [("--store", &url), ("--pgbackrest-config", &config), ("--repo", &repo)];
        for (flag, value) in defaults.iter().filter(|(flag, _)| !words.contains(flag)) {
            all.extend([flag, value.as_str()]);
        }
        if !words.contains(&"--superuser") {
            all.extend(["--superuser", "stead"]);
        }
        all.extend(*words);
        let wrong = home.stead(&all).fails(*code);
        for part in *said {
            assert!(wrong.contains(part), "{words:?}: {part:?} is not in {wrong}");
        }
        assert!(!wrong.contains("secret"), "{words:?}: {wrong}");
    }
    assert!(!Path::new(&backed.path("repo")).exists() && !Path::new(&backed.path("pgbackrest.conf")).exists());
    assert_eq!(backed.cluster.sql("SHOW archive_mode"), "off");
    assert_eq!(home.read("letter"), "Dear pgBackRest");

    // What was set up, and then changed behind our back.
    backed.setup(&home, &["--restart"]).ok();
    let config = backed.path("pgbackrest.conf");
    let text = std::fs::read_to_string(&config).unwrap();
    for (from, to, said) in [
        ("pg1-port=5432", "pg1-port=many", "pg1-port = \"many\""),
        ("pg1-user=stead\n", "", "pg1-user = \"\""),
        ("# stead: programs=", "# stead: pograms=", "programs = \"\""),
        ("repo1-path=", "repo1-path=/nowhere", "Is its disk mounted?"),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(&config, text.replace(from, to)).unwrap();
        let wrong = backed.check(&home, &[]).fails(2);
        assert!(wrong.contains(said), "{from}: {wrong}");
    }
    std::fs::write(&config, &text).unwrap();
    let wrong = backed.check(&home, &["--stanza", "other"]).fails(3);
    assert!(wrong.contains("has no stanza other") && wrong.contains("stead backup setup"), "{wrong}");
    let none = backed.stead(&home, &["restore", "--yes"]).fails(2);
    assert!(none.contains("no moment is given") && none.contains("--at"), "{none}");
}

/// Every file under a folder.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path(), found),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

/// Whether the bytes have the text in them.
fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Runs a command, and looks at the words and the environment of every process meanwhile.
fn watched(home: &Home, words: &[&str], secret: &str, password: &str) -> String {
    let mut command = home.command(env!("CARGO_BIN_EXE_stead"));
    let said = std::fs::File::options().create(true).append(true).open(home.path("said")).unwrap();
    command.args(words).env("STEAD_STORE_NOTE", password).stderr(said.try_clone().unwrap()).stdout(said);
    let mut process = Process::spawn(&mut command);
    let own = process.id().to_string();
    while process.is_running() {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let line = read("cmdline");
            assert!(!has(&line, secret), "{}", String::from_utf8_lossy(&line));
            let is_own = entry.file_name().to_string_lossy() == own;
            assert!(is_own || !has(&read("environ"), password), "{}", String::from_utf8_lossy(&line));
        }
    }
    assert!(process.stop_code() == Some(0), "{words:?}: {}", home.read("said"));
    home.read("said")
}

#[test]
fn a_passphrase_is_in_one_private_file_and_in_no_command_line_log_or_environment() {
    let (home, backed) = (Home::new(), Backed::new());
    home.stead(&["store", "digest", "--store", &backed.cluster.url()]).ok();
    let (secret, password) = ("correct-horse-battery-staple", "a-password-of-the-record");
    private(&home, "passphrase", &format!("{secret}\nnot this line\n"));
    let (url, config, repo) = (backed.cluster.url(), backed.path("pgbackrest.conf"), backed.path("repo"));
    let base = ["--store", url.as_str(), "--pgbackrest-config", &config];
    let setup = ["backup", "setup", "--repo", &repo, "--superuser", "stead", "--restart", "--cipher-pass-file", "passphrase"];
    let plan = home.stead(&[&setup[..], &base, &["--dry-run"]].concat());
    assert!(plan.code == 7 && plan.stdout.contains("repo1-cipher-type=aes-256-cbc") && !plan.stdout.contains(secret), "{plan:?}");
    for words in [&setup[..], &["backup", "--type", "full"], &["backup", "check"], &["backup", "verify"]] {
        let said = watched(&home, &[words, &base].concat(), secret, password);
        assert!(!said.contains(secret), "{said}");
    }

    let mut all = Vec::new();
    files(backed.cluster.folder(), &mut all);
    let with: Vec<_> = all.iter().filter(|path| has(&std::fs::read(path).unwrap_or_default(), secret)).collect();
    assert_eq!(with, [Path::new(&config)]);
    let metadata = std::fs::metadata(&config).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert_eq!(metadata.uid(), std::fs::metadata(backed.path("data")).unwrap().uid(), "the system user's");
    // Nobody else reads what is in the repository either.
    assert_eq!(std::fs::metadata(&repo).unwrap().mode() & 0o007, 0);

    // With another passphrase, or none, nothing could be read or archived any more.
    private(&home, "passphrase", "another one\n");
    for words in [&setup[..], &setup[..setup.len() - 2]] {
        let refused = home.stead(&[words, &base].concat()).fails(4);
        assert!(refused.contains("with a passphrase") && refused.contains("cannot be changed"), "{refused}");
    }
    home.stead(&[&["backup", "check"][..], &base].concat()).ok();
}
