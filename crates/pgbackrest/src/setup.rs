//! `stead backup setup`: what the plan says is done, step by step; done again, it goes on where it was.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::Say;
use crate::cluster::{Cluster, RecordAddress};
use crate::configuration::{self, Configuration, DEFAULT_FILE, OURS, is_plain};
use crate::error::Error;
use crate::file;
use crate::info::Info;
use crate::plan::{self, Step};
use crate::server::{Control, programs_of};
use crate::stanza::{Stanza, StanzaName, installed};

/// Processes at most, where nobody says how many.
const PROCESSES_MAX: usize = 4;
/// Compressions, the best first: as fast as the disk, and a good third smaller than the next.
const COMPRESSIONS: [&str; 3] = ["zst", "lz4", "gz"];
/// The mode of the repository, and of folders for locks and logs: pgBackRest's own.
const FOLDER_MODE: u32 = 0o750;
/// The bits by which others read a file.
const OTHERS_READ: u32 = 0o004;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What the stanza is called, and where it is written.
    pub name: StanzaName,
    /// The folder for backups and archive.
    pub repo: PathBuf,
    /// How many full backups are kept.
    pub retention_full: u32,
    /// How many differential ones.
    pub retention_diff: u32,
    /// Processes that compress and copy at once; without it, half the cores.
    pub process_max: Option<u32>,
    /// The file of the passphrase with which the repository is encrypted.
    pub cipher_pass_file: Option<PathBuf>,
    /// The database's superuser; without it, called as its system user.
    pub superuser: Option<String>,
    /// Whether the server may be restarted.
    pub restart: bool,
    /// Whether what somebody else has set up is replaced.
    pub replace: bool,
}

/// What would be done.
#[derive(Debug)]
pub struct Planned {
    /// Step by step.
    pub steps: Vec<Step>,
    /// What the configuration would be, without its passphrase.
    pub configuration: String,
}

/// What became of it.
#[derive(Debug)]
pub struct SetUp {
    /// The stanza.
    pub stanza: Stanza,
    /// How many steps were done; none where everything was as it should be.
    pub steps_done: usize,
}

/// Says what [`setup`] would do, and does nothing.
///
/// # Errors
///
/// [`Error`], as [`setup`] before its first step.
pub async fn plan_setup(record: RecordAddress<'_>, wish: &Wish) -> Result<Planned, Error> {
    let setting = Setting::look(record, wish).await?;
    let mut steps = setting.steps()?;
    steps.extend(plan::repository(&setting.info_before(steps.first()).await?));
    let text = setting.configuration.render();
    let shown = text.lines().filter(|line| !line.starts_with("repo1-cipher-pass="));
    Ok(Planned { steps, configuration: shown.map(|line| format!("{line}\n")).collect() })
}

/// Sets up what is not set up yet.
///
/// # Errors
///
/// [`Error`]; done again, it goes on from there.
pub async fn setup(record: RecordAddress<'_>, wish: &Wish, say: Say<'_>) -> Result<SetUp, Error> {
    let setting = Setting::look(record, wish).await?;
    let mut steps_done = 0_usize;
    for step in &setting.steps()? {
        setting.act(step, say).await?;
        steps_done = steps_done.saturating_add(1);
    }
    let stanza = Stanza::get(&wish.name)?;
    for step in &plan::repository(&stanza.info().await?) {
        say(&format!("{step} ..."));
        act_on_repository(&stanza, step).await?;
        steps_done = steps_done.saturating_add(1);
    }
    Ok(SetUp { stanza, steps_done })
}

struct Setting<'a> {
    wish: &'a Wish,
    cluster: Cluster,
    configuration: Configuration,
    /// As the server will have it.
    command: String,
}

impl<'a> Setting<'a> {
    /// Looks at the server, and at everything that was given, before anything is done.
    async fn look(record: RecordAddress<'_>, wish: &'a Wish) -> Result<Self, Error> {
        let StanzaName { file, stanza } = &wish.name;
        if stanza.is_empty() || !stanza.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_') {
            return Err(Error::StanzaName { name: stanza.clone() });
        }
        ensure_plain([file, &wish.repo])?;
        ensure_folder(&wish.repo)?;
        let cipher_pass = wish.cipher_pass_file.as_deref().map(passphrase).transpose()?;
        let pgbackrest = installed()?;
        let cluster = Cluster::find(record, wish.superuser.as_deref()).await?;
        ensure_plain([&cluster.facts.data, &cluster.facts.server_config])?;
        let configuration = configuration(wish, &cluster, cipher_pass).await?;
        let command = format!("{} --config={} --stanza={stanza} archive-push %p", pgbackrest.display(), file.display());
        Ok(Self { wish, cluster, configuration, command })
    }

    /// What has to be done up to the repository.
    fn steps(&self) -> Result<Vec<Step>, Error> {
        let mut steps: Vec<Step> = self.write()?.into_iter().collect();
        steps.extend(plan::server(&self.cluster.facts, &self.command, self.wish.replace)?);
        Ok(steps)
    }

    /// Whether the file has to be written.
    fn write(&self) -> Result<Option<Step>, Error> {
        let file = &self.wish.name.file;
        let there = match std::fs::read_to_string(file).map(Zeroizing::new) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::file("read", file, error)),
        };
        let Some(text) = there else { return Ok(Some(Step::Write { there: false })) };
        if *text == *self.configuration.render() {
            return Ok(None);
        }
        if !text.starts_with(OURS) && !self.wish.replace {
            return Err(Error::NotOurs { path: file.clone() });
        }
        self.ensure_same_cipher(&text)?;
        Ok(Some(Step::Write { there: true }))
    }

    /// pgBackRest does not encrypt anew what is in a repository: with another passphrase nothing of it could be read, or archived.
    fn ensure_same_cipher(&self, text: &str) -> Result<(), Error> {
        let Configuration { stanza, repo, cipher_pass, .. } = &self.configuration;
        let value = |name| configuration::value(text, stanza, name);
        let is_used = ["archive", "backup"].iter().any(|part| repo.join(part).join(stanza).is_dir());
        let there = value("repo1-cipher-pass");
        let wanted = cipher_pass.as_ref().map(|pass| pass.as_str());
        if !is_used || value("repo1-path") != repo.to_str() || there == wanted {
            return Ok(());
        }
        let there = if there.is_some() { "a passphrase" } else { "no passphrase" };
        Err(Error::OtherCipher { repo: repo.clone(), stanza: stanza.clone(), there })
    }

    /// What is in the repository, as far as that can be asked before anything is written.
    async fn info_before(&self, first: Option<&Step>) -> Result<Info, Error> {
        if matches!(first, Some(Step::Write { .. })) {
            return Ok(Info::none());
        }
        Stanza::get(&self.wish.name)?.info().await
    }

    async fn act(&self, step: &Step, say: Say<'_>) -> Result<(), Error> {
        let door = &self.cluster.door;
        if let Step::Restart { for_what } = step
            && !self.wish.restart
        {
            return Err(Error::NeedsRestart { for_what: for_what.clone() });
        }
        say(&format!("{step} ..."));
        match step {
            Step::Write { .. } => self.write_file(),
            Step::Set { name, to, .. } => {
                let sql = format!("ALTER SYSTEM SET {name} = '{}'", to.replace('\'', "''"));
                door.sql(&step.to_string(), &sql).await.map(drop)
            }
            Step::Reload => door.sql(&step.to_string(), "SELECT pg_reload_conf()").await.map(drop),
            Step::Restart { .. } => {
                let Configuration { data, server_config, programs, .. } = &self.configuration;
                Control { user: &door.user, data, server_config, programs }.restart().await
            }
            Step::Create | Step::Check | Step::Backup => Ok(()),
        }
    }

    /// Whole or not at all, for root and the system user alone: a passphrase may be in it.
    fn write_file(&self) -> Result<(), Error> {
        let user = &self.cluster.door.user;
        let Configuration { repo, run_folder, .. } = &self.configuration;
        user.make_folder(repo, FOLDER_MODE)?;
        if let Some(folder) = run_folder {
            for folder in [folder.clone(), folder.join("lock"), folder.join("log")] {
                user.make_folder(&folder, FOLDER_MODE)?;
            }
        }
        file::write(&self.wish.name.file, self.configuration.render().as_bytes(), Some(user))
    }
}

fn ensure_plain<const N: usize>(paths: [&PathBuf; N]) -> Result<(), Error> {
    match paths.into_iter().find(|path| !is_plain(path)) {
        Some(path) => Err(Error::Path { path: path.clone() }),
        None => Ok(()),
    }
}

/// A folder, or nothing yet.
fn ensure_folder(path: &Path) -> Result<(), Error> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Error::NoFolder { path: path.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::file("read", path, error)),
    }
}

async fn configuration(wish: &Wish, cluster: &Cluster, cipher_pass: Option<Zeroizing<String>>) -> Result<Configuration, Error> {
    let facts = &cluster.facts;
    let file = &wish.name.file;
    let half = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_euclid(2).clamp(1, PROCESSES_MAX));
    // Others on this host may have stanzas, too: theirs is what the package made.
    let run_folder = (file != Path::new(DEFAULT_FILE)).then(|| file.with_extension("run"));
    Ok(Configuration {
        stanza: wish.name.stanza.clone(),
        data: facts.data.clone(),
        port: facts.port,
        socket_folder: cluster.door.socket_folder.clone(),
        superuser: cluster.door.superuser.clone(),
        server_config: facts.server_config.clone(),
        programs: programs_of(&facts.data)?,
        repo: wish.repo.clone(),
        retention_full: wish.retention_full,
        retention_diff: wish.retention_diff,
        process_max: wish.process_max.unwrap_or_else(|| u32::try_from(half).unwrap_or(1)),
        compress: compression(cluster).await?,
        cipher_pass,
        run_folder,
    })
}

/// The best that this pgBackRest was built with.
async fn compression(cluster: &Cluster) -> Result<String, Error> {
    for kind in COMPRESSIONS {
        let mut command = cluster.door.user.command(installed()?, None);
        // Told to encode something that is not there, one that cannot says so before it looks.
        command.args([
            "--no-config",
            "--stanza=probe",
            &format!("--compress-type={kind}"),
            "--pg1-path=/",
            "archive-push",
            "--log-level-file=off",
        ]);
        let said = crate::program::output(command).await?;
        if !said.is_err_and(|said| said.text.contains("compress-type") || said.text.contains("compiled")) {
            return Ok(kind.to_owned());
        }
    }
    Ok("gz".to_owned())
}

fn passphrase(file: &Path) -> Result<Zeroizing<String>, Error> {
    let read = |error| Error::file("read", file, error);
    let mode = std::fs::metadata(file).map_err(read)?.mode() & 0o777;
    if mode & OTHERS_READ != 0 {
        return Err(Error::OpenPassphrase { path: file.to_owned(), mode });
    }
    let text = std::fs::read_to_string(file).map(Zeroizing::new).map_err(read)?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err(Error::NoPassphrase { path: file.to_owned() });
    }
    Ok(Zeroizing::new(line.to_owned()))
}

async fn act_on_repository(stanza: &Stanza, step: &Step) -> Result<(), Error> {
    let words: &[&str] = match step {
        Step::Create => &["stanza-create"],
        Step::Check => &["check"],
        Step::Backup => &["--type=full", "backup"],
        Step::Write { .. } | Step::Set { .. } | Step::Reload | Step::Restart { .. } => return Ok(()),
    };
    stanza.run(&step.to_string(), words).await.map(drop)
}
