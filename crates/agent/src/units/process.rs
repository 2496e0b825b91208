//! Runs one command: in its own process group, with a clean environment, for so long, and never longer than it is wanted.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// How much of a command's output is kept, from its end: a screen, which has to fit in a status.
const OUTPUT_TAIL_BYTES: usize = 2048;

/// How long output is still read when the command has ended but something it started holds its output open.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);

/// Where commands are looked for.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a command did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("could not start {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It could not be waited for.
    #[error("could not wait for {program}")]
    Wait {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It ran too long.
    #[error("{program} was killed after {timeout_seconds} seconds, its limit{}", said(tail))]
    TimedOut {
        /// The program.
        program: String,
        /// The limit.
        timeout_seconds: u32,
        /// The end of its output.
        tail: String,
    },
    /// It was no longer wanted.
    #[error("{program} was killed because it is no longer wanted")]
    Cancelled {
        /// The program.
        program: String,
    },
    /// It failed.
    #[error("{program} ended with {status}{}", said(tail))]
    Failed {
        /// The program.
        program: String,
        /// How.
        status: ExitStatus,
        /// The end of its output.
        tail: String,
    },
    /// There is nothing to run.
    #[error("the command names no program: give at least one")]
    Empty,
}

fn said(tail: &str) -> String {
    if tail.is_empty() { String::new() } else { format!("; its last output was: {tail}") }
}

/// How a command that ran to its end ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) tail: String,
}

/// What to run.
pub(super) struct Program<'a> {
    pub(super) argv: &'a [String],
    pub(super) directory: OwnedFd,
    pub(super) root: &'a std::path::Path,
    pub(super) timeout_seconds: u32,
}

/// Kills the whole group unless told that there is nothing left to kill. The group's number can't be taken by others
/// while its first process has not been waited for, which is as long as this is armed.
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(group) = self.0.take()
            && let Err(errno) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(?group, %errno, "there was no process group to kill");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Program<'_> {
    /// Runs it to its end, to its limit, or until `cancel`. However this ends (the future may also be dropped), its process group is killed
    /// unless it ended by itself. What it put into another session is not followed.
    pub(super) async fn run(self, cancel: &CancellationToken) -> Result<Ended, ProcessError> {
        let (program, mut child) = self.start()?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut output = Tail::default();
        let ended = {
            let reading = read_both(stdout, stderr, &mut output);
            tokio::pin!(reading);
            let limit = tokio::time::sleep(Duration::from_secs(self.timeout_seconds.into()));
            tokio::pin!(limit);
            let mut read = false;
            loop {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => break Stop::Cancelled,
                    () = &mut reading, if !read => read = true,
                    status = child.wait() => {
                        group.0 = None;
                        if !read {
                            // Running out of time here only means that a process of its own holds the output open.
                            let _ = tokio::time::timeout(OUTPUT_GRACE, &mut reading).await;
                        }
                        break Stop::Ended(status);
                    }
                    () = &mut limit => break Stop::TimedOut,
                }
            }
        };
        let tail = output.text();
        match ended {
            Stop::Ended(Ok(status)) => return Ok(Ended { status, tail }),
            Stop::Ended(Err(source)) => return Err(ProcessError::Wait { program, source }),
            Stop::Cancelled | Stop::TimedOut => {}
        }
        group.kill();
        child.wait().await.map_err(|source| ProcessError::Wait { program: program.clone(), source })?;
        Err(match ended {
            Stop::TimedOut => ProcessError::TimedOut { program, timeout_seconds: self.timeout_seconds, tail },
            _ => ProcessError::Cancelled { program },
        })
    }

    /// Runs it, and takes an end other than success for an error.
    pub(super) async fn succeed(self, cancel: &CancellationToken) -> Result<(), ProcessError> {
        let program = self.argv.first().cloned().unwrap_or_default();
        let ended = self.run(cancel).await?;
        if ended.status.success() {
            Ok(())
        } else {
            Err(ProcessError::Failed { program, status: ended.status, tail: ended.tail })
        }
    }

    fn start(&self) -> Result<(String, Child), ProcessError> {
        let (program, arguments) = self.argv.split_first().ok_or(ProcessError::Empty)?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs([("PATH", SEARCH_PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")])
            .env("STEAD_ROOT", self.root)
            // Through the open directory, which was found below the root; a path could lead elsewhere by now.
            .current_dir(format!("/proc/self/fd/{}", self.directory.as_raw_fd()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ProcessError::Start { program: program.clone(), source })?;
        Ok((program.clone(), child))
    }
}

enum Stop {
    Ended(std::io::Result<ExitStatus>),
    TimedOut,
    Cancelled,
}

/// The end of what was said.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let over = self.0.len().saturating_sub(OUTPUT_TAIL_BYTES);
        self.0.drain(..over);
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&Vec::from(self.0)).trim().to_owned()
    }
}

/// Reads both to their ends. What can't be read is as good as ended.
async fn read_both(out: Option<impl AsyncRead + Unpin>, err: Option<impl AsyncRead + Unpin>, tail: &mut Tail) {
    let (Some(mut out), Some(mut err)) = (out, err) else { return };
    let (mut from_out, mut from_err) = ([0; 4096], [0; 4096]);
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        let (count, buffer, open) = tokio::select! {
            count = out.read(&mut from_out), if out_open => (count, &from_out, &mut out_open),
            count = err.read(&mut from_err), if err_open => (count, &from_err, &mut err_open),
        };
        let count = count.unwrap_or(0);
        *open = count > 0;
        tail.add(buffer.get(..count).unwrap_or_default());
    }
}
