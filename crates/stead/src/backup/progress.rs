//! How far something long is, for who sits at the terminal.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::human_bytes;
use crate::terminal::Terminal;

/// How often the line is written anew.
const PAUSE: Duration = Duration::from_millis(200);

/// The line that tells it.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: Terminal,
    throttle: Cell<Throttle>,
}

impl Progress {
    pub(crate) fn new(terminal: Terminal) -> Self {
        Self { terminal, throttle: Cell::default() }
    }

    /// So many bytes of a file.
    pub(crate) fn bytes(&self, what: &str, done: u64, total: u64) {
        self.tell(|| format!("{what} ... {} of {}", human_bytes(done), human_bytes(total)));
    }

    /// So many rows of a table.
    pub(crate) fn rows(&self, table: &str, rows: u64) {
        self.tell(|| rows_text(table, rows));
    }

    /// The same for a copy, table by table, wherever it is told from.
    pub(crate) fn of_copy(&self) -> impl FnMut(&'static str, u64) + Send + use<> {
        let (terminal, mut throttle) = (self.terminal, Throttle::default());
        move |table, rows| throttle.tell(terminal, || rows_text(table, rows))
    }

    fn tell(&self, text: impl FnOnce() -> String) {
        let mut throttle = self.throttle.get();
        throttle.tell(self.terminal, text);
        self.throttle.set(throttle);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.terminal.progress_end();
    }
}

/// Lets the line be written now and then.
#[derive(Clone, Copy, Debug, Default)]
struct Throttle(Option<Instant>);

impl Throttle {
    fn tell(&mut self, terminal: Terminal, text: impl FnOnce() -> String) {
        if self.0.is_none_or(|told| told.elapsed() >= PAUSE) {
            self.0 = Some(Instant::now());
            terminal.progress(&text());
        }
    }
}

fn rows_text(table: &str, rows: u64) -> String {
    if rows == 0 { format!("{table} ...") } else { format!("{table} ... {rows} rows") }
}
