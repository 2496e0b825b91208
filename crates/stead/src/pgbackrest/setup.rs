//! `stead backup setup`: what the plan says is done, step by step; done again, it goes on where it was.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::check;
use super::cluster::Cluster;
use super::configuration::{Configuration, DEFAULT_FILE, OURS, is_plain};
use super::info::Info;
use super::plan::{self, Refusal, Step};
use super::program::file_failure;
use super::server::{Control, programs_of};
use super::stanza::{Stanza, installed};
use crate::Outcome;
use crate::cli::{BackupCheckArgs, BackupSetupArgs, StanzaFlags};
use crate::commands::Context;
use crate::duration::Span;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::record::Place;

/// Processes at most, where nobody says how many.
const PROCESSES_MAX: usize = 4;
/// Compressions, the best first: as fast as the disk, and a good third smaller than the next.
const COMPRESSIONS: [&str; 3] = ["zst", "lz4", "gz"];

pub(crate) async fn setup(context: &Context, args: BackupSetupArgs) -> Outcome {
    if args.check {
        return check(context, &check_defaults(args.stanza)).await;
    }
    let cluster = Cluster::find(&Place::of(&context.settings)?, args.superuser.as_deref()).await?;
    let pgbackrest = installed()?;
    let configuration = configuration(&args, &cluster).await?;
    let command = format!(
        "{} --config={} --stanza={} archive-push %p",
        pgbackrest.display(),
        args.stanza.pgbackrest_config.display(),
        args.stanza.stanza
    );
    let setting = Setting { context, args: &args, cluster: &cluster, configuration: &configuration };
    let mut steps: Vec<Step> = setting.write().await?.into_iter().collect();
    steps.extend(plan::server(&cluster.facts, &command, args.replace).map_err(refused)?);
    if args.dry_run {
        steps.extend(plan::repository(&setting.info_before(steps.first()).await?));
        return setting.tell(&steps);
    }
    let mut done = 0_usize;
    for step in &steps {
        setting.act(step).await?;
        done = done.saturating_add(1);
    }
    let stanza = Stanza::get(&args.stanza)?;
    for step in &plan::repository(&stanza.info().await?) {
        context.say(&format!("{step} ..."));
        act_on_repository(&stanza, step).await?;
        done = done.saturating_add(1);
    }
    if done == 0 {
        context.print("Everything is set up; nothing was changed.\n")?;
    } else {
        context.print(&next(&stanza))?;
    }
    Ok(ExitCode::Success)
}

fn check_defaults(stanza: StanzaFlags) -> BackupCheckArgs {
    BackupCheckArgs {
        stanza,
        timeout: Span::from_seconds(check::TIMEOUT_SECONDS),
        max_age: Span::from_seconds(check::AGE_SECONDS_MAX),
    }
}

fn next(stanza: &Stanza) -> String {
    format!(
        "Set up: backups and archive are in {}.\n\nWhat to do next:\n\
         1. Let it run by itself, such as from cron: `stead backup --type full` every week, `stead backup --type diff` every day.\n\
         2. Watch it: `stead backup check` ends with 0 while everything is whole.\n\
         3. Prove it from time to time: `stead backup verify`.\n",
        stanza.repo.display()
    )
}

fn refused(refusal: Refusal) -> Failure {
    let hint = match &refusal {
        Refusal::Command(_) | Refusal::Library(_) => Some(
            "Nothing was changed. Whoever relies on that archive loses it with --replace; what is in it already stays as it is.",
        ),
        _ => None,
    };
    hint.into_iter().fold(Failure::of(FailureKind::Refused, refusal), |failure, hint| failure.hint(hint))
}

async fn configuration(args: &BackupSetupArgs, cluster: &Cluster) -> Result<Configuration, Failure> {
    let facts = &cluster.facts;
    let file = &args.stanza.pgbackrest_config;
    let name = &args.stanza.stanza;
    if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_') {
        return Err(Failure::user(format!("{name:?} is no name for a stanza: take letters, digits, - and _")));
    }
    for path in [file, &args.repo, &facts.data, &facts.server_config] {
        if !is_plain(path) {
            return Err(Failure::user(format!(
                "{} cannot be told to pgBackRest and to the server: a whole path of letters, digits and ._-+ can",
                path.display()
            )));
        }
    }
    let cipher_pass = args.cipher_pass_file.as_deref().map(passphrase).transpose()?;
    let half = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_euclid(2).clamp(1, PROCESSES_MAX));
    // Others on this host may have stanzas, too: theirs is what the package made.
    let run_folder = (file != Path::new(DEFAULT_FILE)).then(|| file.with_extension("run"));
    Ok(Configuration {
        stanza: name.clone(),
        data: facts.data.clone(),
        port: facts.port,
        socket_folder: cluster.door.socket_folder.clone(),
        superuser: cluster.door.superuser.clone(),
        server_config: facts.server_config.clone(),
        programs: programs_of(&facts.data)?,
        repo: args.repo.clone(),
        retention_full: args.retention_full,
        retention_diff: args.retention_diff,
        process_max: args.process_max.unwrap_or_else(|| u32::try_from(half).unwrap_or(1)),
        compress: compression(cluster).await?,
        cipher_pass,
        run_folder,
    })
}

/// The best that this pgBackRest was built with.
async fn compression(cluster: &Cluster) -> Result<String, Failure> {
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
        let said = super::program::output(command).await?;
        if !said.is_err_and(|said| said.text.contains("compress-type") || said.text.contains("compiled")) {
            return Ok(kind.to_owned());
        }
    }
    Ok("gz".to_owned())
}

fn passphrase(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| file_failure("read", file, &error))?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err(Failure::user(format!("{} has no passphrase in its first line", file.display()))
            .hint("Make one: openssl rand -base64 48."));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

struct Setting<'a> {
    context: &'a Context,
    args: &'a BackupSetupArgs,
    cluster: &'a Cluster,
    configuration: &'a Configuration,
}

impl Setting<'_> {
    /// Whether the file has to be written.
    async fn write(&self) -> Result<Option<Step>, Failure> {
        let file = &self.args.stanza.pgbackrest_config;
        match std::fs::read_to_string(file).map(Zeroizing::new) {
            Ok(text) if *text == *self.configuration.render() => Ok(None),
            Ok(text) if text.starts_with(OURS) || self.args.replace => Ok(Some(Step::Write { there: true })),
            Ok(_) => Err(Failure::refused(format!("{} is there, and `stead backup setup` has not written it", file.display()))
                .hint("Nothing was changed. Name another file with --pgbackrest-config, or give --replace.")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(Step::Write { there: false })),
            Err(error) => Err(file_failure("read", file, &error)),
        }
    }

    /// What is in the repository, as far as that can be asked before anything is written.
    async fn info_before(&self, first: Option<&Step>) -> Result<Info, Failure> {
        if matches!(first, Some(Step::Write { .. })) {
            return Info::parse("[]", &self.args.stanza.stanza).map_err(Failure::internal);
        }
        Stanza::get(&self.args.stanza)?.info().await
    }

    fn tell(&self, steps: &[Step]) -> Outcome {
        if steps.is_empty() {
            self.context.print("Everything is set up; nothing would be changed.\n")?;
            return Ok(ExitCode::Success);
        }
        let mut text = "This would be done:\n".to_owned();
        for step in steps {
            text.push_str(&format!("- {step}\n"));
            match step {
                Step::Write { .. } => {
                    let shown = self.configuration.render();
                    text.push_str(&format!("  in {}:\n", self.args.stanza.pgbackrest_config.display()));
                    for line in shown.lines().filter(|line| !line.starts_with("repo1-cipher-pass=")) {
                        text.push_str(&format!("    {line}\n"));
                    }
                }
                Step::Restart { .. } if !self.args.restart => text.push_str("  with --restart; without it, only up to here\n"),
                _ => {}
            }
        }
        self.context.print(&text)?;
        Ok(ExitCode::Changed)
    }

    async fn act(&self, step: &Step) -> Result<(), Failure> {
        let door = &self.cluster.door;
        if let Step::Restart { for_what } = step
            && !self.args.restart
        {
            return Err(Failure::refused(format!(
                "the server has to be restarted, for {for_what}; until then nothing is archived"
            ))
            .hint("Give --restart, or restart it and run this again: it goes on from here."));
        }
        self.context.say(&format!("{step} ..."));
        match step {
            Step::Write { .. } => self.write_file(),
            Step::Set { name, to, .. } => {
                let sql = format!("ALTER SYSTEM SET {name} = '{}'", to.replace('\'', "''"));
                door.sql(&step.to_string(), &sql).await.map(drop)
            }
            Step::Reload => door.sql(&step.to_string(), "SELECT pg_reload_conf()").await.map(drop),
            Step::Restart { .. } => {
                let Configuration { data, server_config, programs, .. } = self.configuration;
                Control { user: &door.user, data, server_config, programs }.restart().await
            }
            Step::Create | Step::Check | Step::Backup => Ok(()),
        }
    }

    /// Whole or not at all, for root and the system user alone: a passphrase may be in it.
    fn write_file(&self) -> Result<(), Failure> {
        let user = &self.cluster.door.user;
        let Configuration { repo, run_folder, .. } = self.configuration;
        user.make_folder(repo, 0o750)?;
        if let Some(folder) = run_folder {
            for folder in [folder.clone(), folder.join("lock"), folder.join("log")] {
                user.make_folder(&folder, 0o750)?;
            }
        }
        let file = &self.args.stanza.pgbackrest_config;
        let failed = |error: std::io::Error| file_failure("write", file, &error);
        let folder = file.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let new = file.with_extension("new");
        crate::private_file::write(&new, self.configuration.render().as_bytes())
            .map_err(|error| Failure::of(FailureKind::Config, error))?;
        user.give(&new)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        std::fs::rename(&new, file).map_err(failed)
    }
}

async fn act_on_repository(stanza: &Stanza, step: &Step) -> Result<(), Failure> {
    let words: &[&str] = match step {
        Step::Create => &["stanza-create"],
        Step::Check => &["check"],
        Step::Backup => &["--type=full", "backup"],
        Step::Write { .. } | Step::Set { .. } | Step::Reload | Step::Restart { .. } => return Ok(()),
    };
    stanza.run(&step.to_string(), words).await.map(drop)
}
