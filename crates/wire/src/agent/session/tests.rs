//! Tables for the agent's session.

use super::*;
use crate::{BACKOFF_MILLISECONDS_MAX, REFUSED_MILLISECONDS_MAX};

fn at(milliseconds: u64) -> Now {
    Now { monotonic_milliseconds: milliseconds, unix_milliseconds: 1_000_000 + milliseconds }
}

fn session(join: bool) -> AgentSession {
    let join = join.then(|| Join { pass: Bytes::new(), hostname: String::new(), delegated: None, facts: Bytes::new() });
    AgentSession::new(Hello::new([7; 32], [1; 16]), join, 2, 1, at(0))
}

fn outputs(session: &mut AgentSession) -> Vec<AgentOutput> {
    std::iter::from_fn(|| session.take_output()).collect()
}

fn sent(session: &mut AgentSession, now: Now) -> Vec<ToCoordinator> {
    std::iter::from_fn(|| session.next_to_send(now)).collect()
}

fn welcome() -> ToAgent {
    ToAgent::Welcome { incarnation: 1, beat_seconds: 5, time_milliseconds: 0, coordinators: Vec::new() }
}

#[test]
fn where_the_coordinators_are_is_passed_on_and_followed() {
    let mut session = session(false);
    outputs(&mut session);
    session.connected(at(0));
    let address =
        crate::PeerAddress { key: crate::PeerKey([5; 32]), addresses: vec![], relay: Some("http://r.example".to_owned()) };
    let coordinators = vec![address.clone()];
    session.received(ToAgent::Welcome { incarnation: 1, beat_seconds: 5, time_milliseconds: 0, coordinators }, at(0));
    assert!(
        outputs(&mut session).contains(&AgentOutput::Event(AgentEvent::Coordinators { coordinators: vec![address.clone()] }))
    );
    let elsewhere = crate::PeerAddress { relay: None, ..address.clone() };
    session.received(ToAgent::Coordinators { coordinators: vec![elsewhere.clone()] }, at(0));
    assert!(outputs(&mut session).contains(&AgentOutput::Event(AgentEvent::Coordinators { coordinators: vec![elsewhere] })));
    session.set_coordinators(1);
    for second in 1..4 {
        session.broke("gone", at(second * 1_000));
        session.tick(at(second * 1_000_000));
        let tried = outputs(&mut session).into_iter().any(|output| output == AgentOutput::Connect { coordinator: 0 });
        assert!(tried, "only the one that there is");
    }
    // More than a ticket may name is no list of coordinators.
    let mut session = super::tests::session(false);
    session.connected(at(0));
    let coordinators = vec![address; crate::TICKET_COORDINATORS_MAX + 1];
    session.received(ToAgent::Welcome { incarnation: 1, beat_seconds: 5, time_milliseconds: 0, coordinators }, at(0));
    assert!(!outputs(&mut session).iter().any(|output| matches!(output, AgentOutput::Event(AgentEvent::Coordinators { .. }))));
}

fn steady(join: bool) -> AgentSession {
    let mut session = session(join);
    session.connected(at(0));
    sent(&mut session, at(0));
    session.received(welcome(), at(0));
    sent(&mut session, at(0));
    outputs(&mut session);
    session
}

fn items(sequences: std::ops::RangeInclusive<u64>) -> Vec<OutboxItem> {
    sequences.map(|sequence| OutboxItem { sequence, body: Bytes::from_static(b"event") }).collect()
}

fn next_try(session: &mut AgentSession) -> Option<u64> {
    outputs(session).iter().find_map(|output| match output {
        AgentOutput::Event(AgentEvent::Disconnected { next_try_milliseconds, .. }) => Some(*next_try_milliseconds),
        _ => None,
    })
}

#[test]
fn every_way_a_session_ends_leads_to_another_try_elsewhere() {
    type Start = fn() -> AgentSession;
    type End = fn(&mut AgentSession);
    type Case = (&'static str, Start, End, u64);
    let greeting: Start = || {
        let mut session = session(false);
        session.connected(at(0));
        outputs(&mut session);
        session
    };
    let open: Start = || steady(false);
    let fresh: Start = || {
        let mut session = session(false);
        outputs(&mut session);
        session
    };
    let cases: [Case; 9] = [
        ("no path", fresh, |session| session.tick(at(CONNECT_MILLISECONDS_MAX)), BACKOFF_MILLISECONDS_MAX),
        ("unreachable", fresh, |session| session.broke("no", at(1)), BACKOFF_MILLISECONDS_MAX),
        ("no answer", greeting, |session| session.tick(at(GREETING_MILLISECONDS_MAX)), BACKOFF_MILLISECONDS_MAX),
        ("unknown", greeting, |session| session.received(ToAgent::Unknown, at(1)), REFUSED_MILLISECONDS_MAX),
        (
            "refused",
            greeting,
            |session| session.received(ToAgent::Refused { reason: "no".into() }, at(1)),
            REFUSED_MILLISECONDS_MAX,
        ),
        ("out of turn", greeting, |session| session.received(ToAgent::Ping { nonce: 1 }, at(1)), BACKOFF_MILLISECONDS_MAX),
        ("silence", open, |session| session.tick(at(SILENT_BEATS_MAX * 5_000)), BACKOFF_MILLISECONDS_MAX),
        ("broken", open, |session| session.broke("cut", at(1)), BACKOFF_MILLISECONDS_MAX),
        ("welcome twice", open, |session| session.received(welcome(), at(1)), BACKOFF_MILLISECONDS_MAX),
    ];
    for (name, start, end, longest) in cases {
        let mut session = start();
        end(&mut session);
        let pause = next_try(&mut session).unwrap_or_else(|| panic!("{name}: must say when it tries again"));
        assert!(pause <= longest, "{name}: {pause}");
        let until = session.deadline_milliseconds(true);
        session.tick(at(until));
        // With the seed 1 the second of two comes first.
        assert_eq!(outputs(&mut session), [AgentOutput::Connect { coordinator: 0 }], "{name}");
    }
}

#[test]
fn it_joins_once_where_it_is_unknown_and_waits_where_it_is_pending() {
    let mut session = session(true);
    session.connected(at(0));
    assert!(matches!(sent(&mut session, at(0))[..], [ToCoordinator::Hello(_)]));
    session.received(ToAgent::Unknown, at(1));
    assert!(matches!(sent(&mut session, at(1))[..], [ToCoordinator::Join(_)]));
    session.received(ToAgent::Pending { reason: "wait".into() }, at(2));
    outputs(&mut session);
    session.tick(at(PENDING_MILLISECONDS_MAX));
    assert!(outputs(&mut session).is_empty());
    session.received(welcome(), at(PENDING_MILLISECONDS_MAX));
    assert!(session.is_steady());

    let mut session = self::session(true);
    session.connected(at(0));
    sent(&mut session, at(0));
    session.received(ToAgent::Unknown, at(1));
    session.received(ToAgent::Unknown, at(2));
    assert!(next_try(&mut session).is_some_and(|pause| pause >= REFUSED_MILLISECONDS_MAX / 2));
}

#[test]
fn status_is_coalesced_and_said_again_in_a_new_session() {
    let mut session = steady(false);
    let status = |text: &'static str| ToCoordinator::Status { body: Bytes::from_static(text.as_bytes()) };
    session.set_status(Bytes::from_static(b"1"), false);
    assert_eq!(sent(&mut session, at(10)), [status("1")]);
    session.set_status(Bytes::from_static(b"2"), false);
    session.set_status(Bytes::from_static(b"3"), false);
    assert_eq!(sent(&mut session, at(11)), []);
    assert_eq!(session.deadline_milliseconds(true), 10 + STATUS_PAUSE_MILLISECONDS);
    assert!(session.deadline_milliseconds(false) > 10 + STATUS_PAUSE_MILLISECONDS);
    assert_eq!(sent(&mut session, at(10 + STATUS_PAUSE_MILLISECONDS)), [status("3")]);
    session.broke("cut", at(200));
    session.tick(at(session.deadline_milliseconds(true)));
    session.connected(at(40_000));
    sent(&mut session, at(40_000));
    session.received(welcome(), at(40_000));
    assert!(sent(&mut session, at(40_000)).contains(&status("3")));
}

#[test]
fn an_urgent_status_waits_for_no_burst() {
    let mut session = steady(false);
    let status = |text: &'static str| ToCoordinator::Status { body: Bytes::from_static(text.as_bytes()) };
    session.set_status(Bytes::from_static(b"under way"), false);
    assert_eq!(sent(&mut session, at(10)), [status("under way")]);
    session.set_status(Bytes::from_static(b"done"), true);
    session.set_status(Bytes::from_static(b"done, and more"), false);
    assert_eq!(sent(&mut session, at(11)), []);
    let soon = 10 + STATUS_PAUSE_URGENT_MILLISECONDS;
    assert_eq!(session.deadline_milliseconds(true), soon);
    assert_eq!(sent(&mut session, at(soon)), [status("done, and more")]);
    session.set_status(Bytes::from_static(b"later"), false);
    assert_eq!(session.deadline_milliseconds(true), soon + STATUS_PAUSE_MILLISECONDS, "urgency is not inherited");
}

#[test]
fn events_go_within_a_window_and_are_repeated_from_the_lowest_not_taken() {
    let mut session = session(false);
    session.connected(at(0));
    sent(&mut session, at(0));
    session.received(welcome(), at(0));
    assert!(outputs(&mut session).contains(&AgentOutput::ReadOutbox { after: 0, limit: EVENTS_IN_FLIGHT_MAX }));
    session.outbox_items(items(1..=EVENTS_IN_FLIGHT_MAX as u64), EVENTS_IN_FLIGHT_MAX);
    session.outbox_changed();
    assert!(!outputs(&mut session).iter().any(|output| matches!(output, AgentOutput::ReadOutbox { .. })), "the window is full");
    sent(&mut session, at(0));
    session.received(ToAgent::Taken { event_sequence: 200 }, at(1));
    let then = outputs(&mut session);
    assert!(then.contains(&AgentOutput::Taken { sequence: 200 }), "{then:?}");
    assert!(then.contains(&AgentOutput::ReadOutbox { after: 256, limit: 200 }), "{then:?}");
    // A coordinator cannot take what it was not sent.
    session.outbox_items(items(257..=258), 200);
    session.received(ToAgent::Taken { event_sequence: u64::MAX }, at(1));
    assert!(outputs(&mut session).contains(&AgentOutput::Taken { sequence: 256 }));
    session.broke("cut", at(2));
    session.tick(at(session.deadline_milliseconds(true)));
    session.connected(at(40_000));
    sent(&mut session, at(40_000));
    session.received(welcome(), at(40_000));
    assert!(outputs(&mut session).contains(&AgentOutput::ReadOutbox { after: 256, limit: EVENTS_IN_FLIGHT_MAX }));
}

#[test]
fn an_event_too_large_to_send_is_reported_and_keeps_its_place() {
    let mut session = steady(false);
    session.outbox_items(Vec::new(), EVENTS_IN_FLIGHT_MAX);
    session.outbox_changed();
    let mut some = items(1..=3);
    some[1].body = Bytes::from(vec![0; EVENT_BYTES_MAX + 1]);
    session.outbox_items(some, EVENTS_IN_FLIGHT_MAX);
    let oversized = AgentOutput::Event(AgentEvent::OutboxItemOversized { sequence: 2, bytes: EVENT_BYTES_MAX + 1 });
    assert!(outputs(&mut session).contains(&oversized));
    let said = sent(&mut session, at(1));
    assert!(matches!(&said[..], [ToCoordinator::Events { items }] if items.len() == 3 && items[1].body.is_empty()), "{said:?}");
}

#[test]
fn the_clocks_are_compared_over_half_a_round_trip() {
    let mut session = steady(false);
    let [ToCoordinator::Beat { sent_at_milliseconds }] = sent(&mut session, at(5_000))[..] else {
        panic!("a beat is due");
    };
    let answer = |time_milliseconds| ToAgent::BeatAnswer { sent_at_milliseconds, time_milliseconds };
    session.received(answer(sent_at_milliseconds + 7_050), at(5_100));
    let offset = AgentOutput::Event(AgentEvent::ClockOffset { offset_milliseconds: 7_000, round_trip_milliseconds: 100 });
    assert_eq!(outputs(&mut session), [offset]);
    session.received(answer(0), at(5_200));
    assert!(outputs(&mut session).is_empty(), "an answer nobody waits for says nothing");
}

#[test]
fn a_path_that_died_is_dialled_around_at_once_and_not_over_and_over() {
    let mut session = steady(false);
    session.redial("dead", at(1_000));
    let pause = outputs(&mut session).into_iter().find_map(|output| match output {
        AgentOutput::Event(AgentEvent::Disconnected { next_try_milliseconds, .. }) => Some(next_try_milliseconds),
        _ => None,
    });
    assert!(pause.unwrap() < REDIAL_MILLISECONDS_MAX, "{pause:?}");
    session.tick(at(1_000 + REDIAL_MILLISECONDS_MAX));
    assert_eq!(outputs(&mut session), [AgentOutput::Connect { coordinator: 1 }], "the same coordinator");
    // It was just found so: from here on it waits like whoever finds nobody.
    session.connected(at(1_300));
    session.received(welcome(), at(1_300));
    outputs(&mut session);
    session.redial("dead again", at(2_000));
    session.tick(at(1_000_000));
    assert_eq!(outputs(&mut session).last(), Some(&AgentOutput::Connect { coordinator: 0 }), "the next coordinator");
    // Much later it may be again.
    session.connected(at(1_000_000));
    session.received(welcome(), at(1_000_000));
    outputs(&mut session);
    session.redial("dead", at(1_000_000 + REDIAL_PAUSE_MILLISECONDS));
    session.tick(at(1_000_000 + REDIAL_PAUSE_MILLISECONDS + REDIAL_MILLISECONDS_MAX));
    assert_eq!(outputs(&mut session).last(), Some(&AgentOutput::Connect { coordinator: 0 }));
}
