//! What a coordinator looks at on the server from time to time: standbys, the archive of its log, and what is remembered of backups.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::archive::{self, Archive};
use super::backups;
use super::connection::Server;
use super::news::News;
use super::standby::{self, Replication};
use crate::backup_note::BackupNotes;
use crate::engine::EngineError;

/// How often: five statements of less than a millisecond each.
const LOOK_SECONDS: u64 = 5;
/// How often a coordinator looks whether another server was promoted, by a query that is answered from memory: for so long at most it
/// goes on writing to an old primary that nobody stopped.
const LOOK_AROUND_MILLISECONDS: u64 = 500;

const LOOKING: &str = "looking at standbys, archive and backups";

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<Seen>);

#[derive(Clone, Debug, Default)]
struct Seen {
    replication: Option<Replication>,
    archive: Option<Archive>,
    backups: BackupNotes,
}

impl Watched {
    pub(super) fn replication(&self) -> Option<Replication> {
        self.get(|seen| seen.replication.clone())
    }

    pub(super) fn archive(&self) -> Option<Archive> {
        self.get(|seen| seen.archive.clone())
    }

    pub(super) fn backups(&self) -> BackupNotes {
        self.get(|seen| seen.backups.clone())
    }

    fn get<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, seen: Seen) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

/// Looks, and for a server that was promoted while the one that is followed goes on, for as long as it is let.
pub(super) async fn watch(server: Arc<Server>, news: Arc<News>, watched: Arc<Watched>) {
    let others = if server.hosts.len() > 1 { server.hosts.len() } else { 0 };
    let looking = futures::future::join_all((0..others).map(|number| look_at(&server, number, &news)));
    futures::join!(look_again_and_again(&server, &watched), looking);
}

/// Looks at one server whether it was promoted. Each is looked at by itself, so that one that does not answer hides no other.
async fn look_at(server: &Server, number: usize, news: &News) {
    let mut session = None;
    loop {
        match server.look_at(number, &mut session).await {
            Ok(true) => news.look(),
            Ok(false) => {}
            Err(error) => tracing::trace!(%error, "a server is not seen"),
        }
        tokio::time::sleep(Duration::from_millis(LOOK_AROUND_MILLISECONDS)).await;
    }
}

async fn look_again_and_again(server: &Server, watched: &Watched) {
    loop {
        match look(server).await {
            Ok(seen) => watched.set(seen),
            Err(error) => tracing::debug!(%error, "standbys, archive and backups are not seen"),
        }
        tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)).await;
    }
}

async fn look(server: &Server) -> Result<Seen, EngineError> {
    let readers = server.readers(LOOKING).await?;
    let looking = async {
        let mut connection = readers.acquire().await?;
        let sees_all = sqlx::query_scalar("SELECT pg_has_role('pg_monitor', 'USAGE')").fetch_one(&mut *connection).await?;
        let (replicas, slots) = standby::replication(&mut connection).await?;
        let archive = archive::look(&mut connection).await?;
        let backups = backups::look(&mut connection).await?;
        Ok((sees_all, replicas, slots, archive, backups))
    };
    let (sees_all, replicas, slots, archive, backups) = server.read(LOOKING, looking).await?;
    let (servers, timeline) = (server.hosts.len() as u64, server.timeline().unwrap_or_default());
    let replication = Replication { servers, timeline, sees_all, replicas, slots };
    Ok(Seen { replication: Some(replication), archive: Some(archive), backups })
}
