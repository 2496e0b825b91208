//! Both state machines without any network: whatever is lost, every event arrives once and in order, and so does the newest state.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;
use stead_wire::*;

use crate::fleet::FLEET;

const MACHINE: PeerKey = PeerKey([2; 32]);

/// Rounds of one simulated second after which everything must have arrived: twice the longest pause and the longest silence.
const ROUNDS_MAX: usize = 300;

#[derive(Debug, Clone)]
enum Op {
    /// The machine has something to tell.
    Push(u8),
    /// The record changes.
    Change,
    /// Messages are put on the connection, this many each way.
    Send(u8),
    /// Messages arrive, this many each way.
    Arrive(u8),
    /// Both sides notice that the connection broke; what was under way is lost.
    Cut,
    /// The machine is killed and starts again with what its disk holds; the coordinator notices nothing.
    Restart,
    /// Time passes.
    Pass(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (1u8..40).prop_map(Op::Push),
        3 => Just(Op::Change),
        6 => (1u8..6).prop_map(Op::Send),
        6 => (1u8..6).prop_map(Op::Arrive),
        1 => Just(Op::Cut),
        1 => Just(Op::Restart),
        3 => (1u16..3_000).prop_map(Op::Pass),
    ]
}

struct Link {
    session: SessionId,
    up: VecDeque<ToCoordinator>,
    down: VecDeque<ToAgent>,
}

struct World {
    now: Now,
    agent: AgentSession,
    hub: Hub,
    link: Option<Link>,
    process: u8,
    // The machine's disk.
    outbox: BTreeMap<u64, Bytes>,
    pushed: u64,
    revision: u64,
    bundles: Vec<u64>,
    // The coordinator's disk.
    record: u64,
    taken: Vec<u64>,
}

impl World {
    fn new() -> Self {
        let now = Now::default();
        let hub = HubConfig { fleet: FLEET, beat_seconds: 5, coordinators: Vec::new() };
        Self {
            now,
            agent: AgentSession::new(Hello::new(FLEET, [0; 16]), None, 1, 0, now),
            hub: Hub::new(hub),
            link: None,
            process: 0,
            outbox: BTreeMap::new(),
            pushed: 0,
            revision: 0,
            bundles: Vec::new(),
            record: 0,
            taken: Vec::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Push(count) => {
                for _ in 0..*count {
                    self.pushed += 1;
                    self.outbox.insert(self.pushed, Bytes::from(vec![0; 1_000]));
                }
                self.agent.outbox_changed();
            }
            Op::Change => {
                self.record += 1;
                // Not connected, or behind: the state comes later.
                let _ = self.hub.send_state(MACHINE, since(self.record - 1, self.record));
            }
            Op::Send(count) => self.send(*count),
            Op::Arrive(count) => self.arrive(*count),
            Op::Cut => self.cut("cut"),
            Op::Restart => {
                self.process += 1;
                self.link = None;
                let mut hello = Hello::new(FLEET, [self.process; 16]);
                (hello.incarnation, hello.revision) = (1, self.revision);
                self.agent = AgentSession::new(hello, None, 1, u64::from(self.process), self.now);
            }
            Op::Pass(milliseconds) => self.pass(u64::from(*milliseconds)),
        }
        self.pump();
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now.monotonic_milliseconds += milliseconds;
        self.now.unix_milliseconds += milliseconds;
        self.agent.tick(self.now);
        self.hub.tick(self.now);
    }

    fn send(&mut self, count: u8) {
        let Some(link) = &mut self.link else { return };
        // Late, as a slow task would be: the record may have changed meanwhile.
        if self.hub.needs_state(link.session) {
            self.hub.take_needs_state(link.session);
        }
        for _ in 0..count {
            link.up.extend(self.agent.next_to_send(self.now));
            link.down.extend(self.hub.next_to_send(link.session, self.now));
        }
    }

    fn arrive(&mut self, count: u8) {
        for _ in 0..count {
            let Some(link) = &mut self.link else { return };
            let (session, up, down) = (link.session, link.up.pop_front(), link.down.pop_front());
            if let Some(message) = up {
                self.hub.received(session, message, self.now);
            }
            if let Some(message) = down {
                self.agent.received(message, self.now);
            }
            self.pump();
        }
    }

    fn cut(&mut self, reason: &str) {
        if let Some(link) = self.link.take() {
            self.hub.disconnected(link.session, reason);
            self.agent.broke(reason, self.now);
        }
    }

    fn pump(&mut self) {
        loop {
            if let Some(output) = self.agent.take_output() {
                self.agent_wants(output);
            } else if let Some(effect) = self.hub.take_effect() {
                self.hub_wants(effect);
            } else if let Some(event) = self.hub.take_event() {
                self.hub_says(event);
            } else {
                return;
            }
        }
    }

    fn agent_wants(&mut self, output: AgentOutput) {
        match output {
            AgentOutput::Connect { .. } => match self.hub.connected(MACHINE, true, self.now) {
                Ok(session) => {
                    self.link = Some(Link { session, up: VecDeque::new(), down: VecDeque::new() });
                    self.agent.connected(self.now);
                }
                Err(refusal) => self.agent.broke(refusal.to_string(), self.now),
            },
            AgentOutput::Close { reason } => self.cut(&reason),
            AgentOutput::ReadOutbox { after, limit } => {
                let items = self.outbox.range(after + 1..).take(limit);
                let items = items.map(|(sequence, body)| OutboxItem { sequence: *sequence, body: body.clone() });
                self.agent.outbox_items(items.collect(), limit);
            }
            AgentOutput::Taken { sequence } => self.outbox = self.outbox.split_off(&(sequence + 1)),
            AgentOutput::Event(AgentEvent::State(state)) => {
                assert!(state.full || state.since <= self.revision, "a gap before {} at {}", state.since, self.revision);
                for bundle in &state.bundles {
                    let number = u64::from_le_bytes(bundle[..8].try_into().unwrap());
                    if self.bundles.last().is_none_or(|last| *last < number) {
                        self.bundles.push(number);
                    }
                }
                if state.complete {
                    self.revision = self.revision.max(state.revision);
                    self.agent.set_position(Position { incarnation: 1, revision: self.revision, ..Position::default() });
                }
            }
            AgentOutput::Event(_) => {}
        }
    }

    fn hub_wants(&mut self, effect: Effect) {
        match effect {
            Effect::Admit { session, .. } => self.hub.decide(session, Verdict::Welcome { incarnation: 1 }, self.now),
            Effect::Close { session, reason } => {
                if self.link.as_ref().is_some_and(|link| link.session == session) {
                    self.cut(&reason);
                } else {
                    self.hub.disconnected(session, &reason);
                }
            }
            Effect::Wake(_) | Effect::PlanAnswered { .. } => {}
        }
    }

    fn hub_says(&mut self, event: HubEvent) {
        match event {
            HubEvent::Joined { hello, .. } => {
                let _ = self.hub.send_state(MACHINE, since(hello.revision, self.record));
            }
            HubEvent::NeedsState { revision, .. } => {
                let _ = self.hub.send_state(MACHINE, since(revision, self.record));
            }
            HubEvent::Events { items, .. } => {
                for item in items {
                    let last = self.taken.last().copied().unwrap_or(0);
                    assert!(item.sequence <= last + 1, "{} after {last}", item.sequence);
                    if item.sequence == last + 1 {
                        self.taken.push(item.sequence);
                    }
                }
                self.hub.taken(MACHINE, self.taken.len() as u64);
            }
            HubEvent::DuplicateKey { .. } => panic!("there is one machine only"),
            _ => {}
        }
    }

    fn is_settled(&self) -> bool {
        self.outbox.is_empty() && self.revision == self.record
    }
}

/// Each revision has one bundle of 100 KiB that says its number.
fn since(from: u64, to: u64) -> State {
    let bundle = |number: u64| {
        let mut bytes = vec![0; 100 << 10];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Bytes::from(bytes)
    };
    State {
        incarnation: 1,
        since: from,
        revision: to,
        full: from == 0,
        complete: true,
        roots: Vec::new(),
        bundles: (from + 1..=to).map(bundle).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_is_lost_whatever_breaks(ops in prop::collection::vec(op(), 1..150)) {
        let mut world = World::new();
        world.pump();
        for op in &ops {
            world.apply(op);
        }
        let mut rounds = 0;
        while !world.is_settled() {
            rounds += 1;
            prop_assert!(rounds < ROUNDS_MAX, "not settled: revision {} of {}, {} events left", world.revision, world.record, world.outbox.len());
            for op in [Op::Send(20), Op::Arrive(20), Op::Pass(1_000)] {
                world.apply(&op);
            }
        }
        prop_assert_eq!(&world.taken, &(1..=world.pushed).collect::<Vec<_>>());
        prop_assert_eq!(&world.bundles, &(1..=world.record).collect::<Vec<_>>());
        prop_assert_eq!(world.hub.counters().duplicates, 0);
    }
}
