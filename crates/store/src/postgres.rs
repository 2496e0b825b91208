//! The record in a PostgreSQL database, in a schema of its own: the engine of coordinators that share it.
//!
//! The one row of `meta` is the writers' lock. A turn holds it from before the first look at the record until its batch is
//! committed, so that batches follow each other without gaps whatever the number of coordinators; what was committed is announced
//! with one notification a batch, out of the same transaction.

mod anew;
mod archive;
mod backups;
mod connection;
mod forward;
mod hosts;
mod import;
mod inbox;
mod line;
mod migration;
mod moment;
mod news;
mod place;
mod read;
mod server;
mod standby;
mod watched;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use stead_model::{ObjectKey, Revision};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use crate::backup_note::BackupNotes;
use crate::engine::{Engine, EngineError, Import, Moved, Reading, Turn};
use crate::open_error::OpenError;
use crate::rows::{Asked, Change, ChangeReference, Entry, Meta, Settled, Steps, StepsWanted};
pub use archive::Archive;
use connection::{SESSION_NAME, Server, Session};
pub use hosts::{each_server, split_authority};
use import::PgImport;
use news::News;
pub use place::{PlaceError, PostgresPlace, Standing};
use read::PgReading;
pub use server::PostgresServer;
pub use standby::{HeldRecord, PostgresServers, Replica, Replication, ReplicationSlot, ServerReport, ServerState};
use watched::Watched;
use write::PgTurn;

/// What the sessions of a command are called that works on a record while no coordinator does.
const OFFLINE_SESSION_NAME: &str = "stead store";

/// The record in a PostgreSQL database. Other coordinators may have it open, too.
#[derive(Debug)]
pub struct PostgresEngine {
    server: Arc<Server>,
    /// The one connection that takes turns and reads the record as a whole; made anew after a failure.
    session: Mutex<Option<Session>>,
    news: Arc<News>,
    listening: AbortHandle,
    watching: AbortHandle,
    watched: Arc<Watched>,
    closed: AtomicBool,
}

impl PostgresEngine {
    /// Opens a record, or makes an empty one, and brings its schema up to date.
    ///
    /// `url` is `postgres://USER@HOST:PORT/DATABASE`, with a comma between several hosts of which one takes writes, or `postgres://USER@localhost/DATABASE?host=SOCKET-DIRECTORY`; the usual
    /// variables (`PGHOST`, `PGPASSFILE`, ...) fill in what it leaves out.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; where it [is away](OpenError::is_away), the same may succeed later.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_with_password(url, None).await
    }

    /// The same with a password that does not stand in the URL.
    ///
    /// # Errors
    ///
    /// As [`PostgresEngine::open`].
    pub async fn open_with_password(url: &str, password: Option<&str>) -> Result<Self, OpenError> {
        Self::open_server(Server::parse(url, password, SESSION_NAME)?, migration::STEPS).await
    }

    /// The same for a coordinator that keeps in a file which history of the record it has followed: an older primary is refused, also
    /// by one that starts while nothing else answers.
    ///
    /// # Errors
    ///
    /// As [`PostgresEngine::open`], and [`OpenError::File`] where the file cannot be read or written.
    pub async fn open_following(url: &str, password: Option<&str>, file: &Path) -> Result<Self, OpenError> {
        let server = Server::parse(url, password, SESSION_NAME)?.remembering(file)?;
        migration::run(&server, migration::STEPS).await?;
        server.keep_line().await.map_err(|error| migration::refused(&server, error))?;
        Ok(Self::on(server))
    }

    /// The same for something that is no coordinator, and is not taken for one by [`Engine::others`].
    ///
    /// # Errors
    ///
    /// As [`PostgresEngine::open`].
    pub async fn open_offline(url: &str, password: Option<&str>) -> Result<Self, OpenError> {
        Self::open_server(Server::parse(url, password, OFFLINE_SESSION_NAME)?, migration::STEPS).await
    }

    /// The same for something that only reads, while coordinators are at work: it leaves the schema as it is.
    ///
    /// # Errors
    ///
    /// As [`PostgresEngine::open`], and [`OpenError::Older`].
    pub async fn open_reading(url: &str, password: Option<&str>) -> Result<Self, OpenError> {
        let server = Server::parse(url, password, OFFLINE_SESSION_NAME)?;
        migration::ensure_current(&server).await?;
        Ok(Self::on(server))
    }

    async fn open_server(server: Server, steps: &[&'static str]) -> Result<Self, OpenError> {
        migration::run(&server, steps).await?;
        Ok(Self::on(server))
    }

    fn on(server: Server) -> Self {
        let server = Arc::new(server);
        let news = Arc::new(News::default());
        let listening = tokio::spawn(news::listen(Arc::clone(&server), Arc::clone(&news))).abort_handle();
        let watched = Arc::<Watched>::default();
        let watch = watched::watch(Arc::clone(&server), Arc::clone(&news), Arc::clone(&watched));
        let watching = tokio::spawn(watch).abort_handle();
        let (session, closed) = (Mutex::new(None), AtomicBool::new(false));
        Self { server, session, news, listening, watching, watched, closed }
    }

    fn ensure_open(&self) -> Result<(), EngineError> {
        if self.closed.load(Ordering::SeqCst) { Err(EngineError::Closed) } else { Ok(()) }
    }
}

impl Drop for PostgresEngine {
    fn drop(&mut self) {
        self.listening.abort();
        self.watching.abort();
    }
}

impl Engine for PostgresEngine {
    fn reading(&self) -> BoxFuture<'_, Result<Box<dyn Reading + '_>, EngineError>> {
        async { Ok(Box::new(PgReading::begin(self).await?) as Box<dyn Reading>) }.boxed()
    }

    fn turn(&self) -> BoxFuture<'_, Result<Box<dyn Turn + '_>, EngineError>> {
        async { Ok(Box::new(PgTurn::take(self).await?) as Box<dyn Turn>) }.boxed()
    }

    fn moved(&self) -> BoxFuture<'_, Moved> {
        self.news.next().boxed()
    }

    fn meta(&self) -> BoxFuture<'_, Result<Meta, EngineError>> {
        read::meta(self).boxed()
    }

    fn change(&self, reference: ChangeReference) -> BoxFuture<'_, Result<Option<Change>, EngineError>> {
        read::change(self, reference).boxed()
    }

    fn changes_before(&self, revision: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, EngineError>> {
        read::changes_before(self, revision, limit).boxed()
    }

    fn entries(&self, revision: Revision) -> BoxFuture<'_, Result<Vec<Entry>, EngineError>> {
        read::entries(self, revision).boxed()
    }

    fn newest_entries(&self, keys: Vec<ObjectKey>) -> BoxFuture<'_, Result<Vec<(Change, Entry)>, EngineError>> {
        read::newest_entries(self, keys).boxed()
    }

    fn entries_at(&self, wanted: Vec<(ObjectKey, u64)>) -> BoxFuture<'_, Result<Vec<(Change, Entry)>, EngineError>> {
        read::entries_at(self, wanted).boxed()
    }

    fn changes_named(&self, prefix: String, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, EngineError>> {
        read::changes_named(self, prefix, limit).boxed()
    }

    fn steps<'a>(&'a self, wanted: &'a StepsWanted) -> BoxFuture<'a, Result<Steps, EngineError>> {
        forward::steps(self, wanted).boxed()
    }

    fn history_bytes_floor(&self, bytes_max: u64) -> BoxFuture<'_, Result<Revision, EngineError>> {
        read::history_bytes_floor(self, bytes_max).boxed()
    }

    fn compact(&self, through: Revision) -> BoxFuture<'_, Result<(), EngineError>> {
        write::compact(self, through).boxed()
    }

    fn asked(&self) -> BoxFuture<'_, Result<Vec<Asked>, EngineError>> {
        async {
            self.news.asked.notified().await;
            inbox::take(self).await
        }
        .boxed()
    }

    fn settle<'a>(&'a self, settled: &'a Settled) -> BoxFuture<'a, Result<(), EngineError>> {
        inbox::settle(self, settled).boxed()
    }

    fn others(&self) -> BoxFuture<'_, Result<u64, EngineError>> {
        read::others(self).boxed()
    }

    fn replication(&self) -> Option<Replication> {
        self.watched.replication()
    }

    fn archive(&self) -> Option<Archive> {
        self.watched.archive()
    }

    fn backups(&self) -> BackupNotes {
        self.watched.backups()
    }

    fn import(&self) -> BoxFuture<'_, Result<Box<dyn Import + '_>, EngineError>> {
        async { Ok(Box::new(PgImport::begin(self).await?) as Box<dyn Import>) }.boxed()
    }

    fn begin_anew<'a>(&'a self, incarnation: &'a str, at: Timestamp) -> BoxFuture<'a, Result<Meta, EngineError>> {
        anew::begin(self, incarnation, at).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.closed.store(true, Ordering::SeqCst);
            self.listening.abort();
            self.watching.abort();
            self.server.close().await;
            if let Some(session) = self.session.lock().await.take() {
                connection::hang_up(session.connection).await;
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
