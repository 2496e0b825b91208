//! `stead standby setup`: from an empty folder to a server that streams.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::Url;
use stead_store::{PostgresServers, ServerState};

use super::programs::{self, Programs, is_root, system_user};
use super::scram;
use crate::Outcome;
use crate::cli::StandbySetupArgs;
use crate::commands::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::record::{Place, read_password};

/// How long the new standby may take until it streams, in seconds: it replays what was written during the copy.
const STREAMING_SECONDS_MAX: u64 = 300;
/// From where the primary sees this machine; nothing for a socket.
const ADDRESS: &str = "SELECT host(inet_client_addr()) WHERE inet_client_addr() IS NOT NULL";
/// Whether it is asked through TLS.
const ENCRYPTED: &str = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";
/// Where Debian keeps what it knows of its clusters, and the variable that names another folder (`PgCommon.pm` of postgresql-common).
const CLUSTERS: &str = "/etc/postgresql";
const CLUSTERS_VARIABLE: &str = "PG_CLUSTER_CONF_ROOT";
/// Bytes of the password that is drawn for the role.
const PASSWORD_BYTES: usize = 32;

pub(super) async fn run(context: &Context, args: &StandbySetupArgs) -> Outcome {
    let password = args.password_file.as_deref().map(read_password).transpose()?;
    // What was typed is looked at as any record's URL.
    let Place::Postgres { url, .. } = Place::parse(&args.primary, true, None)? else {
        return Err(Failure::user("--primary takes postgres://ROLE@HOST/DATABASE"));
    };
    let failed = |error| Failure::of(FailureKind::Config, error);
    let primary = PostgresServers::parse(&url, password.as_ref().map(|password| password.as_str())).map_err(failed)?;
    let report = primary.report(0).await;
    let state = report.state.map_err(|reason| {
        Failure::new(FailureKind::Unreachable, format!("the primary {} does not answer: {reason}", report.host))
    })?;
    if state.standby {
        return Err(Failure::user(format!("{} is a standby itself; name the primary", report.host)));
    }
    let user = if is_root() { Some(system_user(&args.system_user)?) } else { None };
    let mut programs = Programs::find(args.bin_dir.as_deref(), Some(state.major), user)?;
    programs.pass_file = Some(beside(&args.data_dir, "pgpass"));
    let unanswered = |error| Failure::of(FailureKind::Unreachable, error);
    let from = |sql| primary.text(sql);
    let address = from(ADDRESS).await.map_err(unanswered)?;
    let encrypted = from(ENCRYPTED).await.map_err(unanswered)?.is_some();
    let setup = Setup { context, args, primary, state, programs, url, address, encrypted };
    if args.dry_run {
        context.print(&setup.plan())?;
        return Ok(ExitCode::Success);
    }
    setup.run().await
}

struct Setup<'a> {
    context: &'a Context,
    args: &'a StandbySetupArgs,
    primary: PostgresServers,
    state: ServerState,
    programs: Programs,
    url: String,
    /// Of this machine, as the primary sees it.
    address: Option<String>,
    encrypted: bool,
}

impl Setup<'_> {
    fn plan(&self) -> String {
        let StandbySetupArgs { role, name, data_dir, .. } = self.args;
        let data_dir = data_dir.display();
        let mut steps = vec![
            format!("on the primary: CREATE ROLE {role} LOGIN REPLICATION, with a password of its own"),
            format!("on the primary: SELECT pg_create_physical_replication_slot('{name}')"),
            format!("on the primary, in pg_hba.conf: {}", self.hba_line()),
            format!("pg_basebackup -R -X stream -S {name} -D {data_dir}"),
            "start the server, and wait until it streams".to_owned(),
        ];
        if self.args.replace {
            steps.insert(3, format!("move what is in {data_dir} aside"));
        }
        if self.args.synchronous {
            steps.push(format!("on the primary: ALTER SYSTEM SET synchronous_standby_names = '{name}'"));
        }
        steps.iter().map(|step| format!("{step}\n")).collect()
    }

    fn hba_line(&self) -> String {
        let role = &self.args.role;
        let Some(address) = &self.address else { return format!("local  replication  {role}  scram-sha-256") };
        let kind = if self.encrypted { "hostssl" } else { "host" };
        let bits = if address.contains(':') { 128 } else { 32 };
        format!("{kind}  replication  {role}  {address}/{bits}  scram-sha-256")
    }

    fn parameter(&self, wanted: &str) -> Option<String> {
        let url = Url::parse(&self.url).ok()?;
        url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    }

    fn host(&self) -> String {
        let host = || Url::parse(&self.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        self.parameter("host").or_else(host).unwrap_or_default()
    }

    /// How the standby reaches the primary.
    fn connection(&self) -> String {
        let port = self.parameter("port").or_else(|| Url::parse(&self.url).ok()?.port().map(|port| port.to_string()));
        let mut words = vec![
            format!("host={}", self.host()),
            format!("port={}", port.unwrap_or_else(|| "5432".to_owned())),
            format!("user={}", self.args.role),
            format!("application_name={}", self.args.name),
        ];
        for name in ["sslmode", "sslrootcert"] {
            words.extend(self.parameter(name).map(|value| format!("{name}={value}")));
        }
        words.join(" ")
    }

    async fn run(self) -> Outcome {
        if self.address.is_some() && !self.encrypted {
            self.context.say(
                "Warning: the way to the primary is not encrypted, and all of the record goes over it. Give --primary \
                 '...?sslmode=verify-full&sslrootcert=FILE'.",
            );
        }
        self.prepare_primary().await?;
        if self.is_copied() {
            self.context.say("The data directory is a copy of the primary already.");
        } else {
            self.copy().await?;
        }
        self.start()?;
        self.wait().await?;
        if self.args.synchronous {
            let name = &self.args.name;
            let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'");
            self.sql(&[set, "SELECT pg_reload_conf()".to_owned()]).await?;
            self.context.say(
                "Commits wait for this standby from now on: nothing acknowledged is lost when it is promoted, and nothing can be written \
                 while it is away (undo: ALTER SYSTEM RESET synchronous_standby_names).",
            );
        }
        self.context.say("It streams. Name both servers to the coordinators: --store postgres://ROLE@PRIMARY,STANDBY/DATABASE");
        self.context.print(&format!("{}\n", self.args.name))?;
        Ok(ExitCode::Success)
    }

    async fn sql(&self, statements: &[String]) -> Result<(), Failure> {
        self.primary.run(statements).await.map_err(|error| {
            let list = statements.iter().filter(|statement| !statement.contains("PASSWORD")).cloned().collect::<Vec<_>>();
            Failure::of(FailureKind::Refused, error)
                .hint(format!("Let a superuser of the primary do it, and run this again: {}", list.join("; ")))
        })
    }

    /// The role, its password in a private file, and the slot. What is there stays.
    async fn prepare_primary(&self) -> Result<(), Failure> {
        let StandbySetupArgs { role, name, .. } = self.args;
        let file = beside(&self.args.data_dir, "pgpass");
        if !file.exists() {
            let (mut drawn, mut salt) = ([0_u8; PASSWORD_BYTES], [0_u8; scram::SALT_BYTES]);
            let filled = getrandom::fill(&mut drawn).and_then(|()| getrandom::fill(&mut salt));
            filled.map_err(|error| Failure::internal(error.to_string()))?;
            let password: String = drawn.iter().map(|byte| format!("{byte:02x}")).collect();
            self.sql(&[
                format!(
                    "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role}; END IF; END $$"
                ),
                // The primary may log its statements: it gets what it would keep, and not the password.
                format!("ALTER ROLE {role} LOGIN REPLICATION PASSWORD '{}'", scram::verifier(&password, salt)?),
            ])
            .await?;
            self.write_private(&file, &format!("*:*:*:{role}:{password}\n"))?;
        }
        self.sql(&[format!(
            "SELECT pg_create_physical_replication_slot('{name}', true) \
             WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{name}')"
        )])
        .await?;
        let line = self.hba_line();
        let hba = self.primary.text("SELECT current_setting('hba_file')").await.ok().flatten().map(PathBuf::from);
        match hba.filter(|file| self.args.write_hba && file.exists()) {
            Some(file) => {
                let failed = |error: std::io::Error| Failure::new(FailureKind::Config, format!("{}: {error}", file.display()));
                let text = fs::read_to_string(&file).map_err(failed)?;
                if !text.lines().any(|present| present == line) {
                    // The first line that fits counts.
                    fs::write(&file, format!("{line}\n{text}")).map_err(failed)?;
                }
                self.sql(&["SELECT pg_reload_conf()".to_owned()]).await?;
            }
            None => self.context.say(&format!("The primary's pg_hba.conf needs a line such as: {line}")),
        }
        Ok(())
    }

    fn write_private(&self, file: &Path, text: &str) -> Result<(), Failure> {
        crate::private_file::write(file, text.as_bytes()).map_err(|error| Failure::of(FailureKind::Config, error))?;
        self.give(file)
    }

    /// To PostgreSQL's user.
    fn give(&self, path: &Path) -> Result<(), Failure> {
        let Some((user, group)) = self.programs.user else { return Ok(()) };
        chown(path, Some(user), Some(group))
            .map_err(|error| Failure::new(FailureKind::Config, format!("{}: {error}", path.display())))
    }

    /// Whether an earlier run has come as far as a whole copy.
    fn is_copied(&self) -> bool {
        let data_dir = &self.args.data_dir;
        let settings = fs::read_to_string(data_dir.join("postgresql.auto.conf")).unwrap_or_default();
        let ours = settings.contains(&format!("application_name={}", self.args.name));
        ours && data_dir.join("standby.signal").exists() && !beside(data_dir, "setup").exists()
    }

    async fn copy(&self) -> Result<(), Failure> {
        let data_dir = &self.args.data_dir;
        let failed = |error: std::io::Error| Failure::new(FailureKind::Config, format!("{}: {error}", data_dir.display()));
        let begun = beside(data_dir, "setup");
        let full = fs::read_dir(data_dir).is_ok_and(|mut entries| entries.next().is_some());
        if full && data_dir.join("postmaster.pid").exists() && !begun.exists() {
            return Err(Failure::refused(format!("a server runs on {}; stop it first", data_dir.display())));
        }
        if full && begun.exists() {
            // Half a copy of an earlier run, and nothing else: the mark says so.
            fs::remove_dir_all(data_dir).map_err(failed)?;
        } else if full && self.args.replace {
            let aside = beside(data_dir, &format!("old-{}", jiff::Timestamp::now().as_second()));
            fs::rename(data_dir, &aside).map_err(failed)?;
            self.context.say(&format!("What was there is in {} now.", aside.display()));
        } else if full {
            return Err(Failure::refused(format!("{} is not empty", data_dir.display()))
                .hint("Name another --data-dir, or give --replace, which moves what is there aside."));
        }
        fs::create_dir_all(data_dir).map_err(failed)?;
        fs::set_permissions(data_dir, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        self.give(data_dir)?;
        fs::write(&begun, "a copy is being made\n").map_err(failed)?;
        self.context.say("copying the primary ...");
        let folder = data_dir.to_string_lossy();
        let words = ["-D", &folder, "-R", "-X", "stream", "-S", &self.args.name, "--checkpoint=fast", "--no-password"];
        let copied = self.programs.run("pg_basebackup", &[&words[..], &["-d", &self.connection()]].concat());
        copied.map_err(|failure| failure.hint(format!("The primary's pg_hba.conf needs a line such as: {}", self.hba_line())))?;
        let conf = data_dir.join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&conf).map_err(failed)?;
        for setting in &self.args.settings {
            let Some((name, value)) = setting.split_once('=') else {
                return Err(Failure::user(format!("--set {setting}: NAME=VALUE is meant")));
            };
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        fs::write(&conf, text).map_err(failed)?;
        fs::remove_file(&begun).map_err(failed)
    }

    /// Starts it by Debian's cluster where there is one on this data, else by `pg_ctl`.
    fn start(&self) -> Result<(), Failure> {
        let data_dir = self.args.data_dir.to_string_lossy();
        if self.programs.run("pg_ctl", &["status", "-D", &data_dir]).is_ok() {
            return Ok(());
        }
        self.context.say("starting the standby ...");
        if let Some((version, cluster)) = debian_cluster(&self.args.data_dir) {
            let mut command = std::process::Command::new("pg_ctlcluster");
            command.args([&version, &cluster, "start"]);
            return programs::finish(command, &format!("pg_ctlcluster {version} {cluster} start")).map(|_| ());
        }
        let log = self.args.data_dir.join("standby.log");
        let words = ["start", "-W", "-D", &data_dir, "-l", &log.to_string_lossy()];
        self.programs.run("pg_ctl", &words).map(|_| ())
    }

    async fn wait(&self) -> Result<(), Failure> {
        let limit = Instant::now() + Duration::from_secs(STREAMING_SECONDS_MAX);
        loop {
            let state = self.primary.report(0).await.state;
            let streams = state.is_ok_and(|state| {
                state.slots.iter().any(|slot| slot.name == self.args.name && slot.active)
                    && state.replicas.iter().any(|replica| replica.name == self.args.name && replica.state == "streaming")
            });
            if streams {
                return Ok(());
            }
            if Instant::now() > limit {
                return Err(Failure::new(
                    FailureKind::Timeout,
                    format!("the standby does not stream after {STREAMING_SECONDS_MAX} s (timeline {})", self.state.timeline),
                )
                .hint("See its log; then run this again, it goes on where it was."));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// A file beside a folder, such as `main.pgpass` beside `main`.
fn beside(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{ending}"));
    folder.with_file_name(name)
}

/// Debian's version and name of the cluster on some data, where there is one.
fn debian_cluster(data_dir: &Path) -> Option<(String, String)> {
    let clusters = std::env::var_os(CLUSTERS_VARIABLE).map_or_else(|| PathBuf::from(CLUSTERS), PathBuf::from);
    let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    for version in fs::read_dir(clusters).ok()?.flatten() {
        for cluster in fs::read_dir(version.path()).into_iter().flatten().flatten() {
            let conf = fs::read_to_string(cluster.path().join("postgresql.conf")).unwrap_or_default();
            let named = conf.lines().find_map(|line| line.trim().strip_prefix("data_directory"));
            let named = named.and_then(|rest| rest.split('\'').nth(1));
            if named.is_some_and(|named| whole(Path::new(named)) == whole(data_dir)) {
                let text = |name: std::ffi::OsString| name.to_string_lossy().into_owned();
                return Some((text(version.file_name()), text(cluster.file_name())));
            }
        }
    }
    None
}
