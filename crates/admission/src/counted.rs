//! The doors of admission as callers use them: what goes through is counted and timed.

use stead_store::Outcome;
use stead_trust::{ChangeStatement, Submission};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::admission::{Admission, Caller, Submitted, Write};
use crate::error::WriteError;
use crate::metrics::{COORDINATOR, OWNERS, reason};
use crate::precondition::Precondition;

impl Admission {
    /// Commits plain writes together, at one revision. What the trust root leaves to the online keys is signed here.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing has happened then.
    pub async fn write(
        &self,
        caller: &Caller,
        message: &str,
        writes: Vec<Write>,
        dry_run: bool,
    ) -> Result<Vec<Outcome>, WriteError> {
        let begun = Instant::now();
        let result = self.write_plain(caller, message, writes, dry_run).await;
        if !dry_run {
            self.metrics().ended(&COORDINATOR, begun.elapsed(), &result);
        }
        result
    }

    /// Admits a Change that owners signed.
    ///
    /// # Errors
    ///
    /// [`WriteError::Refused`] says which check failed; nothing has happened then.
    pub async fn submit(&self, caller: &Caller, submission: &Submission, dry_run: bool) -> Result<Submitted, WriteError> {
        self.submit_if(caller, submission, &[], dry_run).await
    }

    /// Admits a Change that owners signed, where what it depends on holds at that moment.
    ///
    /// # Errors
    ///
    /// As [`Admission::submit`], and [`WriteError::Precondition`].
    pub async fn submit_if(
        &self,
        caller: &Caller,
        submission: &Submission,
        preconditions: &[Precondition],
        dry_run: bool,
    ) -> Result<Submitted, WriteError> {
        let begun = Instant::now();
        // What the document says of itself, before anything is checked: only to call it something in logs and traces.
        let id = ChangeStatement::id_in(&submission.statement.document).unwrap_or_default();
        let span = tracing::info_span!("admit", change = id, dry_run, outcome = tracing::field::Empty);
        tracing::Span::current().record("change", &id);
        let result = self.submit_signed(caller, submission, preconditions, dry_run).instrument(span.clone()).await;
        span.record("outcome", result.as_ref().map_or_else(reason, |_| "Admitted"));
        if let Err(error) = &result {
            tracing::info!(change = id, by = %caller.name, reason = reason(error), "a signed change was refused");
        }
        if !dry_run {
            self.metrics().ended(&OWNERS, begun.elapsed(), &result);
        }
        result
    }
}
