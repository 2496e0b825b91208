//! The command line: one tree, from which the parser, the help, the manual pages and the completions come.

mod backup;
mod change;
mod history;
mod objects;
mod outbox;
mod pgbackrest;
mod proposal;
mod restore;
mod standby;
mod store;
mod top;
mod trust;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use self::backup::{BackupArgs, BackupCommand, BackupListArgs, BackupTakeArgs, BackupVerifyArgs};
pub(crate) use self::change::{
    ApplyArgs, ApproveArgs, ChangeCommand, ChangeExportArgs, Conditions, DeleteArgs, DenyArgs, DiffArgs, Files,
};
pub(crate) use self::change::{Signing, TicketCommand, TicketCreateArgs};
pub(crate) use self::history::{LogArgs, ShowArgs, UndoArgs};
pub(crate) use self::objects::{DescribeArgs, GetArgs, Scope, WaitArgs, WatchArgs};
pub(crate) use self::outbox::{OutboxCommand, OutboxDropArgs, OutboxFetchArgs, OutboxSendArgs, OutboxShowArgs, OutboxSignArgs};
pub(crate) use self::pgbackrest::{BackupCheckArgs, BackupSetupArgs, BackupType, StanzaFlags, WayFlags};
pub(crate) use self::proposal::{ProposeArgs, SignArgs, SubmitArgs, WithdrawArgs};
pub(crate) use self::restore::{RestoreArgs, RestoreCommand, RestoreOptions};
pub(crate) use self::standby::{StandbyCommand, StandbyPromoteArgs, StandbySetupArgs};
pub(crate) use self::store::{StoreCommand, StoreMigrateArgs};
pub(crate) use self::top::{Column as TopColumn, TopArgs};
pub(crate) use self::trust::{TrustCommand, TrustInitArgs, TrustRotateArgs, TrustShowArgs, TrustSignArgs, TrustSubmitArgs};
use crate::agent::AgentArgs;
use crate::config::SettingFlags;
use crate::coordinator::CoordinatorArgs;
use crate::dev::DevArgs;
use crate::exit_code::help_table;
use crate::failure::Failure;
use crate::proxy::ProxyArgs;

/// Keeps a fleet of machines as its owners signed it.
#[derive(Debug, Parser)]
#[command(
    name = "stead",
    version,
    about = "Keeps a fleet of machines as its owners signed it",
    long_about = "Stead turns bare machines into a fleet you can trust: a machine does what its owners signed with their SSH keys, and \
                  nothing else. A coordinator passes the signed changes on and shows what became of them.\n\n\
                  First steps, on any machine that has your SSH key:\n  \
                  stead login --server https://HOST:6443 --ca-file FILE    once\n  \
                  stead get machines                                       who is there\n  \
                  stead diff -f web.yaml                                   what would change, machine by machine\n  \
                  stead apply -f web.yaml -m 'a banner'                    sign it and send it\n  \
                  stead wait machine/web-1 --for condition=Converged       until it has happened",
    after_long_help = help_table(),
    disable_help_subcommand = true,
    propagate_version = true,
    arg_required_else_help = true,
    subcommand_required = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a coordinator: the record, the API, and the machines' way to it
    #[command(
        long_about = "Run a coordinator.\n\nAt the first start it needs the trust root that its owners made:\n  stead coordinator \
                            --print-key\n  stead trust init --key ~/.ssh/id_ed25519 --online KEY --out fleet/\n  stead coordinator \
                            --trust-root fleet/root.json --name HOST"
    )]
    Coordinator(CoordinatorArgs),
    /// Run the agent of this machine
    #[command(
        long_about = "Run the agent of this machine: it keeps the machine as its owners signed it.\n\nOnce, with a ticket from `stead \
                            ticket create`:\n  stead agent --join TICKET\nFrom then on:\n  stead agent"
    )]
    Agent(AgentArgs),
    /// Run a coordinator and some machines in this terminal, to try things out
    Dev(DevArgs),
    /// Log in with an SSH key, and write the kubectl context that uses it
    Login(LoginArgs),
    /// Print a token for kubectl (kubectl runs this by itself)
    #[command(hide = true)]
    Credential,
    /// List objects
    #[command(
        long_about = "List objects, or show one.\n\nExamples:\n  stead get machines\n  stead get profile web -o yaml\n  stead get \
                            machines -l role=web -o wide"
    )]
    Get(GetArgs),
    /// Show how the coordinator is doing: machines, ports, and whom it turned away and why
    Status,
    /// Show live how each machine is doing: state, arrears, load, memory, disk, clock, agent
    #[command(
        long_about = "Show live how each machine is doing, trouble first: how it stands and for how long, when it was last heard, how many \
                            objects it has yet to acknowledge, load of each processor, memory and disk in use, temperature, how far its \
                            clock is off, updates pending, and which agent it runs. Press h for the keys. Where the output is no terminal \
                            it prints the machines once.\n\nExamples:\n  stead top\n  stead top -l role=web --sort load\n  stead top \
                            --once --filter silent\n  stead top -o json\n\nThe same numbers are there for Prometheus at /metrics/machines."
    )]
    Top(TopArgs),
    /// Show one object with all that is known of it: conditions, units, events
    Describe(DescribeArgs),
    /// Follow objects as they change, until Ctrl-C
    Watch(WatchArgs),
    /// Wait until something is true of objects
    #[command(
        long_about = "Wait until something is true of objects. What goes wrong meanwhile is said once, on standard error: the units \
                            of machines that fail, also those of a profile's machines; and who waits in vain is told what was in the way.\n\n\
                            Examples:\n  stead wait machine/web-1 --for condition=Converged\n  \
                            stead wait machines -l role=web --for condition=Ready --timeout 10m\n  \
                            stead wait profile/old --for delete\n  stead wait enrollment/0123456789abcdef --for status.phase=Approved"
    )]
    Wait(WaitArgs),
    /// Sign manifests as one change, and send it
    #[command(
        long_about = "Read manifests (YAML or JSON), sign all objects in them as one change, and send it. The change is applied whole \
                            or not at all. Objects that are already so are left out. A manifest whose metadata has a resourceVersion is \
                            meant for that state of its object, and refused for any other.\n\nExamples:\n  stead apply -f web.yaml -m 'a \
                            banner'\n  stead apply -f fleet/ --dry-run\n  stead apply -f fleet/ -R --set fleet --prune    the folder as it \
                            is, and nothing else of that set\n  stead apply -f web.yaml --if-sequence profile/base=4\n  cat web.yaml | \
                            stead apply -f -"
    )]
    Apply(ApplyArgs),
    /// Show what manifests would change, and the steps each machine would take
    Diff(DiffArgs),
    /// Sign manifests as one change, and let it wait for the signatures of others
    #[command(
        long_about = "Sign manifests as one change that waits for the signatures of others. When the last one that is missing has come, the \
                            change is admitted at once; it expires when they take too long.\n\nExamples:\n  stead propose -f web.yaml -m 'a \
                            banner' --expires 2d\n  stead propose --delete profile/old\n  stead propose --again 01k9zq3v    overtaken: look at \
                            the differences, and propose it anew\n  stead propose -f web.yaml --out change.json    for people without a \
                            connection: stead sign --file change.json, then stead submit change.json"
    )]
    Propose(ProposeArgs),
    /// Look at a proposal, and add your signature to it
    #[command(
        long_about = "Show what a proposal does, and add your signature to it. Nothing is signed for a coordinator's word: the statement is \
                            read here, its tree is computed anew from the objects, and those are what is shown.\n\nExamples:\n  stead sign \
                            01k9zq3v\n  stead sign 01k9zq3v --yes\n  stead sign --file change.json"
    )]
    Sign(SignArgs),
    /// Send a change that was signed in a file
    Submit(SubmitArgs),
    /// Take a proposal back
    Withdraw(WithdrawArgs),
    /// Sign the deletion of objects, and send it
    Delete(DeleteArgs),
    /// Changes that were signed while no coordinator answered, and wait here
    #[command(
        subcommand,
        long_about = "Changes that were signed while no coordinator answered. They wait on this disk, in order, and are sent by the next command \
                            that reaches a coordinator; each arrives once, however often it is tried. One that others overtook meanwhile waits \
                            for you: look at both sides, and sign it again on top of theirs. None is ever dropped by \
                            itself.\n\nExamples:\n  stead outbox list\n  stead outbox show 01k9zq3v    with a three-way difference where others came \
                            between\n  stead outbox send --wait      until a coordinator answers\n  stead outbox sign 01k9zq3v\n  stead outbox \
                            fetch profiles       so that they can be changed while nobody answers"
    )]
    Outbox(OutboxCommand),
    /// List changes, newest first: who changed what, when, and why
    #[command(
        long_about = "List changes, newest first: who changed what, when, and why.\n\nExamples:\n  stead log -n 20\n  stead log profile \
                            web\n  stead log --author carol --since 7d\n  stead log --grep banner -o json"
    )]
    Log(LogArgs),
    /// Show a change: who made it and why, what it changed, whose signatures it has, which machines have it
    #[command(
        long_about = "Show a change: who made it and why, what it changed of each object, whose signatures it has, and which machines \
                            have it. Everything that is signed is checked here, the machines' acknowledgements too; the coordinator's \
                            word counts for nothing. A machine that is said to have it, and whose word does not hold, is \
                            `claimed`.\n\nExamples:\n  stead show latest\n  stead show rev:120\n  stead show 01k9zq3v"
    )]
    Show(ShowArgs),
    /// Take a change back, with a new change that does the opposite
    #[command(
        long_about = "Take a change back, with a new change that does the opposite: objects get back what was signed of them before, \
                            what the change created goes, what it deleted comes again. It is signed with your key, and can itself be undone. \
                            Where an object was changed since, nothing happens but that the differences are shown, unless --force is \
                            given.\n\nExamples:\n  stead undo latest --dry-run\n  stead undo 01k9zq3v -m 'the banner was wrong'"
    )]
    Undo(UndoArgs),
    /// Let machines join that ask to; without arguments, list them
    Approve(ApproveArgs),
    /// Refuse machines that ask to join
    Deny(DenyArgs),
    /// Make tickets, with which machines find the coordinator and ask to join
    #[command(subcommand)]
    Ticket(TicketCommand),
    /// Export signed changes for `ssh-keygen -Y verify`
    #[command(subcommand)]
    Change(ChangeCommand),
    /// The trust root: whose keys may say what
    #[command(subcommand)]
    Trust(TrustCommand),
    /// The record's database: move it to another, prove that two are the same
    #[command(subcommand)]
    Store(StoreCommand),
    /// Standbys of the record's PostgreSQL server: set one up, watch them, promote one
    #[command(subcommand)]
    Standby(StandbyCommand),
    /// Take a backup of the record while coordinators run; list backups, prove that they are good
    #[command(
        long_about = "Take a backup of the record, while coordinators run and write: a folder of its own with the whole record in one file, \
                            from which `stead restore` makes it again in SQLite or in PostgreSQL, and a manifest that says what is in \
                            it. It is checked before it takes its name, so that half a backup is never taken for a whole \
                            one.\n\nExamples:\n  stead backup --to /mnt/backups --keep 14\n  stead backup --to /mnt/backups --store \
                            postgres://stead@db.example.org/fleet\n  stead backup list /mnt/backups\n  stead backup verify /mnt/backups"
    )]
    Backup(BackupArgs),
    /// Make the record again from a backup, while no coordinator runs
    #[command(
        long_about = "Make the record again from a backup, while no coordinator runs. What was there is moved aside, never destroyed. The \
                            record begins anew: whoever watched lists again, and machines give back what owners signed after the \
                            backup.\n\nExamples:\n  stead restore --from /mnt/backups                     the newest one\n  stead restore \
                            --from /mnt/backups --at 2h            as it was two hours ago\n  stead restore --from \
                            /mnt/backups/stead-backup-20260131T120000Z-4711 --store postgres://stead@db.example.org/fleet"
    )]
    Restore(RestoreArgs),
    /// The settings of this command line
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Serve kubectl and other clients here, and sign what they write with your key
    #[command(
        long_about = "Serve the coordinator's API on this machine, over your login, and sign what passes with your key: a write of what owners \
                            must sign becomes a signed change of its own; all else passes as it is. Only who can read the kubeconfig that it \
                            writes gets in.\n\nExamples:\n  stead proxy\n  KUBECONFIG=~/.cache/stead/proxy.kubeconfig kubectl edit profile \
                            web\n  stead proxy --confirm    ask here before each change\n\nServer-side apply and the deletion of many at once \
                            are not signed: use client-side apply, and `stead delete -l`."
    )]
    Proxy(ProxyArgs),
    /// Make `kubectl stead` work
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print a script that completes commands on the tab key
    #[command(long_about = "Print a script that completes commands on the tab key.\n\nFor bash: stead completion bash > \
                            ~/.local/share/bash-completion/completions/stead")]
    Completion(CompletionArgs),
    /// Print the manual page, or write the pages of all commands to a folder
    Man(ManArgs),
    /// Print the version
    Version,
}

/// `stead login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The kubeconfig to write the context `stead` to; other contexts in it stay. Default: $KUBECONFIG, else ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Leave the kubeconfig alone
    #[arg(long, conflicts_with = "kubeconfig")]
    pub(crate) no_kubeconfig: bool,
}

/// `stead plugin`.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Make the links by which kubectl finds this program as its plugin
    #[command(
        long_about = "Make the links kubectl-stead and kubectl_complete-stead in a folder that is in $PATH, so that `kubectl stead …` works and \
                            is completed on the tab key (kubectl 1.26 or newer). It is the same program; as a plugin it takes server and \
                            certificate from kubectl's current context.\n\nBy hand: ln -s $(command -v stead) ~/.local/bin/kubectl-stead"
    )]
    Install(PluginInstallArgs),
}

/// `stead plugin install`.
#[derive(Debug, Args)]
pub(crate) struct PluginInstallArgs {
    /// A folder in $PATH, such as ~/.local/bin
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// `stead config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every setting
    Show {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
    },
}

/// `stead completion`.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// `stead man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// A folder for one page a command; without it the main page is printed
    pub(crate) folder: Option<PathBuf>,
}

/// The whole tree, for manual pages and completions.
pub(crate) fn tree() -> clap::Command {
    Cli::command()
}

/// Parses what was typed. Help and version are printed here, and end the program with 0; a mistake ends it with 2.
pub(crate) fn parse() -> Result<Cli, Failure> {
    // As kubectl's plugin it is called by two words.
    let tree = if crate::plugin::is_plugin() { tree().bin_name("kubectl stead") } else { tree() };
    let matches = tree.try_get_matches().unwrap_or_else(|error| exit(&error));
    Cli::from_arg_matches(&matches)
        .map_err(|error| Failure::internal(format!("the command line was parsed and does not fit: {error}")))
}

/// clap prints its own errors, with the usage beside them; its exit codes (0 and 2) are those of the table.
fn exit(error: &clap::Error) -> ! {
    debug_assert!(error.kind() != ErrorKind::Format);
    error.exit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound_and_every_command_says_what_it_does() {
        tree().debug_assert();
        let mut waiting = vec![tree()];
        while let Some(command) = waiting.pop() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
            waiting.extend(command.get_subcommands().cloned());
        }
    }
}
