//! Both ends over memory, under a paused clock.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use stead_wire::*;

use crate::fleet::{Centre, Door, FLEET, Machine, at, state};

const CENTRE: PeerKey = PeerKey([1; 32]);
const MACHINE: PeerKey = PeerKey([2; 32]);

fn pair(door: Door) -> (MemoryNetwork, Centre) {
    let network = MemoryNetwork::new();
    let centre = Centre::start(Arc::new(network.endpoint(CENTRE)), door);
    (network, centre)
}

fn machine(network: &MemoryNetwork, key: PeerKey, process: u8, pass: Option<&'static [u8]>) -> Machine {
    Machine::start(Arc::new(network.endpoint(key)), vec![at(CENTRE)], process, pass)
}

#[tokio::test(start_paused = true)]
async fn state_goes_down_and_status_acks_and_events_come_up() {
    let (network, mut centre) = pair(Door::open());
    let mut machine = machine(&network, MACHINE, 1, None);
    machine.connected().await;
    let (peer, _, hello) = centre.joined().await;
    assert_eq!((peer, hello.revision), (MACHINE, 0));
    centre.handle.send_state(MACHINE, state(0, 5, b"all")).unwrap();
    let got = machine.state().await;
    assert_eq!((got.revision, got.full, got.bundles), (5, true, vec![Bytes::from_static(b"all")]));
    centre.handle.send_state(MACHINE, state(5, 6, b"more")).unwrap();
    assert_eq!(machine.state().await.revision, 6);

    machine.handle.set_status(Bytes::from_static(b"well")).await.unwrap();
    machine.handle.push_acks(vec![Bytes::from_static(b"done")]).await.unwrap();
    let mut seen = (false, false);
    centre
        .until(|event| {
            seen.0 |= matches!(&event, HubEvent::Status { body, .. } if body == "well");
            seen.1 |= matches!(&event, HubEvent::Acks { items, .. } if items == &[Bytes::from_static(b"done")]);
            (seen == (true, true)).then_some(())
        })
        .await;
    for index in 0..1_000 {
        machine.outbox.push(Bytes::from(format!("event {index}")));
    }
    machine.handle.outbox_changed().await.unwrap();
    let events = centre.collect(1_000).await;
    assert_eq!(events[&MACHINE][999].1, "event 999");
    while !machine.outbox.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    machine.until(|event| matches!(event, AgentEvent::ClockOffset { .. }).then_some(())).await;
    machine.handle.close().await.unwrap();
    centre.until(|event| matches!(event, HubEvent::Left { .. }).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_stays_up_and_a_cut_one_comes_back_with_what_it_holds() {
    let (network, mut centre) = pair(Door::open());
    let mut machine = machine(&network, MACHINE, 1, None);
    machine.connected().await;
    centre.joined().await;
    let until = tokio::time::Instant::now() + Duration::from_secs(3_600);
    while tokio::time::Instant::now() < until {
        centre.until(|event| matches!(event, HubEvent::Beat { .. }).then_some(())).await;
        machine.until(|event| matches!(event, AgentEvent::ClockOffset { offset_milliseconds: 0, .. }).then_some(())).await;
    }
    machine.handle.set_position(Position { incarnation: 1, revision: 42, ..Position::default() }).await.unwrap();
    machine.handle.set_status(Bytes::from_static(b"kept")).await.unwrap();
    centre.until(|event| matches!(event, HubEvent::Status { .. }).then_some(())).await;
    assert_eq!(network.cut(MACHINE), 1);
    machine.disconnected().await;
    machine.connected().await;
    let (_, _, hello) = centre.joined().await;
    assert_eq!((hello.incarnation, hello.revision), (1, 42));
    centre.until(|event| matches!(event, HubEvent::Status { .. }).then_some(())).await;
    assert_eq!(centre.handle.counters().duplicates, 0);
}

#[tokio::test(start_paused = true)]
async fn every_event_arrives_in_order_though_the_connection_is_cut_again_and_again() {
    let (network, mut centre) = pair(Door::open());
    let machine = machine(&network, MACHINE, 1, None);
    let handle = machine.handle.clone();
    let outbox = machine.outbox.clone();
    let mut events = machine.events;
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let cutter = tokio::spawn(async move {
        for round in 0..40u64 {
            for index in 0..25 {
                outbox.push(Bytes::from(format!("{}", round * 25 + index)));
                handle.outbox_changed().await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(round * 37 % 900)).await;
            network.cut(MACHINE);
        }
    });
    let events = centre.collect(1_000).await;
    cutter.await.unwrap();
    let bodies: Vec<String> = events[&MACHINE].iter().map(|(_, body)| String::from_utf8(body.to_vec()).unwrap()).collect();
    assert_eq!(bodies, (0..1_000).map(|index| index.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn joining_waits_for_approval_and_a_ticket_may_approve_by_itself() {
    let door = Door::default();
    let (network, mut centre) = pair(door.clone());
    let mut waiting = machine(&network, MACHINE, 1, Some(b"asks"));
    waiting.until(|event| matches!(event, AgentEvent::Pending { .. }).then_some(())).await;
    door.members.lock().unwrap().insert(MACHINE);
    assert_eq!(centre.handle.decide(MACHINE, &Verdict::Welcome { incarnation: 1 }), 1);
    waiting.connected().await;
    assert_eq!(centre.joined().await.0, MACHINE);

    let other = PeerKey([3; 32]);
    let mut delegated = machine(&network, other, 2, Some(b"approves by itself"));
    delegated.connected().await;
    assert_eq!(centre.joined().await.0, other);

    let mut wrong = machine(&network, PeerKey([4; 32]), 3, Some(b"guess"));
    let reason = wrong
        .until(|event| match event {
            AgentEvent::Refused { reason } => Some(reason),
            _ => None,
        })
        .await;
    assert_eq!(reason, "wrong pass");
    let mut stranger = machine(&network, PeerKey([5; 32]), 4, None);
    assert!(stranger.disconnected().await.contains("no ticket"));
    assert_eq!(centre.handle.counters().refused(Refusal::Refused), 1);
}

#[tokio::test(start_paused = true)]
async fn two_machines_with_one_key_are_noticed_and_a_restart_is_not() {
    let (network, mut centre) = pair(Door::open());
    let mut first = machine(&network, MACHINE, 1, None);
    first.connected().await;
    centre.joined().await;
    // Killed: its connection goes with it, but the coordinator hears of the new one first.
    let mut restarted = machine(&network, MACHINE, 2, None);
    drop(first);
    restarted.connected().await;
    centre.joined().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(centre.handle.counters().duplicates, 0);

    let mut twin = machine(&network, MACHINE, 3, None);
    twin.connected().await;
    let (older, newer) = centre
        .until(|event| match event {
            HubEvent::DuplicateKey { older, newer, .. } => Some((older, newer)),
            _ => None,
        })
        .await;
    assert_eq!((older.process, newer.process), ([2; 16], [3; 16]));
    let reason = restarted.disconnected().await;
    assert!(reason.contains("another machine presents the same key"), "{reason}");
    // The newest is served.
    centre.handle.send_state(MACHINE, state(0, 9, b"x")).unwrap();
    assert_eq!(twin.state().await.revision, 9);
}

#[tokio::test(start_paused = true)]
async fn plans_are_asked_for_and_answered() {
    let (network, mut centre) = pair(Door::open());
    let machine = machine(&network, MACHINE, 1, None);
    let Machine { handle, mut events, .. } = machine;
    let echo = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let AgentEvent::Plan { id, body } = event
                && body != "silence"
            {
                handle.answer_plan(id, body).await.unwrap();
            }
        }
    });
    centre.joined().await;
    let limit = Duration::from_secs(5);
    for index in 0..20u8 {
        let body = Bytes::from(vec![index; 100]);
        assert_eq!(centre.handle.request_plan(MACHINE, body.clone(), limit).await.unwrap(), body);
    }
    let silent = centre.handle.request_plan(MACHINE, Bytes::from_static(b"silence"), limit).await;
    assert!(matches!(silent, Err(PlanError::Timeout { .. })));
    let absent = centre.handle.request_plan(PeerKey([9; 32]), Bytes::new(), limit).await;
    assert!(matches!(absent, Err(PlanError::Unavailable { .. })));
    let (left, _) = tokio::join!(centre.handle.request_plan(MACHINE, Bytes::from_static(b"silence"), limit), async {
        tokio::task::yield_now().await;
        network.cut(MACHINE)
    });
    assert!(matches!(left, Err(PlanError::Left { .. })), "{left:?}");
    echo.abort();
}

#[tokio::test(start_paused = true)]
async fn a_large_state_goes_in_parts_and_a_machine_that_lags_is_asked_for_a_fresh_one() {
    let (network, mut centre) = pair(Door::open());
    let mut machine = machine(&network, MACHINE, 1, None);
    machine.connected().await;
    centre.joined().await;
    let bundles: Vec<Bytes> = (0..40u8).map(|index| Bytes::from(vec![index; 100 << 10])).collect();
    let large = State { bundles: bundles.clone(), ..state(0, 5, b"") };
    centre.handle.send_state(MACHINE, large).unwrap();
    for revision in 6..100 {
        let result = centre.handle.send_state(MACHINE, state(revision - 1, revision, b"small"));
        assert!(matches!(result, Err(SendStateError::Behind { .. })), "{result:?}");
    }
    let got = machine.state().await;
    assert_eq!((got.revision, got.bundles == bundles), (5, true));
    let needs = centre
        .until(|event| match event {
            HubEvent::NeedsState { incarnation, revision, .. } => Some((incarnation, revision)),
            _ => None,
        })
        .await;
    assert_eq!(needs, (1, 5));
    centre.handle.send_state(MACHINE, state(5, 99, b"rest")).unwrap();
    assert_eq!(machine.state().await.revision, 99);
    assert!(centre.handle.counters().state_parts > 10);
}

#[tokio::test(start_paused = true)]
async fn the_next_coordinator_is_tried_and_a_silent_one_is_left() {
    let network = MemoryNetwork::new();
    let silent = network.endpoint(PeerKey([8; 32]));
    let mut centre = Centre::start(Arc::new(network.endpoint(CENTRE)), Door::open());
    // The seed is 1, and so the second of three comes first.
    let addresses = vec![at(CENTRE), at(PeerKey([9; 32])), at(PeerKey([8; 32]))];
    let mut machine = Machine::start(Arc::new(network.endpoint(MACHINE)), addresses, 1, None);
    assert!(machine.disconnected().await.contains("cannot be reached"));
    let _held = silent.accept().await.unwrap();
    assert!(machine.disconnected().await.contains("did not answer in time"));
    machine.connected().await;
    assert_eq!(centre.joined().await.0, MACHINE);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_reads_nothing_slows_nobody() {
    let (network, mut centre) = pair(Door::open());
    let stuck = PeerKey([5; 32]);
    let transport = network.endpoint(stuck);
    let connection = transport.connect(&at(CENTRE)).await.unwrap();
    let (send, _unread) = connection.open_stream().await.unwrap();
    let mut sender = FrameSender::new(send, FRAME_BYTES_MAX_UP);
    sender.send(&ToCoordinator::Hello(Hello::new(FLEET, [9; 16]))).await.unwrap();
    assert_eq!(centre.joined().await.0, stuck);
    let large = State { bundles: vec![Bytes::from(vec![0; 1 << 20]); 8], ..state(0, 5, b"") };
    centre.handle.send_state(stuck, large).unwrap();

    let mut machine = machine(&network, MACHINE, 1, None);
    machine.connected().await;
    centre.joined().await;
    let start = tokio::time::Instant::now();
    centre.handle.send_state(MACHINE, state(0, 1, b"first")).unwrap();
    for revision in 2..500 {
        assert_eq!(machine.state().await.revision, revision - 1);
        centre.handle.send_state(MACHINE, state(revision - 1, revision, b"next")).unwrap();
        assert!(centre.handle.send_state(stuck, state(revision - 1, revision, b"next")).is_err());
    }
    assert!(start.elapsed() < Duration::from_secs(1), "on the paused clock, waiting for the stuck one would show");
    // It goes on reading nothing, and says nothing: it is cut off.
    centre.until(|event| matches!(event, HubEvent::Left { peer, .. } if peer == stuck).then_some(())).await;
    assert_eq!(centre.handle.counters().refused(Refusal::Silent), 1);
}

#[tokio::test(start_paused = true)]
async fn machines_come_back_to_a_coordinator_that_was_killed() {
    let network = MemoryNetwork::new();
    let first = Arc::new(network.endpoint(CENTRE));
    let mut centre = Centre::start(first.clone(), Door::open());
    let mut machines: Vec<Machine> = (10..60).map(|key| machine(&network, PeerKey([key; 32]), key, None)).collect();
    for _ in &machines {
        centre.joined().await;
    }
    first.close().await;
    drop(centre);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let mut centre = Centre::start(Arc::new(network.endpoint(CENTRE)), Door::open());
    let start = tokio::time::Instant::now();
    for _ in &machines {
        centre.joined().await;
    }
    assert!(start.elapsed() <= Duration::from_millis(BACKOFF_MILLISECONDS_MAX + 1_000), "{:?}", start.elapsed());
    for machine in &mut machines {
        machine.disconnected().await;
        machine.connected().await;
    }
    assert_eq!(centre.handle.counters().served, machines.len());
}
