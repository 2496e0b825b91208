//! What other coordinators announce: heard by `LISTEN`, and looked for all the same, since an announcement can be lost.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification, PgPool};
use stead_model::Revision;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connection::{CONNECT_SECONDS_MAX, Server};
use crate::engine::{EngineError, Moved};

/// What a batch is announced on.
pub(super) const CHANNEL: &str = "stead_record";
/// What a request is announced on.
const INBOX_CHANNEL: &str = "stead_inbox";
/// How long nothing may be heard until somebody looks: what a lost announcement costs at most.
const LOOK_SECONDS: u64 = 5;
const LISTENING: &str = "listening to other coordinators";
/// The pause before a lost connection is made again.
const PAUSE_SECONDS: u64 = 1;

/// What has been heard and not been looked after yet.
#[derive(Debug, Default)]
pub(super) struct News {
    heard: Mutex<Option<Moved>>,
    there: Notify,
    /// Somebody may have asked for something.
    pub(super) asked: Notify,
}

impl News {
    /// Waits for news; those that came meanwhile are one.
    pub(super) async fn next(&self) -> Moved {
        loop {
            if let Some(heard) = self.lock().take() {
                return heard;
            }
            self.there.notified().await;
        }
    }

    fn tell(&self, moved: Moved) {
        let mut heard = self.lock();
        *heard = Some(match (*heard, moved) {
            (Some(Moved::To(before)), Moved::To(now)) => Moved::To(before.max(now)),
            (None, Moved::To(now)) => Moved::To(now),
            _ => Moved::Perhaps,
        });
        drop(heard);
        self.there.notify_one();
    }

    /// Somebody has to look for everything.
    pub(super) fn look(&self) {
        self.tell(Moved::Perhaps);
        self.asked.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Moved>> {
        // Every change of it is a single step.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens for as long as it is let.
pub(super) async fn listen(server: Arc<Server>, news: Arc<News>) {
    loop {
        let Err(error) = listen_once(&server, &news).await;
        tracing::debug!(%error, place = server.place(), "the announcements of other coordinators are not heard");
        tokio::time::sleep(Duration::from_secs(PAUSE_SECONDS)).await;
        news.look();
    }
}

/// Listens on one connection until it is lost, or another server is followed.
async fn listen_once(server: &Server, news: &News) -> Result<Infallible, EngineError> {
    let (pool, generation) = server.pool(LISTENING, 1).await?;
    let heard = listen_to(server, &pool, generation, news).await;
    let Err(error) = heard;
    server.give_up(generation);
    Err(server.failed(LISTENING, error))
}

async fn listen_to(server: &Server, pool: &PgPool, generation: u64, news: &News) -> Result<Infallible, sqlx::Error> {
    let connecting = async {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.eager_reconnect(false);
        listener.listen_all([CHANNEL, INBOX_CHANNEL]).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    let patience = Duration::from_secs(CONNECT_SECONDS_MAX);
    let mut listener = timeout(patience, connecting).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    // Whatever was announced while nobody listened.
    news.look();
    loop {
        match timeout(Duration::from_secs(LOOK_SECONDS), listener.try_recv()).await {
            Ok(Ok(Some(announced))) if announced.channel() == INBOX_CHANNEL => news.asked.notify_one(),
            Ok(Ok(Some(announced))) => news.tell(read(&announced)),
            Ok(Ok(None)) => return Err(sqlx::Error::WorkerCrashed),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                news.look();
                if server.generation() != generation {
                    return Err(sqlx::Error::PoolClosed);
                }
                // A connection that is only silent is told from one that is dead.
                let asked = timeout(patience, sqlx::query("SELECT 1").execute(&mut listener)).await;
                asked.map_err(|_| sqlx::Error::PoolTimedOut)??;
            }
        }
    }
}

/// An announcement names the revision; one that somebody made by hand need not.
fn read(announced: &PgNotification) -> Moved {
    announced.payload().parse().map_or(Moved::Perhaps, |revision| Moved::To(Revision(revision)))
}
