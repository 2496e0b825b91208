//! A question to who sits at the terminal, before something that is hard to take back.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// A question that is answered with yes or no.
pub(super) struct Question<'a> {
    /// The question.
    pub(super) text: &'a str,
    /// The same, as a part of a sentence.
    pub(super) whether: &'a str,
    /// What a no means.
    pub(super) nothing: &'a str,
}

impl Question<'_> {
    /// Asks, unless the answer was given with `--yes`.
    pub(super) fn ask(&self, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            let mut nothing = self.nothing.to_owned();
            nothing.get_mut(..1).map(str::make_ascii_uppercase);
            return Err(Failure::user(format!("nobody can be asked {}: there is no terminal", self.whether))
                .hint(format!("{nothing}. Scripts say --yes, when somebody has looked at it.")));
        }
        let failed = |error: std::io::Error| Failure::internal(format!("the terminal cannot be asked: {error}"));
        let mut stderr = std::io::stderr();
        write!(stderr, "{} [y/N] ", self.text).and_then(|()| stderr.flush()).map_err(failed)?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
        if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(Failure::refused(self.nothing))
    }
}
