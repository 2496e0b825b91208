//! A way to the server that loses what it is told to lose: a commit, the answer to one, or everything.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Everything.
    Sound,
    /// The next commit does not reach the server, and its connection ends; then everything passes again.
    LosesCommit,
    /// The next commit reaches the server, its answer does not come back, and the connection ends; then everything passes again.
    LosesAnswer,
    /// The same, and nobody gets through any more.
    LosesAnswerAndAll,
    /// The next commit and its answer pass; then nobody gets through any more.
    LosesAllAfterCommit,
    /// Nothing; what is sent waits until something passes again.
    Stalls,
    /// Nobody gets through, and connections that are there end.
    Cut,
}

/// The socket's name, as PostgreSQL's clients look for it.
const SOCKET: &str = ".s.PGSQL.5432";
/// A commit, as the protocol's simple query has it.
const COMMIT: &[u8] = b"COMMIT\0";

/// A socket beside the server's, through which one client connects.
#[derive(Debug)]
pub struct PostgresProxy {
    folder: TempDir,
    passage: watch::Sender<Passage>,
    bytes_left: Arc<AtomicI64>,
}

impl PostgresProxy {
    /// `socket_folder` is where the server listens.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, and where no socket can be made.
    pub fn new(socket_folder: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let (passage, bytes_left) = (watch::Sender::new(Passage::Sound), Arc::new(AtomicI64::new(-1)));
        let target = socket_folder.join(SOCKET);
        let (shared_passage, shared_bytes) = (passage.clone(), Arc::clone(&bytes_left));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *shared_passage.borrow() != Passage::Cut {
                    tokio::spawn(pass(client, target.clone(), shared_passage.clone(), Arc::clone(&shared_bytes)));
                }
            }
        });
        Self { folder, passage, bytes_left }
    }

    /// From now on this is what passes.
    pub fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }

    /// What passes; a loss that has happened is over.
    pub fn passage(&self) -> Passage {
        *self.passage.borrow()
    }

    /// After so many bytes, either way, the connection on which they were reached is cut in the middle of what it says; negative for no limit.
    pub fn cut_after(&self, bytes: i64) {
        self.bytes_left.store(bytes, Ordering::SeqCst);
    }

    /// Where to connect to, for a URL of the server behind it.
    ///
    /// # Panics
    ///
    /// Where the URL is not one of a server on a Unix socket.
    pub fn url(&self, behind: &str) -> String {
        let (before, _) = behind.split_once("host=").unwrap();
        format!("{before}host={}", self.folder.path().display())
    }
}

/// Passes bytes both ways until either end, or a loss.
async fn pass(mut client: UnixStream, target: PathBuf, passage: watch::Sender<Passage>, bytes_left: Arc<AtomicI64>) {
    let Ok(mut server) = UnixStream::connect(target).await else { return };
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut changes = passage.subscribe();
    loop {
        // Whoever waits while nothing passes is cut off with the others.
        let opened = changes.wait_for(|passage| *passage != Passage::Stalls).await.map(|passage| *passage);
        let Ok(now) = opened else { return };
        if now == Passage::Cut {
            return;
        }
        tokio::select! {
            _ = changes.changed() => {}
            count = client.read(&mut asked) => {
                let Ok(count @ 1..) = count else { return };
                let sent = asked.get(..count).unwrap_or(&asked);
                let commits = sent.windows(COMMIT.len()).any(|window| window == COMMIT);
                let now = *passage.borrow();
                if commits && now == Passage::LosesCommit {
                    passage.send_replace(Passage::Sound);
                    return;
                }
                let Some(sent) = within(&bytes_left, sent) else { return };
                if server.write_all(sent).await.is_err() {
                    return;
                }
                if commits && matches!(now, Passage::LosesAnswer | Passage::LosesAnswerAndAll | Passage::LosesAllAfterCommit) {
                    // The server has answered when it has committed.
                    let count = server.read(&mut answered).await.unwrap_or_default();
                    if now == Passage::LosesAllAfterCommit {
                        // Whoever is gone does not read it.
                        let _ = client.write_all(answered.get(..count).unwrap_or(&answered)).await;
                    }
                    let after = if now == Passage::LosesAnswer { Passage::Sound } else { Passage::Cut };
                    passage.send_replace(after);
                    return;
                }
            }
            count = server.read(&mut answered) => {
                let Ok(count @ 1..) = count else { return };
                let Some(sent) = within(&bytes_left, answered.get(..count).unwrap_or(&answered)) else { return };
                if client.write_all(sent).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What of the bytes still passes; nothing once the limit is reached, until a new one is set.
fn within<'b>(bytes_left: &AtomicI64, bytes: &'b [u8]) -> Option<&'b [u8]> {
    let left = bytes_left.load(Ordering::SeqCst);
    if left < 0 {
        return Some(bytes);
    }
    let passes = bytes.len().min(usize::try_from(left).unwrap());
    let rest = left - i64::try_from(passes).unwrap();
    bytes_left.store(if passes < bytes.len() { -1 } else { rest }, Ordering::SeqCst);
    // A part of a message may pass, and the connection ends in the middle of it.
    (passes == bytes.len()).then_some(bytes)
}
