//! Processes that end with the test, and signals to them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A process that is killed when it is let go of.
pub(crate) struct Process {
    child: Child,
    /// Kept, so that what it prints later meets no closed pipe.
    output: Option<BufReader<ChildStdout>>,
}

/// Starts a command, and kills it somewhere within the time that it takes.
pub(crate) fn kill_within(command: &mut Command, takes: Duration) {
    let mut process = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
    let share = u16::try_from(getrandom::u64().unwrap() % 1_000).unwrap();
    // The moment is any moment; what must hold holds wherever it falls.
    std::thread::sleep(takes.mul_f64(f64::from(share) / 1_000.0));
    process.kill();
}

/// The time that something takes.
pub(crate) fn how_long(run: impl FnOnce()) -> Duration {
    let started = Instant::now();
    run();
    started.elapsed()
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().map(BufReader::new);
        Self { child, output }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line of its output that begins so; none where it ends before it says that.
    pub(crate) fn line(&mut self, begins: &str) -> Option<String> {
        let output = self.output.as_mut()?;
        loop {
            let mut line = String::new();
            if output.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.starts_with(begins) {
                return Some(line.trim_end().to_owned());
            }
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "no process {}", self.child.id());
    }

    /// SIGKILL, and the end of it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().unwrap()
    }

    /// Its exit code, when it has ended; none where a signal ended it.
    pub(crate) fn stop_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
