//! What clients did and were told, with times of one clock: the evidence of a round.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde::Serialize;

/// Microseconds since the round began. All clients are threads of one process, so that one clock does for all of them.
pub(crate) type Micros = u64;

/// The kinds that are written: each enters the record by a way of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) enum Kind {
    /// Unsigned.
    Lease,
    /// A Change that the coordinator signs.
    Namespace,
    /// A Change that its owner signs.
    Profile,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Lease, Self::Namespace, Self::Profile];
}

/// One name of one kind.
pub(crate) type Key = (Kind, String);

/// What writers write: labels, and for a kind that has it one value of its `spec`.
pub(crate) type Fields = BTreeMap<String, String>;

/// An object as a client was shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) revision: u64,
    pub(crate) fields: Fields,
}

/// How an object is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Write {
    Create,
    /// All of it; on top of a revision, where one is named.
    Put {
        on: Option<u64>,
    },
    /// The client's own patch label.
    Patch,
    /// The client's own label by server-side apply, which makes the object where there is none.
    Apply,
    Delete {
        on: Option<u64>,
    },
    /// All of it, by a Change that its owner signed.
    Signed,
}

/// From which revision a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Asked {
    Any,
    NotOlderThan(u64),
    Exact(u64),
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Call {
    /// `token` is a value that no other write has.
    Write { kind: Kind, name: String, write: Write, token: String },
    /// `since` is the revision that it must not be older than.
    Get { kind: Kind, name: String, since: Option<u64> },
    /// In pages of `limit`, the later ones perhaps from the other coordinator.
    List { kind: Kind, asked: Asked, limit: usize },
}

/// What it was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Outcome {
    Written(Version),
    Deleted {
        uid: String,
    },
    Found(Version),
    Missing,
    /// A Change was admitted at a revision.
    Admitted {
        revision: u64,
    },
    /// The revision that each page named, and the objects of all.
    Listed {
        pages: Vec<u64>,
        objects: Vec<Version>,
    },
    /// It was said that nothing has happened; 0 where the coordinator was not reached at all.
    Refused {
        code: u16,
        reason: String,
        message: String,
    },
    /// Nothing was said, or that it is not known.
    Unknown {
        why: String,
    },
}

/// One call.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Operation {
    pub(crate) client: usize,
    pub(crate) coordinator: usize,
    pub(crate) begun: Micros,
    pub(crate) ended: Micros,
    pub(crate) call: Call,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Happened {
    Added,
    Modified,
    Deleted,
}

/// One step of one object, as a watch tells it; for a deletion its last state, with the revision of the deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    pub(crate) at: Micros,
    pub(crate) happened: Happened,
    pub(crate) object: Version,
}

/// What a watch says.
#[derive(Clone, Debug, Serialize)]
pub(crate) enum Told {
    Event(Event),
    Bookmark {
        at: Micros,
        revision: u64,
    },
    /// It cannot go on from where it is.
    Gone {
        at: Micros,
        message: String,
    },
}

/// Where a watch begins.
#[derive(Clone, Debug, Serialize)]
pub(crate) enum Start {
    After(u64),
    /// It told first what there was.
    Initial {
        at: Micros,
        revision: u64,
        objects: Vec<Version>,
    },
}

/// One connection of a watcher.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Watch {
    pub(crate) client: usize,
    pub(crate) coordinator: usize,
    pub(crate) kind: Kind,
    pub(crate) begun: Micros,
    pub(crate) start: Start,
    pub(crate) told: Vec<Told>,
    /// Whether it went on until the last event of the round.
    pub(crate) to_the_end: bool,
}

/// A coordinator's process, from the moment it was started until it was there.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Started {
    pub(crate) coordinator: usize,
    pub(crate) begun: Micros,
    pub(crate) ended: Micros,
}

/// A fault, and whether it hit anybody who was at work.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Struck {
    pub(crate) at: Micros,
    pub(crate) fault: String,
    pub(crate) occurred: bool,
}

/// All of a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) operations: Vec<Operation>,
    pub(crate) watches: Vec<Watch>,
    pub(crate) started: Vec<Started>,
    pub(crate) struck: Vec<Struck>,
    /// What happened to each kind, from the first event to the last, as a coordinator tells it when the round is over.
    pub(crate) record: BTreeMap<Kind, Vec<Event>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Line<'a> {
    Operation(&'a Operation),
    Watch(&'a Watch),
    Started(&'a Started),
    Fault(&'a Struck),
    Record { kind: Kind, event: &'a Event },
}

impl History {
    /// Writes it down, one JSON object a line: calls by their beginning, then watches, starts, faults and the record.
    pub(crate) fn keep(&self, path: &Path) {
        let mut file = BufWriter::new(std::fs::File::create(path).unwrap());
        let mut operations: Vec<&Operation> = self.operations.iter().collect();
        operations.sort_by_key(|operation| operation.begun);
        let events = self.record.iter().flat_map(|(kind, events)| events.iter().map(|event| Line::Record { kind: *kind, event }));
        let lines = self.struck.iter().map(Line::Fault).chain(self.started.iter().map(Line::Started));
        let lines = lines.chain(operations.into_iter().map(Line::Operation)).chain(self.watches.iter().map(Line::Watch));
        for line in lines.chain(events) {
            serde_json::to_writer(&mut file, &line).unwrap();
            file.write_all(b"\n").unwrap();
        }
        file.flush().unwrap();
    }
}

/// The label that a client's patches, or its applies, write.
pub(crate) fn own_label(write: &Write, client: usize) -> String {
    match write {
        Write::Patch => format!("patch-{client}"),
        Write::Apply => format!("apply-{client}"),
        _ => "put".to_owned(),
    }
}

/// What is in an object after a write of it; `None` where there is none any more.
pub(crate) fn after(kind: Kind, write: &Write, client: usize, token: &str, before: Option<&Fields>) -> Option<Fields> {
    let mut fields = match write {
        Write::Delete { .. } => return None,
        Write::Patch | Write::Apply => before.cloned().unwrap_or_default(),
        Write::Create | Write::Put { .. } | Write::Signed => {
            let spec = (kind != Kind::Namespace).then(|| ("spec".to_owned(), token.to_owned()));
            spec.into_iter().collect()
        }
    };
    fields.insert(own_label(write, client), token.to_owned());
    Some(fields)
}
