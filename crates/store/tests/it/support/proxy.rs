//! A way to the server that loses what it is told to lose: a commit, or the answer to one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Everything passes.
pub(crate) const SOUND: u8 = 0;
/// The next commit does not reach the server, and its connection ends.
pub(crate) const LOSES_COMMIT: u8 = 1;
/// The next commit reaches the server, its answer does not come back, and the connection ends.
pub(crate) const LOSES_ANSWER: u8 = 2;
/// The same, and nobody gets through any more.
pub(crate) const LOSES_ANSWER_AND_ALL: u8 = 3;
/// Nobody gets through.
pub(crate) const CUT: u8 = 4;

/// The socket's name, as PostgreSQL's clients look for it.
const SOCKET: &str = ".s.PGSQL.5432";
/// A commit, as the protocol's simple query has it.
const COMMIT: &[u8] = b"COMMIT\0";

pub(crate) struct Proxy {
    folder: TempDir,
    pub(crate) mode: Arc<AtomicU8>,
    /// Bytes that still pass before every connection is cut; negative for no limit.
    pub(crate) bytes_left: Arc<AtomicI64>,
}

impl Proxy {
    /// `socket_folder` is where the server listens.
    pub(crate) fn new(socket_folder: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let (mode, bytes_left) = (Arc::new(AtomicU8::new(SOUND)), Arc::new(AtomicI64::new(-1)));
        let target = socket_folder.join(SOCKET);
        let (shared_mode, shared_bytes) = (Arc::clone(&mode), Arc::clone(&bytes_left));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if shared_mode.load(Ordering::SeqCst) < CUT {
                    tokio::spawn(pass(client, target.clone(), Arc::clone(&shared_mode), Arc::clone(&shared_bytes)));
                }
            }
        });
        Self { folder, mode, bytes_left }
    }

    pub(crate) fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    /// Where to connect to, for a URL of the server behind it.
    pub(crate) fn url(&self, behind: &str) -> String {
        let (before, _) = behind.split_once("host=").unwrap();
        format!("{before}host={}", self.folder.path().display())
    }
}

/// Passes bytes both ways until either end, or a loss.
async fn pass(mut client: UnixStream, target: PathBuf, mode: Arc<AtomicU8>, bytes_left: Arc<AtomicI64>) {
    let Ok(mut server) = UnixStream::connect(target).await else { return };
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            count = client.read(&mut asked) => {
                let Ok(count @ 1..) = count else { return };
                let sent = &asked[..count];
                let commits = sent.windows(COMMIT.len()).any(|window| window == COMMIT);
                let now = mode.load(Ordering::SeqCst);
                if commits && now == LOSES_COMMIT {
                    return mode.store(SOUND, Ordering::SeqCst);
                }
                let Some(sent) = within(&bytes_left, sent) else { return };
                if server.write_all(sent).await.is_err() {
                    return;
                }
                if commits && (now == LOSES_ANSWER || now == LOSES_ANSWER_AND_ALL) {
                    // The server has answered when it has committed.
                    let _ = server.read(&mut answered).await;
                    return mode.store(if now == LOSES_ANSWER { SOUND } else { CUT }, Ordering::SeqCst);
                }
            }
            count = server.read(&mut answered) => {
                let Ok(count @ 1..) = count else { return };
                let Some(sent) = within(&bytes_left, &answered[..count]) else { return };
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
