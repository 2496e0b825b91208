//! Whether there is a terminal, and whether it wants colour.

use std::io::IsTerminal as _;

/// What is known of standard output and standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    stdout_colour: bool,
    stderr_colour: bool,
    stderr_terminal: bool,
}

/// How a piece of text is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    Good,
    Bad,
    Strong,
    Faint,
}

impl Terminal {
    /// Looks at the two streams and at `NO_COLOR` (no-color.org: any value but the empty one turns colour off).
    pub(crate) fn detect() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|value| value != "dumb");
        let stderr_terminal = std::io::stderr().is_terminal();
        Self {
            stdout_colour: wanted && std::io::stdout().is_terminal(),
            stderr_colour: wanted && stderr_terminal,
            stderr_terminal,
        }
    }

    /// Neither terminal nor colour.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { stdout_colour: false, stderr_colour: false, stderr_terminal: false }
    }

    pub(crate) fn on_stdout(self, style: Style, text: &str) -> String {
        paint(self.stdout_colour, style, text)
    }

    pub(crate) fn on_stderr(self, style: Style, text: &str) -> String {
        paint(self.stderr_colour, style, text)
    }

    pub(crate) const fn stderr_colour(self) -> bool {
        self.stderr_colour
    }

    /// Shows how far something is, in one line that is overwritten; without a terminal it shows nothing.
    pub(crate) fn progress(self, text: &str) {
        if self.stderr_terminal {
            eprint!("\r\u{1b}[K{text}");
        }
    }

    /// Takes the progress line away.
    pub(crate) fn progress_end(self) {
        self.progress("");
    }
}

fn paint(colour: bool, style: Style, text: &str) -> String {
    if !colour || text.is_empty() {
        return text.to_owned();
    }
    let code = match style {
        Style::Good => "32",
        Style::Bad => "31",
        Style::Strong => "1",
        Style::Faint => "2",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
