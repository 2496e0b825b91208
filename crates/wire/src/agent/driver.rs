//! Runs an [`AgentSession`] over a transport: the only part of the agent's end that waits.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use super::{AgentEvent, AgentOutput, AgentSession, Outbox, Position};
use crate::{
    Connection, FRAME_BYTES_MAX_DOWN, FRAME_BYTES_MAX_UP, Hello, Join, PeerAddress, StreamError, ToAgent, ToCoordinator,
    Transport, TransportError, UnixClock,
    clock::DriverClock,
    stream::{FrameReceiver, FrameSender, Step},
};

/// Events that may wait for the agent; with more, the connection is not read, so that the coordinator slows down.
const EVENTS_WAITING_MAX: usize = 16;

/// Commands that may wait for the driver.
const COMMANDS_WAITING_MAX: usize = 64;

/// The largest body a machine can send: a frame, less its header.
const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX_UP - (1 << 10);

/// What an agent's connection needs.
#[derive(Clone)]
pub struct AgentConfig {
    /// Who we are and what we hold now.
    pub hello: Hello,
    /// What to say if the fleet does not know us.
    pub join: Option<Join>,
    /// Tried in turn.
    pub coordinators: Vec<PeerAddress>,
    /// Spreads the retries: random, and another one in each process.
    pub seed: u64,
    /// The machine's clock.
    pub unix_clock: UnixClock,
}

/// The connection has stopped: its events are no longer read, or [`AgentHandle::close`] was called.
#[derive(Debug, thiserror::Error)]
#[error("the agent's connection has stopped")]
pub struct AgentStopped;

/// Why something cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// It fits no frame.
    #[error("{bytes} bytes are over the limit of {BODY_BYTES_MAX} bytes for one message of a machine; say less")]
    Oversized {
        /// Its length.
        bytes: usize,
    },
    /// The connection has stopped.
    #[error(transparent)]
    Stopped(#[from] AgentStopped),
}

enum Command {
    Status { body: Bytes, urgent: bool },
    Acks(Vec<Bytes>),
    PlanAnswer(u64, Bytes),
    OutboxChanged,
    Position(Position),
    Join(Box<Join>),
    Coordinators(Vec<PeerAddress>),
    Close(oneshot::Sender<()>),
}

/// Speaks to a running connection. When the last one is dropped, the connection closes.
#[derive(Debug, Clone)]
pub struct AgentHandle {
    commands: mpsc::Sender<Command>,
}

impl AgentHandle {
    /// The latest status. It is sent again on every new session.
    pub async fn set_status(&self, body: Bytes) -> Result<(), PushError> {
        fits(&body)?;
        Ok(self.command(Command::Status { body, urgent: false }).await?)
    }

    /// The latest status, which says something that somebody waits for: it does not wait for the others of a burst.
    pub async fn set_urgent_status(&self, body: Bytes) -> Result<(), PushError> {
        fits(&body)?;
        Ok(self.command(Command::Status { body, urgent: true }).await?)
    }

    /// Acknowledgements. They wait while there is no session, but those under way when one breaks are lost:
    /// push those of the state held again after [`AgentEvent::Connected`].
    pub async fn push_acks(&self, acks: Vec<Bytes>) -> Result<(), PushError> {
        acks.iter().try_for_each(fits)?;
        Ok(self.command(Command::Acks(acks)).await?)
    }

    /// Answers [`AgentEvent::Plan`].
    pub async fn answer_plan(&self, id: u64, body: Bytes) -> Result<(), PushError> {
        fits(&body)?;
        Ok(self.command(Command::PlanAnswer(id, body)).await?)
    }

    /// The outbox has grown.
    pub async fn outbox_changed(&self) -> Result<(), AgentStopped> {
        self.command(Command::OutboxChanged).await
    }

    /// What the agent holds on its disk now.
    pub async fn set_position(&self, position: Position) -> Result<(), AgentStopped> {
        self.command(Command::Position(position)).await
    }

    /// What to say from the next connection on if the fleet does not know us.
    pub async fn set_join(&self, join: Join) -> Result<(), AgentStopped> {
        self.command(Command::Join(Box::new(join))).await
    }

    /// The coordinators to try from the next connection on; an empty list changes nothing.
    pub async fn set_coordinators(&self, coordinators: Vec<PeerAddress>) -> Result<(), AgentStopped> {
        if coordinators.is_empty() {
            return Ok(());
        }
        self.command(Command::Coordinators(coordinators)).await
    }

    /// Closes the connection and stops.
    pub async fn close(&self) -> Result<(), AgentStopped> {
        let (done, closed) = oneshot::channel();
        self.command(Command::Close(done)).await?;
        closed.await.map_err(|_| AgentStopped)
    }

    async fn command(&self, command: Command) -> Result<(), AgentStopped> {
        self.commands.send(command).await.map_err(|_| AgentStopped)
    }
}

fn fits(body: &Bytes) -> Result<(), PushError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(PushError::Oversized { bytes: body.len() });
    }
    Ok(())
}

/// The agent's connection.
#[derive(Debug)]
pub struct AgentConnection;

impl AgentConnection {
    /// Starts it: from now on it keeps a session with one of the coordinators. Must be called within a tokio runtime.
    pub fn spawn<T: Transport, O: Outbox>(
        config: AgentConfig,
        transport: Arc<T>,
        outbox: O,
    ) -> (AgentHandle, mpsc::Receiver<AgentEvent>) {
        let (commands, command_receiver) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (events, event_receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let clock = DriverClock::new(config.unix_clock);
        let session = AgentSession::new(config.hello, config.join, config.coordinators.len(), config.seed, clock.now());
        let driver = Driver {
            session,
            clock,
            transport,
            outbox,
            coordinators: config.coordinators,
            waiting: VecDeque::new(),
            events,
            link: None,
            connecting: None,
        };
        tokio::spawn(driver.run(command_receiver));
        (AgentHandle { commands }, event_receiver)
    }
}

type Connecting<C> = Pin<Box<dyn Future<Output = Result<Link<C>, TransportError>> + Send>>;

struct Driver<T: Transport, O> {
    session: AgentSession,
    clock: DriverClock,
    transport: Arc<T>,
    outbox: O,
    coordinators: Vec<PeerAddress>,
    waiting: VecDeque<AgentEvent>,
    events: mpsc::Sender<AgentEvent>,
    link: Option<Link<T::Connection>>,
    connecting: Option<Connecting<T::Connection>>,
}

impl<T: Transport, O: Outbox> Driver<T, O> {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let events = self.events.clone();
        loop {
            self.act().await;
            let can_send = self.fill();
            let wake = self.clock.at(self.session.deadline_milliseconds(can_send));
            let read = self.waiting.len() < EVENTS_WAITING_MAX;
            tokio::select! {
                // What is rare comes first, so that nothing which keeps coming holds it up.
                biased;
                () = sleep_until(wake) => self.session.tick(self.clock.now()),
                command = commands.recv() => match command {
                    Some(Command::Close(done)) => {
                        self.close("the agent stops");
                        // Nobody waiting for the answer is no fault.
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.obey(command),
                    None => return self.close("the agent stops"),
                },
                permit = events.reserve(), if !self.waiting.is_empty() => match permit {
                    Ok(permit) => if let Some(event) = self.waiting.pop_front() { permit.send(event) },
                    Err(_) => return self.close("the agent no longer listens"),
                },
                result = or_never(&mut self.connecting) => self.connected(result),
                step = next_step(&mut self.link, read) => self.stepped(step),
            }
        }
    }

    /// Does what the session asks for.
    async fn act(&mut self) {
        while let Some(output) = self.session.take_output() {
            match output {
                AgentOutput::Event(event) => self.waiting.push_back(event),
                AgentOutput::Connect { coordinator } => self.connect(coordinator),
                AgentOutput::Close { reason } => self.close(&reason),
                AgentOutput::ReadOutbox { after, limit } => match self.outbox.pending(after, limit).await {
                    Ok(items) => self.session.outbox_items(items, limit),
                    Err(error) => self.session.broke(describe(&error), self.clock.now()),
                },
                AgentOutput::Taken { sequence } => {
                    if let Err(error) = self.outbox.taken(sequence).await {
                        self.session.broke(describe(&error), self.clock.now());
                    }
                }
            }
        }
    }

    /// Gives the connection its next message; says whether it could take one.
    fn fill(&mut self) -> bool {
        let now = self.clock.now();
        let Some(link) = self.link.as_mut().filter(|link| !link.sender.is_pending()) else {
            return false;
        };
        let Some(message) = self.session.next_to_send(now) else {
            return true;
        };
        if let Err(error) = link.sender.queue(&message) {
            self.session.broke(describe(&error), now);
        }
        false
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Status { body, urgent } => self.session.set_status(body, urgent),
            Command::Acks(acks) => {
                let lost = acks.into_iter().filter(|ack| !self.session.push_ack(ack.clone())).count();
                if lost > 0 {
                    tracing::warn!(lost, "too many acknowledgements wait; they are pushed again after the next connect");
                }
            }
            Command::PlanAnswer(id, body) => self.session.answer_plan(id, body),
            Command::OutboxChanged => self.session.outbox_changed(),
            Command::Position(position) => self.session.set_position(position),
            Command::Join(join) => self.session.set_join(*join),
            Command::Coordinators(coordinators) => {
                self.session.set_coordinators(coordinators.len());
                self.coordinators = coordinators;
            }
            Command::Close(_) => {}
        }
    }

    fn connect(&mut self, coordinator: usize) {
        let transport = Arc::clone(&self.transport);
        let Some(address) = self.coordinators.get(coordinator).cloned() else {
            return self.session.broke("there is no coordinator to connect to", self.clock.now());
        };
        self.connecting = Some(Box::pin(async move {
            let connection = transport.connect(&address).await?;
            let (send, receive) = connection.open_stream().await?;
            Ok(Link {
                sender: FrameSender::new(send, FRAME_BYTES_MAX_UP),
                receiver: FrameReceiver::new(receive, FRAME_BYTES_MAX_DOWN),
                connection,
            })
        }));
    }

    fn connected(&mut self, result: Result<Link<T::Connection>, TransportError>) {
        self.connecting = None;
        match result {
            Ok(link) => {
                self.link = Some(link);
                self.session.connected(self.clock.now());
            }
            Err(error) => self.session.broke(describe(&error), self.clock.now()),
        }
    }

    fn stepped(&mut self, step: LinkStep) {
        let now = self.clock.now();
        match step {
            LinkStep::Received(Ok(Step::Message(message))) => self.session.received(message, now),
            LinkStep::Received(Ok(Step::Progress)) => self.session.heard(now),
            LinkStep::Received(Ok(Step::End)) => self.session.broke("the coordinator ended the session", now),
            LinkStep::Received(Err(error)) | LinkStep::Sent(Err(error)) => self.session.broke(describe(&error), now),
            LinkStep::Sent(Ok(())) => {}
            LinkStep::Closed(reason) => self.session.broke(reason, now),
        }
    }

    fn close(&mut self, reason: &str) {
        self.connecting = None;
        if let Some(link) = self.link.take() {
            link.connection.close(reason);
        }
    }
}

struct Link<C: Connection> {
    sender: FrameSender<C::Send, ToCoordinator>,
    receiver: FrameReceiver<C::Receive, ToAgent>,
    connection: C,
}

enum LinkStep {
    Received(Result<Step<ToAgent>, StreamError>),
    Sent(Result<(), StreamError>),
    Closed(String),
}

/// Cancel safe, as its three parts are.
async fn next_step<C: Connection>(link: &mut Option<Link<C>>, read: bool) -> LinkStep {
    let Some(link) = link else {
        return std::future::pending().await;
    };
    let sending = link.sender.is_pending();
    tokio::select! {
        biased;
        result = link.receiver.step(), if read => LinkStep::Received(result),
        result = link.sender.drain(), if sending => LinkStep::Sent(result),
        reason = link.connection.closed() => LinkStep::Closed(reason),
    }
}

async fn or_never<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// An error with its causes, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
