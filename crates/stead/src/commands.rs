//! What each command does, one module a command; and what all of them start with.

mod apply;
mod approve;
mod backup;
pub(crate) mod change_export;
mod completion;
pub(crate) mod condition;
mod config_show;
pub(crate) mod credential;
mod delete;
mod deny;
mod describe;
mod diff;
mod get;
pub(crate) mod label;
mod log;
mod login;
mod man;
mod outbox;
mod physical;
mod plan;
mod plugin;
mod propose;
mod question;
mod restore;
mod show;
mod sign;
mod standby;
mod status;
mod store;
mod submit;
mod ticket;
mod top;
mod trust_fresh;
mod trust_init;
mod trust_rotate;
mod trust_show;
mod trust_sign;
mod trust_submit;
mod undo;
mod version;
pub(crate) mod wait;
mod watch;
mod withdraw;

use std::io::Write as _;
use std::sync::Arc;

use crate::cli::{ChangeCommand, Cli, Command, ConfigCommand, PluginCommand, TicketCommand, TrustCommand};
use crate::config::Settings;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::trace::TraceMetrics;
use crate::{Outcome, logging, trace};

/// What every command has.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) terminal: Terminal,
    pub(crate) traces: Arc<TraceMetrics>,
}

impl Context {
    /// Prints to standard output. A reader that has gone (`stead get | head`) ends the program without a word.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        print(text)
    }

    /// Prints what is for people, on standard error, so that standard output stays for programs.
    pub(crate) fn say(&self, text: &str) {
        eprintln!("{text}");
    }
}

/// Prints to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        outcome => outcome.map_err(|error| Failure::internal(format!("standard output cannot be written: {error}"))),
    }
}

/// Does what was typed.
pub(crate) fn run(cli: Cli, terminal: Terminal) -> Outcome {
    // These need no settings, and must work where the settings are wrong.
    match &cli.command {
        Command::Completion(args) => return completion::run(args),
        Command::Man(args) => return man::run(args),
        Command::Version => return version::run(),
        Command::Plugin(PluginCommand::Install(args)) => return plugin::install(args),
        _ => {}
    }
    let settings = Settings::load(&cli.settings)?;
    let daemon = matches!(cli.command, Command::Coordinator(_) | Command::Agent(_));
    let service = match &cli.command {
        Command::Coordinator(_) => "stead-coordinator",
        Command::Agent(_) => "stead-agent",
        _ => "stead",
    };
    let counted = Arc::default();
    let (collecting, exporting) = trace::open(&settings, service, &counted)?.unzip();
    logging::start(&settings, terminal, daemon, collecting)?;
    let context = Context { settings, terminal, traces: counted };
    // A coordinator uses every core; all else has one thing to do at a time, and an agent should be small.
    let mut builder = match &cli.command {
        Command::Coordinator(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|error| Failure::internal(format!("the runtime cannot start: {error}")))?;
    runtime.block_on(async {
        let exporting = exporting.map(trace::Exporting::start);
        let outcome = dispatch(&context, cli.command).await;
        if let Some(exporting) = exporting {
            exporting.finish().await;
        }
        outcome
    })
}

async fn dispatch(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Coordinator(args) => crate::coordinator::run(context, args).await,
        Command::Agent(args) => crate::agent::run(context, args).await,
        Command::Dev(args) => crate::dev::run(context, args).await,
        Command::Login(args) => login::run(context, args).await,
        Command::Credential => credential::run(context).await,
        Command::Get(args) => get::run(context, args).await,
        Command::Status => status::run(context).await,
        Command::Top(args) => top::run(context, args).await,
        Command::Describe(args) => describe::run(context, args).await,
        Command::Watch(args) => watch::run(context, args).await,
        Command::Wait(args) => wait::run(context, args).await,
        Command::Apply(args) => apply::run(context, args).await,
        Command::Diff(args) => diff::run(context, args).await,
        Command::Log(args) => log::run(context, args).await,
        Command::Show(args) => show::run(context, args).await,
        Command::Undo(args) => undo::run(context, args).await,
        Command::Propose(args) => propose::run(context, args).await,
        Command::Sign(args) => sign::run(context, args).await,
        Command::Submit(args) => submit::run(context, args).await,
        Command::Withdraw(args) => withdraw::run(context, args).await,
        Command::Proxy(args) => crate::proxy::run(context, args).await,
        Command::Delete(args) => delete::run(context, args).await,
        Command::Outbox(command) => outbox::run(context, command).await,
        Command::Approve(args) => approve::run(context, args).await,
        Command::Deny(args) => deny::run(context, args).await,
        Command::Ticket(TicketCommand::Create(args)) => ticket::run(context, args).await,
        Command::Change(ChangeCommand::Export(args)) => change_export::run(context, args).await,
        Command::Trust(TrustCommand::Init(args)) => trust_init::run(context, args),
        Command::Trust(TrustCommand::Show(args)) => trust_show::run(context, args).await,
        Command::Trust(TrustCommand::Rotate(args)) => trust_rotate::run(context, args).await,
        Command::Trust(TrustCommand::Fresh) => trust_fresh::run(context).await,
        Command::Trust(TrustCommand::Sign(args)) => trust_sign::run(context, args),
        Command::Trust(TrustCommand::Submit(args)) => trust_submit::run(context, args).await,
        Command::Standby(command) => standby::run(context, command).await,
        Command::Store(command) => store::run(context, command).await,
        Command::Backup(args) => backup::run(context, args).await,
        Command::Restore(args) => restore::run(context, args).await,
        Command::Config(ConfigCommand::Show { origin }) => config_show::run(context, origin),
        // Done before the settings were read.
        Command::Completion(_) | Command::Man(_) | Command::Version | Command::Plugin(_) => Ok(ExitCode::Success),
    }
}
