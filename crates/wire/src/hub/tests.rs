//! Tables for the hub.

use super::*;

const FLEET: [u8; 32] = [7; 32];
const MACHINE: PeerKey = PeerKey([2; 32]);

fn at(milliseconds: u64) -> Now {
    Now { monotonic_milliseconds: milliseconds, unix_milliseconds: 1_000_000 + milliseconds }
}

fn hub() -> Hub {
    Hub::new(HubConfig { fleet: FLEET, beat_seconds: 5, coordinators: Vec::new() })
}

fn hello(process: u8) -> ToCoordinator {
    ToCoordinator::Hello(Hello::new(FLEET, [process; 16]))
}

fn sent(hub: &mut Hub, id: SessionId) -> Vec<ToAgent> {
    std::iter::from_fn(|| hub.next_to_send(id, at(0))).collect()
}

fn events(hub: &mut Hub) -> Vec<HubEvent> {
    std::iter::from_fn(|| hub.take_event()).collect()
}

fn effects(hub: &mut Hub) -> Vec<Effect> {
    std::iter::from_fn(|| hub.take_effect()).collect()
}

fn closes(hub: &mut Hub, id: SessionId) -> bool {
    effects(hub).iter().any(|effect| matches!(effect, Effect::Close { session, .. } if *session == id))
}

/// A served session, its welcome sent and its join heard.
fn served(hub: &mut Hub, process: u8, now: Now) -> SessionId {
    let id = hub.connected(MACHINE, true, now).unwrap();
    hub.received(id, hello(process), now);
    hub.decide(id, Verdict::Welcome { incarnation: 1 }, now);
    assert!(matches!(sent(hub, id).as_slice(), [ToAgent::Welcome { .. }]));
    id
}

fn state(since: u64, revision: u64, bundles: usize) -> State {
    State {
        incarnation: 1,
        since,
        revision,
        full: since == 0,
        complete: true,
        roots: Vec::new(),
        bundles: vec![Bytes::from(vec![0; 100 << 10]); bundles],
    }
}

#[test]
fn each_phase_has_its_limit_in_time() {
    type Reach = fn(&mut Hub) -> SessionId;
    let cases: [(&str, Reach, u64, Refusal); 4] = [
        ("no hello", |hub| hub.connected(MACHINE, true, at(0)).unwrap(), HELLO_MILLISECONDS_MAX, Refusal::Silent),
        (
            "no verdict",
            |hub| {
                let id = hub.connected(MACHINE, false, at(0)).unwrap();
                hub.received(id, hello(1), at(0));
                id
            },
            DECISION_MILLISECONDS_MAX,
            Refusal::NotAdmitted,
        ),
        (
            "unknown",
            |hub| {
                let id = hub.connected(MACHINE, false, at(0)).unwrap();
                hub.received(id, hello(1), at(0));
                hub.decide(id, Verdict::Unknown, at(0));
                id
            },
            UNKNOWN_MILLISECONDS_MAX,
            Refusal::NotAdmitted,
        ),
        ("silent", |hub| served(hub, 1, at(0)), HUB_SILENT_BEATS_MAX * 5_000, Refusal::Silent),
    ];
    for (name, reach, limit, refusal) in cases {
        let mut hub = hub();
        let id = reach(&mut hub);
        effects(&mut hub);
        hub.tick(at(limit - 1));
        assert!(effects(&mut hub).is_empty(), "{name}: too early");
        hub.tick(at(limit));
        assert!(closes(&mut hub, id), "{name}");
        assert_eq!(hub.counters().refused(refusal), 1, "{name}");
        hub.tick(at(limit * 2));
        assert!(effects(&mut hub).is_empty(), "{name}: once");
        hub.disconnected(id, "gone");
        assert_eq!((hub.counters().sessions, hub.unknown, hub.peers.len()), (0, 0, 0), "{name}");
    }
}

#[test]
fn rooms_are_bounded_by_key_and_for_strangers() {
    let mut hub = hub();
    for _ in 0..SESSIONS_PER_KEY_MAX {
        hub.connected(MACHINE, true, at(0)).unwrap();
    }
    assert_eq!(hub.connected(MACHINE, true, at(0)), Err(Refusal::TooManyOfOneKey));
    let key = |index: usize| {
        let mut key = [9; 32];
        key[..8].copy_from_slice(&(index as u64).to_le_bytes());
        PeerKey(key)
    };
    for index in 0..UNKNOWN_SESSIONS_MAX {
        hub.connected(key(index), false, at(0)).unwrap();
    }
    assert_eq!(hub.connected(key(usize::MAX), false, at(0)), Err(Refusal::TooManyUnknown));
    assert!(hub.connected(key(usize::MAX), true, at(0)).is_ok());
}

#[test]
fn a_displaced_session_that_answers_is_a_second_machine() {
    let mut hub = hub();
    let older = served(&mut hub, 1, at(0));
    let newer = served(&mut hub, 2, at(1));
    events(&mut hub);
    let [ToAgent::Ping { nonce }] = sent(&mut hub, older)[..] else {
        panic!("the older session must be asked whether it lives");
    };
    // What was under way before the ping proves nothing, nor does a wrong answer.
    hub.received(older, ToCoordinator::Status { body: Bytes::new() }, at(2));
    hub.received(older, ToCoordinator::Pong { nonce: nonce + 1 }, at(2));
    assert!(events(&mut hub).is_empty());
    hub.received(older, ToCoordinator::Pong { nonce }, at(3));
    let found = events(&mut hub);
    assert!(
        matches!(&found[..], [HubEvent::DuplicateKey { older, newer, .. }] if older.process == [1; 16] && newer.process == [2; 16]),
        "{found:?}"
    );
    assert!(closes(&mut hub, older));
    hub.disconnected(older, "gone");
    assert!(events(&mut hub).is_empty(), "the key is still served");
    hub.send_state(MACHINE, state(0, 1, 1)).unwrap();
    assert!(matches!(sent(&mut hub, newer)[..], [ToAgent::State(_)]));
}

#[test]
fn a_restart_is_no_second_machine_however_its_old_session_ends() {
    for same_process in [false, true] {
        let mut hub = hub();
        let older = served(&mut hub, 1, at(0));
        served(&mut hub, if same_process { 1 } else { 2 }, at(1));
        hub.received(older, ToCoordinator::Beat { sent_at_milliseconds: 0 }, at(2));
        hub.tick(at(1 + PROBE_MILLISECONDS_MAX));
        assert!(closes(&mut hub, older));
        hub.disconnected(older, "gone");
        assert_eq!(hub.counters().duplicates, 0);
        assert!(!events(&mut hub).iter().any(|event| matches!(event, HubEvent::Left { .. })));
    }
}

#[test]
fn a_process_that_comes_back_after_another_was_there_all_the_time() {
    let mut hub = hub();
    served(&mut hub, 1, at(0));
    served(&mut hub, 2, at(1));
    assert_eq!(hub.counters().duplicates, 0);
    served(&mut hub, 1, at(2));
    assert_eq!(hub.counters().duplicates, 1);
    assert!(events(&mut hub).len() <= 3 * crate::EVENTS_PER_INPUT_MAX);
}

#[test]
fn states_follow_each_other_or_are_asked_for() {
    let mut hub = hub();
    let id = served(&mut hub, 1, at(0));
    let behind = |revision| Err(SendStateError::Behind { incarnation: 1, revision });
    hub.send_state(MACHINE, state(0, 5, 1)).unwrap();
    // On its way: the next waits.
    assert!(matches!(hub.send_state(MACHINE, state(5, 6, 1)), Err(SendStateError::Behind { .. })));
    assert!(!hub.needs_state(id), "not before the machine has room");
    assert_eq!(sent(&mut hub, id).len(), 1);
    assert!(hub.needs_state(id));
    // A gap.
    assert_eq!(hub.send_state(MACHINE, state(6, 7, 1)), behind(5));
    events(&mut hub);
    hub.take_needs_state(id);
    assert_eq!(events(&mut hub), [HubEvent::NeedsState { peer: MACHINE, incarnation: 1, revision: 5 }]);
    assert!(!hub.needs_state(id));
    hub.send_state(MACHINE, state(5, 7, 1)).unwrap();
    // Another incarnation only as a whole.
    sent(&mut hub, id);
    assert_eq!(hub.send_state(MACHINE, State { incarnation: 2, ..state(7, 8, 1) }), behind(7));
    hub.send_state(MACHINE, State { incarnation: 2, ..state(0, 1, 1) }).unwrap();
    let large = State { bundles: vec![Bytes::from(vec![0; FRAME_TOO_LARGE])], ..state(0, 9, 0) };
    assert!(matches!(hub.send_state(MACHINE, large), Err(SendStateError::BundleOversized { .. })));
    assert!(matches!(hub.send_state(PeerKey([3; 32]), state(0, 1, 1)), Err(SendStateError::NotConnected { .. })));
}

const FRAME_TOO_LARGE: usize = crate::FRAME_BYTES_MAX_DOWN;

#[test]
fn a_large_state_goes_in_parts_and_beats_are_answered_between_them() {
    let mut hub = hub();
    let id = served(&mut hub, 1, at(0));
    hub.send_state(MACHINE, state(0, 5, 10)).unwrap();
    let mut parts = Vec::new();
    let mut answers = 0;
    for _ in 0..20 {
        hub.received(id, ToCoordinator::Beat { sent_at_milliseconds: 3 }, at(1));
        for _ in 0..2 {
            match hub.next_to_send(id, at(1)) {
                Some(ToAgent::State(part)) => parts.push(part),
                Some(ToAgent::BeatAnswer { .. }) => answers += 1,
                other => assert_eq!(other, None),
            }
        }
    }
    assert_eq!((answers, parts.len()), (20, 5));
    assert!(parts.iter().all(|part| part.bundles.iter().map(Bytes::len).sum::<usize>() <= STATE_PART_BYTES));
    assert_eq!(parts.iter().filter(|part| part.complete).count(), 1);
    assert!(parts.last().is_some_and(|part| part.complete && part.revision == 5));
}

#[test]
fn what_waits_for_a_slow_machine_is_bounded() {
    let mut hub = hub();
    let id = served(&mut hub, 1, at(0));
    let plans = (0..100).filter(|plan| hub.request_plan(MACHINE, *plan, Bytes::new()).is_some()).count();
    assert_eq!(plans, PLANS_WAITING_MAX);
    for sequence in 0..100 {
        hub.taken(MACHINE, sequence);
        hub.received(id, ToCoordinator::Beat { sent_at_milliseconds: sequence }, at(1));
    }
    let said = sent(&mut hub, id);
    assert_eq!(said.len(), 2 + PLANS_WAITING_MAX);
    assert!(said.contains(&ToAgent::Taken { event_sequence: 99 }));
}

#[test]
fn those_who_are_served_hear_where_the_coordinators_are_once() {
    let mut hub = hub();
    let id = served(&mut hub, 1, at(0));
    let address = PeerAddress { key: PeerKey([5; 32]), addresses: vec![], relay: None };
    for _ in 0..2 {
        hub.set_coordinators(vec![address.clone()]);
    }
    assert_eq!(sent(&mut hub, id), [ToAgent::Coordinators { coordinators: vec![address.clone()] }]);
    hub.disconnected(id, "gone");
    let id = hub.connected(MACHINE, true, at(1)).unwrap();
    hub.received(id, hello(1), at(1));
    hub.decide(id, Verdict::Welcome { incarnation: 1 }, at(1));
    assert!(matches!(&sent(&mut hub, id)[..], [ToAgent::Welcome { coordinators, .. }] if *coordinators == [address]));
}
