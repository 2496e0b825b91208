//! Wrong histories, each of which must be found out; and the sound one that they are made of, which must not.

use super::super::history::{Asked, Started, Write};
use super::*;

/// Where the record of the one kind is that these histories are about.
const KIND: Kind = Kind::Lease;

fn version(uid: &str, revision: u64, fields: &[(&str, &str)]) -> Version {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Version { name: "h-a".into(), uid: uid.into(), revision, fields }
}

fn event(happened: Happened, object: Version) -> Event {
    Event { at: object.revision * 100 + 50, happened, object }
}

fn writes(write: Write, token: &str) -> Call {
    Call::Write { kind: KIND, name: "h-a".into(), write, token: token.into() }
}

fn refused(code: u16) -> Outcome {
    Outcome::Refused { code, reason: String::new(), message: String::new() }
}

/// The states of the one object, one a revision; none where it was deleted.
fn states() -> [Version; 7] {
    [
        version("u1", 1, &[("put", "t1"), ("spec", "t1")]),
        version("u1", 2, &[("put", "t2"), ("spec", "t2")]),
        version("u1", 3, &[("put", "t2"), ("spec", "t2"), ("patch-1", "t3")]),
        version("u1", 4, &[("put", "t2"), ("spec", "t2"), ("patch-1", "t3")]),
        version("u2", 5, &[("put", "t5"), ("spec", "t5")]),
        version("u2", 6, &[("put", "t5"), ("spec", "t5"), ("patch-1", "t6")]),
        version("u2", 7, &[("put", "t7"), ("spec", "t7")]),
    ]
}

/// The calls that made revision 1 to 7, one after the other, then others. Revision n was written from n * 100 to n * 100 + 10.
fn sound() -> History {
    let [first, second, third, last, again, patched, put] = states();
    let list = |asked, pages: &[u64], objects: &[Version]| {
        (Call::List { kind: KIND, asked, limit: 1 }, Outcome::Listed { pages: pages.to_vec(), objects: objects.to_vec() })
    };
    let get = |since, outcome| (Call::Get { kind: KIND, name: "h-a".into(), since }, outcome);
    let calls = [
        (0, writes(Write::Create, "t1"), Outcome::Written(first.clone())),
        (0, writes(Write::Put { on: Some(1) }, "t2"), Outcome::Written(second.clone())),
        (1, writes(Write::Patch, "t3"), Outcome::Written(third.clone())),
        (0, writes(Write::Delete { on: Some(3) }, "t4"), Outcome::Deleted { uid: "u1".into() }),
        (1, writes(Write::Create, "t5"), Outcome::Written(again.clone())),
        (1, writes(Write::Patch, "t6"), Outcome::Unknown { why: "lost".into() }),
        (0, writes(Write::Put { on: Some(6) }, "t7"), Outcome::Written(put.clone())),
        (0, writes(Write::Put { on: Some(3) }, "t8"), refused(409)),
        (0, writes(Write::Apply, "t9"), Outcome::Unknown { why: "lost".into() }),
        (0, get(None, Outcome::Found(put.clone())).0, Outcome::Found(put.clone())),
        (1, get(Some(7), Outcome::Found(put.clone())).0, Outcome::Found(put.clone())),
        (0, list(Asked::NotOlderThan(7), &[7, 7], &[]).0, list(Asked::Any, &[7, 7], std::slice::from_ref(&put)).1),
        (0, writes(Write::Create, "t10"), refused(409)),
    ];
    let operations = (1_u64..).zip(calls).map(|(number, (client, call, outcome))| {
        let (begun, ended) = (number * 100, number * 100 + 10);
        Operation { client, coordinator: client, begun, ended, call, outcome }
    });
    let happened = [
        event(Happened::Added, first),
        event(Happened::Modified, second.clone()),
        event(Happened::Modified, third),
        event(Happened::Deleted, last),
        event(Happened::Added, again),
        event(Happened::Modified, patched),
        event(Happened::Modified, put),
    ];
    let told = |events: &[Event]| events.iter().cloned().map(Told::Event).collect::<Vec<_>>();
    let mut all = told(&happened);
    all.push(Told::Bookmark { at: 2_000, revision: 9 });
    let initial = Start::Initial { at: 250, revision: 2, objects: vec![second] };
    let watch =
        |coordinator, begun, start, told| Watch { client: 2, coordinator, kind: KIND, begun, start, told, to_the_end: true };
    let watches = vec![watch(1, 50, Start::After(0), all), watch(0, 220, initial, told(&happened[2..]))];
    let started = vec![Started { coordinator: 1, begun: 1_500, ended: 1_600 }];
    let record = [(KIND, happened.to_vec())].into();
    History { operations: operations.collect(), watches, started, struck: Vec::new(), record }
}

fn record(history: &mut History) -> &mut Vec<Event> {
    history.record.get_mut(&KIND).unwrap()
}

/// The same in the record and in what the watches were told of it.
fn everywhere(history: &mut History, change: impl Fn(&mut Event)) {
    record(history).iter_mut().for_each(&change);
    for told in history.watches.iter_mut().flat_map(|watch| &mut watch.told) {
        if let Told::Event(event) = told {
            change(event);
        }
    }
}

/// Something is taken out of the record, as if nobody had ever been told of it.
fn forget(history: &mut History, revision: u64) {
    record(history).retain(|event| event.object.revision != revision);
    for watch in &mut history.watches {
        watch.told.retain(|told| !matches!(told, Told::Event(event) if event.object.revision == revision));
    }
}

#[test]
fn a_sound_history_is_sound() {
    let found = check(&sound());
    assert!(found.is_empty(), "{found:#?}");
}

/// How a history is made wrong.
type Spoil = fn(&mut History);

#[test]
fn what_becomes_of_writes_is_found_out() {
    let cases: [(&str, Property, Spoil); 13] = [
        ("an acknowledged write is lost", Property::NothingAcknowledgedIsLost, |history| forget(history, 7)),
        ("an acknowledged deletion is lost", Property::NothingAcknowledgedIsLost, |history| {
            history.operations[12] = Operation {
                call: writes(Write::Delete { on: None }, "t10"),
                outcome: Outcome::Deleted { uid: "u2".into() },
                ..history.operations[12].clone()
            };
        }),
        ("what was refused is there", Property::NothingRefusedIsThere, |history| history.operations[5].outcome = refused(503)),
        ("what is not known is there twice", Property::NothingIsThereTwice, |history| {
            let again = version("u2", 8, &[("put", "t7"), ("spec", "t7"), ("patch-1", "t6")]);
            record(history).push(event(Happened::Modified, again));
        }),
        ("one object was deleted for two", Property::NothingIsThereTwice, |history| {
            let twice = Operation { client: 1, ..history.operations[3].clone() };
            history.operations.push(twice);
        }),
        ("nobody wrote it", Property::NothingIsInvented, |history| {
            history.operations.remove(5);
        }),
        ("nobody deleted it", Property::NothingIsInvented, |history| {
            history.operations[3].outcome = refused(503);
        }),
        ("two writes have one revision", Property::RevisionsAreUnique, |history| {
            everywhere(history, |event| event.object.revision -= u64::from(event.object.revision == 7));
        }),
        ("a later write has a smaller revision", Property::RevisionsFollowTime, |history| {
            history.operations[5].begun = 790;
        }),
        ("an update on top of what is no longer there succeeds", Property::WritesFormAChain, |history| {
            history.operations[6].call = writes(Write::Put { on: Some(5) }, "t7");
        }),
        ("two updates on top of one revision succeed", Property::WritesFormAChain, |history| {
            history.operations[2].call = writes(Write::Put { on: Some(1) }, "t3");
        }),
        ("a patch loses what another has written", Property::WritesFormAChain, |history| {
            everywhere(history, |event| {
                if event.object.revision == 6 {
                    event.object.fields.remove("spec");
                }
            });
        }),
        ("what was deleted comes back", Property::WhatIsDeletedStaysDeleted, |history| {
            everywhere(history, |event| {
                if event.object.revision >= 5 {
                    event.object.uid = "u1".into();
                }
            });
        }),
    ];
    for (case, property, spoil) in cases {
        assert_found(case, property, spoil);
    }
}

#[test]
fn refusals_without_reason_are_found_out() {
    let cases: [(&str, Spoil); 5] = [
        ("an update on top of what is there", |history| history.operations[7].call = writes(Write::Put { on: Some(7) }, "t8")),
        ("an update of what is there, as if it were not", |history| history.operations[7].outcome = refused(404)),
        ("a creation of what is not there", |history| {
            forget(history, 5);
            forget(history, 6);
            forget(history, 7);
        }),
        ("an answer that means a bug", |history| history.operations[7].outcome = refused(500)),
        ("a read, which goes on whatever is away", |history| history.operations[9].outcome = refused(503)),
    ];
    for (case, spoil) in cases {
        assert_found(case, Property::RefusalsAreFounded, spoil);
    }
}

#[test]
fn reads_that_are_stale_or_untrue_are_found_out() {
    let cases: [(&str, Property, Spoil); 9] = [
        ("older than what the writer was told there", Property::ReadsAreFresh, |history| {
            history.operations[9].outcome = Outcome::Found(states()[5].clone());
        }),
        ("older than what was asked for", Property::ReadsAreFresh, |history| {
            history.watches.remove(0);
            history.operations[10].outcome = Outcome::Found(states()[5].clone());
        }),
        ("older than what was there when the coordinator started", Property::ReadsAreFresh, |history| {
            history.watches.remove(0);
            let call = Call::Get { kind: KIND, name: "h-a".into(), since: None };
            let outcome = Outcome::Found(states()[5].clone());
            history.operations.push(Operation { client: 1, coordinator: 1, begun: 1_700, ended: 1_710, call, outcome });
        }),
        ("missing, though it is there", Property::ReadsAreFresh, |history| history.operations[9].outcome = Outcome::Missing),
        ("another content", Property::ReadsAreTrue, |history| {
            history.operations[9].outcome = Outcome::Found(Version { revision: 7, ..states()[5].clone() });
        }),
        ("the writer is shown something else", Property::ReadsAreTrue, |history| {
            history.operations[1].outcome = Outcome::Written(Version { revision: 2, ..states()[0].clone() });
        }),
        ("an old list", Property::ReadsAreFresh, |history| {
            history.operations[11].outcome = Outcome::Listed { pages: vec![6], objects: vec![states()[5].clone()] };
        }),
        ("a list of another revision than it says", Property::ListsAreWhole, |history| {
            history.operations[11].outcome = Outcome::Listed { pages: vec![7, 7], objects: vec![states()[5].clone()] };
        }),
        ("a list whose pages are of two revisions", Property::ListsAreWhole, |history| {
            history.operations[11].outcome = Outcome::Listed { pages: vec![7, 8], objects: vec![states()[6].clone()] };
        }),
    ];
    for (case, property, spoil) in cases {
        assert_found(case, property, spoil);
    }
}

#[test]
fn watches_that_miss_or_mix_are_found_out() {
    let cases: [(&str, Property, Spoil); 9] = [
        ("an event is missing", Property::WatchesHaveNoGaps, |history| {
            history.watches[0].told.remove(2);
        }),
        ("the last event is missing", Property::WatchesHaveNoGaps, |history| {
            history.watches[1].told.pop();
        }),
        ("two events are the wrong way round", Property::WatchesHaveNoGaps, |history| history.watches[0].told.swap(1, 2)),
        ("an event comes twice", Property::WatchesAreInOrder, |history| {
            let twice = history.watches[0].told[1].clone();
            history.watches[0].told.insert(2, twice);
        }),
        ("an event is another", Property::WatchesAreTrue, |history| {
            history.watches[0].told[1] = Told::Event(event(Happened::Modified, Version { revision: 2, ..states()[0].clone() }));
        }),
        ("a bookmark is ahead", Property::BookmarksAreNotAhead, |history| {
            history.watches[0].told.insert(2, Told::Bookmark { at: 400, revision: 3 });
        }),
        ("what there was at first is another", Property::ListsAreWhole, |history| {
            history.watches[1].start = Start::Initial { at: 250, revision: 2, objects: Vec::new() };
        }),
        ("what there was at first is old", Property::ReadsAreFresh, |history| {
            history.watches[1].begun = 320;
            history.operations[2].coordinator = 0;
        }),
        ("a watch cannot go on", Property::WatchesGoOn, |history| {
            history.watches[0].told.insert(2, Told::Gone { at: 400, message: "too old".into() });
        }),
    ];
    for (case, property, spoil) in cases {
        assert_found(case, property, spoil);
    }
}

#[track_caller]
fn assert_found(case: &str, property: Property, spoil: Spoil) {
    let mut history = sound();
    spoil(&mut history);
    let found = check(&history);
    assert!(found.iter().any(|violation| violation.property == property), "{case}: {property:?} is not among {found:#?}");
}
