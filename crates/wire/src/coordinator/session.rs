//! One session's task: reads, writes and asks for verdicts side by side, until one of them ends it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Admission, HANDSHAKE_SECONDS_MAX,
    shared::{Question, Shared, Signals},
};
use crate::{
    Connection, FRAME_BYTES_MAX_DOWN, FRAME_BYTES_MAX_UP, FrameError, Refusal, SessionId, StreamError, ToAgent, ToCoordinator,
    Verdict,
    stream::{FrameReceiver, FrameSender, Step},
};

/// How long a session that is closed may take to get its last message out.
const LINGER_SECONDS: u64 = 2;

pub(super) async fn run_session<C: Connection, A: Admission>(
    connection: C,
    id: SessionId,
    shared: &Shared,
    admission: &A,
    admissions: &Semaphore,
    stop: &CancellationToken,
) {
    let (questions, asked) = mpsc::channel(1);
    let (verdicts, decided) = mpsc::channel(1);
    let (closing, closed) = watch::channel(None);
    let signals = Arc::new(Signals { wake: Notify::new(), closing, questions, verdicts });
    shared.register(id, Arc::clone(&signals));
    let session = Session { id, shared, closed };
    let reason = tokio::select! {
        biased;
        reason = session.run(&connection, &signals.wake, Deciding { admission, admissions, asked, decided }) => reason,
        reason = connection.closed() => reason,
        () = stop.cancelled() => "the coordinator stops".to_owned(),
    };
    connection.close(&reason);
    shared.unregister(id);
    shared.input_with_events(|hub, _| hub.disconnected(id, &reason)).await;
}

struct Deciding<'a, A> {
    admission: &'a A,
    admissions: &'a Semaphore,
    asked: mpsc::Receiver<Box<Question>>,
    decided: mpsc::Receiver<Box<Verdict>>,
}

struct Session<'a> {
    id: SessionId,
    shared: &'a Shared,
    closed: watch::Receiver<Option<String>>,
}

impl Session<'_> {
    async fn run<C: Connection, A: Admission>(&self, connection: &C, wake: &Notify, deciding: Deciding<'_, A>) -> String {
        let limit = Duration::from_secs(HANDSHAKE_SECONDS_MAX);
        let (send, receive) = match timeout(limit, connection.accept_stream()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return error.to_string(),
            Err(_) => {
                self.shared.count_refusal(Refusal::Silent);
                return Refusal::Silent.to_string();
            }
        };
        let mut sender = FrameSender::new(send, FRAME_BYTES_MAX_DOWN);
        let reading = self.read(FrameReceiver::new(receive, FRAME_BYTES_MAX_UP));
        let reason = tokio::select! {
            biased;
            reason = async { tokio::join!(reading, self.decide(deciding)).0 } => reason,
            reason = self.write(&mut sender, wake) => reason,
        };
        // What was said last has to arrive; the peer closes when it has read it.
        let last = async {
            sender.finish().await?;
            connection.closed().await;
            Ok::<_, StreamError>(())
        };
        if self.closed.borrow().is_some() && timeout(Duration::from_secs(LINGER_SECONDS), last).await.is_err() {
            tracing::debug!(session = %self.id, "the peer did not close its session");
        }
        reason
    }

    /// Ends when the peer does, or when it sends what cannot be read; the writer then says the last word.
    async fn read<R: tokio::io::AsyncRead + Unpin>(&self, mut receiver: FrameReceiver<R, ToCoordinator>) -> String {
        loop {
            match receiver.step().await {
                Ok(Step::Message(message)) => {
                    if !self.shared.input_with_events(|hub, now| hub.received(self.id, message, now)).await {
                        return "nobody listens to this coordinator's sessions any more".to_owned();
                    }
                }
                Ok(Step::Progress) => self.shared.input(|hub, now| hub.heard(self.id, now)),
                Ok(Step::End) => return "the machine ended the session".to_owned(),
                Err(StreamError::Frame(error)) => {
                    let refusal = match error {
                        FrameError::Oversized { .. } => Refusal::Oversized,
                        _ => Refusal::Garbage,
                    };
                    self.shared.input(|hub, _| hub.refuse(self.id, refusal));
                    return std::future::pending().await;
                }
                Err(error) => return error.to_string(),
            }
        }
    }

    /// Ends when the hub has closed the session and everything it had to say is out.
    async fn write<W: tokio::io::AsyncWrite + Unpin>(&self, sender: &mut FrameSender<W, ToAgent>, wake: &Notify) -> String {
        loop {
            while let Some(message) = self.shared.input(|hub, now| hub.next_to_send(self.id, now)) {
                let sent = tokio::select! {
                    biased;
                    sent = sender.send(&message) => sent,
                    reason = self.overdue() => return reason,
                };
                if let Err(error) = sent {
                    return error.to_string();
                }
                if let ToAgent::State(state) = &message {
                    tracing::debug!(session = ?self.id, revision = state.revision, complete = state.complete, "a state is out");
                }
            }
            if let Some(reason) = self.closed.borrow().clone() {
                return reason;
            }
            if self.shared.input(|hub, _| hub.needs_state(self.id)) {
                self.shared.input_with_events(|hub, _| hub.take_needs_state(self.id)).await;
                continue;
            }
            wake.notified().await;
        }
    }

    /// Ends some time after the session was closed: a peer that reads nothing must not keep it.
    async fn overdue(&self) -> String {
        let mut closed = self.closed.clone();
        let reason = match closed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => return "the session was given up".to_owned(),
        };
        sleep(Duration::from_secs(LINGER_SECONDS)).await;
        reason
    }

    async fn decide<A: Admission>(&self, mut deciding: Deciding<'_, A>) {
        loop {
            let verdict = tokio::select! {
                biased;
                verdict = deciding.decided.recv() => verdict.map(|verdict| *verdict),
                question = deciding.asked.recv() => match question {
                    Some(question) => self.ask(&deciding, question).await,
                    None => None,
                },
            };
            let Some(verdict) = verdict else {
                return;
            };
            self.shared.input_with_events(|hub, now| hub.decide(self.id, verdict, now)).await;
        }
    }

    async fn ask<A: Admission>(&self, deciding: &Deciding<'_, A>, question: Box<Question>) -> Option<Verdict> {
        let Question { peer, hello, join } = *question;
        let _turn = deciding.admissions.acquire().await.ok()?;
        Some(match join {
            Some(join) => deciding.admission.join(peer, hello, join).await,
            None => deciding.admission.hello(peer, hello).await,
        })
    }
}
