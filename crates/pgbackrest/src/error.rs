//! What went wrong: what, where, with which value; and what to do.

use std::path::PathBuf;

use jiff::Timestamp;
use stead_model::human_bytes;
use stead_store::{EngineError, OpenError};

use crate::plan::Refusal;

/// What sort of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// What was asked for cannot be.
    Asked,
    /// Something on this host is not as it has to be.
    Host,
    /// It is not there.
    Missing,
    /// A check says no, or a program did not do it.
    Refused,
    /// The database does not answer; the same may succeed later.
    Away,
    /// A fault of this program, or of what it has to understand.
    Internal,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or a folder.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file belongs to nobody.
    #[error("{} belongs to the user id {uid}, and no user of this machine has it", path.display())]
    NoUser {
        /// The file.
        path: PathBuf,
        /// The id.
        uid: u32,
    },
    /// It has to be done by the database's system user, or by root.
    #[error("the database belongs to the user {needed}, and this is the user with the id {uid}")]
    OtherUser {
        /// Whose the database is.
        needed: String,
        /// Who this is.
        uid: u32,
    },
    /// A program is not there.
    #[error("{program} is not in $PATH")]
    NotInstalled {
        /// Its name.
        program: &'static str,
        /// Debian's package that has it.
        package: &'static str,
    },
    /// A program cannot be run.
    #[error("{program} cannot be run")]
    NotRun {
        /// Its name.
        program: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A program ended without having done its step.
    #[error("{step}: {program} {ended} and says:{said}")]
    Failed {
        /// What it should have done.
        step: String,
        /// Its name.
        program: String,
        /// How it ended.
        ended: String,
        /// Its last lines, each on a line of its own.
        said: String,
    },
    /// What a program says is not what is understood here.
    #[error("what {who} says is not understood: {reason}")]
    NotUnderstood {
        /// Who says it.
        who: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The record's server.
    #[error(transparent)]
    Opening(#[from] OpenError),
    /// The record.
    #[error(transparent)]
    Record(#[from] EngineError),
    /// The record's server is on another host.
    #[error("the record's server does not run on this host, as far as can be seen: {why}")]
    NotHere {
        /// What was seen.
        why: String,
    },
    /// The role may not do it.
    #[error("the role {role} is no superuser of the database")]
    NoSuperuser {
        /// Its name.
        role: String,
    },
    /// No stanza is written there.
    #[error("{} has no stanza {stanza}: backups with pgBackRest are not set up here", file.display())]
    NotSetUp {
        /// The configuration file.
        file: PathBuf,
        /// The stanza's name.
        stanza: String,
    },
    /// A stanza lacks a value, or has one that cannot be.
    #[error("{} has {name} = {value:?} in the stanza {stanza}, which cannot be used", file.display())]
    Malformed {
        /// The configuration file.
        file: PathBuf,
        /// The stanza's name.
        stanza: String,
        /// The value's name.
        name: &'static str,
        /// The value, empty where there is none.
        value: String,
    },
    /// A name for a stanza.
    #[error("{name:?} is no name for a stanza: take letters, digits, - and _")]
    StanzaName {
        /// The name.
        name: String,
    },
    /// A path that means something else to a shell or in a configuration file.
    #[error("{} cannot be told to pgBackRest and to the server: a whole path of letters, digits and ._-+ can", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// A folder that is something else.
    #[error("{} is no folder", path.display())]
    NoFolder {
        /// Its path.
        path: PathBuf,
    },
    /// The file of a passphrase has none.
    #[error("{} has no passphrase in its first line", path.display())]
    NoPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The file of a passphrase is everybody's.
    #[error("{} has the mode {mode:03o}: others read the passphrase in it", path.display())]
    OpenPassphrase {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A repository cannot be encrypted, or encrypted otherwise, any more.
    #[error("the repository {} has the stanza {stanza} already, with {there}: its encryption cannot be changed", repo.display())]
    OtherCipher {
        /// The repository.
        repo: PathBuf,
        /// The stanza's name.
        stanza: String,
        /// How it is encrypted.
        there: &'static str,
    },
    /// A configuration file of somebody else.
    #[error("{} is there, and `stead backup setup` has not written it", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The plan of setting up says no.
    #[error(transparent)]
    Plan(#[from] Refusal),
    /// The server waits for a restart.
    #[error("the server has to be restarted, for {for_what}; until then nothing is archived")]
    NeedsRestart {
        /// The settings that wait for it.
        for_what: String,
    },
    /// A segment of the log does not arrive.
    #[error("segment {segment} of the server's log is not in the repository after {seconds} s")]
    NotArchived {
        /// Its name.
        segment: String,
        /// How long was waited.
        seconds: u64,
    },
    /// There is no backup.
    #[error("the stanza {stanza} has no backup ({says})")]
    NoBackup {
        /// The stanza's name.
        stanza: String,
        /// What pgBackRest says of it.
        says: String,
    },
    /// Somebody else does the same here.
    #[error("{what} is at work here")]
    Busy {
        /// Who.
        what: &'static str,
    },
    /// A server that was started did not come up.
    #[error("the server ended ({status}) while it read the log, and says:{said}")]
    NotRecovered {
        /// How it ended.
        status: String,
        /// The end of its log, each line on a line of its own.
        said: String,
    },
    /// No moment was given.
    #[error("no moment is given, and no restore has to be gone on with")]
    NoMoment,
    /// The archive does not have a moment.
    #[error("{at} cannot be restored: the archive has the moments from {earliest} to {latest}")]
    NotCovered {
        /// What was asked for.
        at: Timestamp,
        /// The first that it has.
        earliest: Timestamp,
        /// The last.
        latest: Timestamp,
    },
    /// Coordinators are at work.
    #[error("{sessions} sessions of coordinators are connected to the database")]
    Connected {
        /// How many.
        sessions: String,
    },
    /// Something is where data would be moved.
    #[error("{} is there already", path.display())]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// There is no room for the data that is there beside the data that comes.
    #[error("the data that is there cannot be kept: {} are free beside it, and the backup has {}", human_bytes(*free), human_bytes(*needed))]
    NoRoom {
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// The data directory cannot be moved aside.
    #[error("{} cannot be moved aside: {why}", data.display())]
    NotMovable {
        /// The data directory.
        data: PathBuf,
        /// What stands in the way.
        why: String,
    },
    /// What is there is no data directory.
    #[error("{} has files in it and is no data directory of a server: it has no PG_VERSION", data.display())]
    NoData {
        /// The folder.
        data: PathBuf,
    },
    /// A server runs where one was going to be put.
    #[error("{state}, and yet a server runs there")]
    AnotherServer {
        /// How far the restore is.
        state: String,
        /// Where that is kept.
        journal: PathBuf,
    },
    /// What is needed beside the backup is not there.
    #[error("{what} {} is not there, and no backup has it", path.display())]
    NotInBackup {
        /// What it is.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// Folders of tablespaces have files in them, and there is no data directory that says whose.
    #[error("{} has files in it, and there is no data directory to which they belong", path.display())]
    TablespaceInTheWay {
        /// The tablespace's folder.
        path: PathBuf,
    },
    /// A restore that began with another moment has gone too far for that.
    #[error("{state}, and the record is beginning anew: another moment comes too late")]
    TooLate {
        /// How far it is.
        state: String,
        /// Its moment.
        at: Timestamp,
    },
    /// The same with more of what to do.
    #[error("{error}")]
    Hinted {
        /// The error itself.
        #[source]
        error: Box<Error>,
        /// What to do.
        hint: String,
    },
}

impl Error {
    /// What sort of thing went wrong.
    pub fn sort(&self) -> Sort {
        match self {
            Self::Hinted { error, .. } => error.sort(),
            Self::Opening(error) if error.is_away() => Sort::Away,
            Self::Record(error) if error.is_away() => Sort::Away,
            Self::OtherUser { .. }
            | Self::NotHere { .. }
            | Self::NoSuperuser { .. }
            | Self::StanzaName { .. }
            | Self::Path { .. }
            | Self::NoFolder { .. }
            | Self::NoPassphrase { .. }
            | Self::OpenPassphrase { .. }
            | Self::NoMoment
            | Self::NotCovered { .. } => Sort::Asked,
            Self::File { .. }
            | Self::NoUser { .. }
            | Self::NotInstalled { .. }
            | Self::NotRun { .. }
            | Self::Opening(_)
            | Self::Record(_)
            | Self::Malformed { .. } => Sort::Host,
            Self::NotSetUp { .. } | Self::NoBackup { .. } => Sort::Missing,
            Self::NotUnderstood { .. } => Sort::Internal,
            _ => Sort::Refused,
        }
    }

    /// What can be done about it, in full sentences.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Hinted { error, hint } => {
                let mut hints = error.hints();
                hints.push(hint.clone());
                return hints;
            }
            Self::OtherUser { needed, .. } => format!("Run it as root, or as {needed}."),
            Self::NotInstalled { package, .. } => format!("Install it: apt-get install {package}."),
            Self::NotHere { .. } => {
                "Run it on the database's host; where the socket is somewhere else, name its folder in the URL: \
                                     ?host=FOLDER."
                    .to_owned()
            }
            Self::NoSuperuser { .. } => "Name one with --superuser.".to_owned(),
            Self::NotSetUp { .. } => "Run `stead backup setup` on the database's host.".to_owned(),
            Self::Malformed { .. } => "Run `stead backup setup` again, which writes it anew.".to_owned(),
            Self::NoPassphrase { .. } => "Make one: openssl rand -base64 48.".to_owned(),
            Self::OpenPassphrase { path, .. } => format!("Close it, chmod 600 {}, and make a new one.", path.display()),
            Self::OtherCipher { .. } => {
                "Nothing was changed. Give the passphrase that it has (--cipher-pass-file), or another --repo, \
                                         or another --stanza."
                    .to_owned()
            }
            Self::NotOurs { .. } => {
                "Nothing was changed. Name another file with --pgbackrest-config, or give --replace.".to_owned()
            }
            Self::Plan(Refusal::Command(_) | Refusal::Library(_)) => {
                "Nothing was changed. Whoever relies on that archive loses it with \
                                                                      --replace; what is in it already stays as it is."
                    .to_owned()
            }
            Self::NeedsRestart { .. } => "Give --restart, or restart it and run this again: it goes on from here.".to_owned(),
            Self::NotArchived { .. } | Self::NoBackup { .. } => "`stead backup check` says what is wrong.".to_owned(),
            Self::Busy { .. } => "Wait until it has come to its end.".to_owned(),
            Self::NoMoment => "Give --at TIME.".to_owned(),
            Self::NotCovered { .. } => "Nothing was done.".to_owned(),
            Self::Connected { .. } => "Nothing was done. Stop the coordinators first.".to_owned(),
            Self::Exists { .. } => "Nothing was done. Try again.".to_owned(),
            Self::NoRoom { .. } => "Nothing was done. Make room, or overwrite what is there with --delta.".to_owned(),
            Self::NotMovable { .. } => {
                "Nothing was done. Overwrite what is there with --delta, after a copy of it where it may be needed.".to_owned()
            }
            Self::NoData { .. } => "Nothing was done. Without --delta it is moved aside.".to_owned(),
            Self::AnotherServer { journal, .. } => {
                format!("Nothing was done. If that server's data is to stay, remove {}; else stop it.", journal.display())
            }
            Self::NotInBackup { .. } => "Nothing was done. Put it back first, as it was on the day of the backup.".to_owned(),
            Self::TablespaceInTheWay { .. } => "Nothing was done. Move what is in it somewhere else first.".to_owned(),
            Self::TooLate { at, .. } => format!("Finish it first: stead restore --at {at}"),
            _ => return Vec::new(),
        };
        vec![hint]
    }

    /// The same with one more thing to do.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self::Hinted { error: Box::new(self), hint: hint.into() }
    }

    pub(crate) fn file(doing: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File { doing, path: path.to_owned(), source }
    }
}
