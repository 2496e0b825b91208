//! A client that watches a kind: from a list on, through breaks and both coordinators, until it has been told of the last object.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Response;
use serde_json::Value;

use super::history::{Asked, Event, Happened, Kind, Operation, Start, Told, Watch};
use super::http::{LAST, Random, Shared, collection, revision, version};
use super::worker::Worker;

/// Beyond this a watch that says nothing is given up: longer than any is asked to last.
const SILENCE: Duration = Duration::from_secs(6);
/// The longest that a watch is asked to last, in seconds.
const WATCH_SECONDS_MAX: u64 = 4;
/// The pause before a broken watch is taken up again, in milliseconds.
const PAUSE_MILLISECONDS: u64 = 20;
/// How often of a hundred events a watcher breaks off by itself after one.
const BREAKS_PERCENT: u64 = 5;

pub(crate) struct Watcher {
    shared: Arc<Shared>,
    number: usize,
    kind: Kind,
    random: Random,
    /// Makes the lists from which watches go on.
    lister: Worker,
    /// Everything up to this revision was told.
    told: Option<u64>,
    /// Whether it breaks off by itself now and then.
    breaks: bool,
    watches: Vec<Watch>,
}

/// How a connection ended.
#[derive(PartialEq, Eq)]
enum End {
    /// The last object was told of.
    Over,
    /// It is taken up again from where it was.
    Broken,
    /// It begins again.
    Gone,
}

impl Watcher {
    pub(crate) fn new(shared: Arc<Shared>, number: usize, kind: Kind, seed: u64) -> Self {
        let lister = Worker::new(Arc::clone(&shared), number, seed);
        let random = Random::new(seed, number as u64);
        Self { shared, number, kind, random, lister, told: None, breaks: true, watches: Vec::new() }
    }

    /// From a revision on, at one coordinator, until the last object.
    pub(crate) async fn all(mut self, coordinator: usize, after: u64) -> Watch {
        self.breaks = false;
        loop {
            let path = format!("{}?watch=true&resourceVersion={after}", collection(self.kind));
            let begun = self.shared.now();
            if let Some(response) = self.shared.watch(coordinator, &path).await {
                self.watches.clear();
                if self.follow(response, coordinator, begun, Start::After(after)).await == End::Over {
                    return self.watches.remove(0);
                }
            }
            tokio::time::sleep(Duration::from_millis(PAUSE_MILLISECONDS)).await;
        }
    }

    /// Watches until the last object, and gives back what it was told, and its lists.
    pub(crate) async fn run(mut self) -> (Vec<Watch>, Vec<Operation>) {
        loop {
            let coordinator = self.random.pick(&[0, 1]);
            let end = match self.told {
                Some(after) => self.go_on(coordinator, after).await,
                None if self.random.percent(30) => self.begin_with_all(coordinator).await,
                None => {
                    self.lister.turn_to(coordinator);
                    self.told = self.lister.list(self.kind, Asked::Any, 0).await;
                    End::Broken
                }
            };
            match end {
                End::Over => return (self.watches, self.lister.into_operations()),
                End::Gone => self.told = None,
                End::Broken => {}
            }
            // Now and then it begins anew by itself.
            if self.random.percent(10) {
                self.told = None;
            }
            tokio::time::sleep(Duration::from_millis(PAUSE_MILLISECONDS)).await;
        }
    }

    fn path(&mut self, rest: &str) -> String {
        let seconds = 1 + self.random.below(WATCH_SECONDS_MAX);
        format!("{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}{rest}", collection(self.kind))
    }

    async fn go_on(&mut self, coordinator: usize, after: u64) -> End {
        let path = self.path(&format!("&resourceVersion={after}"));
        let begun = self.shared.now();
        match self.shared.watch(coordinator, &path).await {
            Some(response) => self.follow(response, coordinator, begun, Start::After(after)).await,
            None => End::Broken,
        }
    }

    /// A watch that tells first what there is.
    async fn begin_with_all(&mut self, coordinator: usize) -> End {
        let path = self.path("&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
        let begun = self.shared.now();
        let Some(response) = self.shared.watch(coordinator, &path).await else { return End::Broken };
        let mut lines = Lines::of(response);
        let mut objects = Vec::new();
        while let Some(line) = lines.next().await {
            let object = &line["object"];
            match line["type"].as_str() {
                Some("ADDED") => objects.extend(version(self.kind, object)),
                Some("BOOKMARK") => {
                    assert_eq!(object["metadata"]["annotations"]["k8s.io/initial-events-end"], "true", "{line}");
                    let (at, revision) = (self.shared.now(), revision(object));
                    let over = objects.iter().any(|object| object.name == LAST);
                    let start = Start::Initial { at, revision, objects };
                    return if over {
                        self.note(coordinator, begun, start, Vec::new(), true);
                        End::Over
                    } else {
                        self.told = Some(revision);
                        self.follow_lines(lines, coordinator, begun, start).await
                    };
                }
                _ => return End::Broken,
            }
        }
        End::Broken
    }

    async fn follow(&mut self, response: Response, coordinator: usize, begun: u64, start: Start) -> End {
        self.follow_lines(Lines::of(response), coordinator, begun, start).await
    }

    async fn follow_lines(&mut self, mut lines: Lines, coordinator: usize, begun: u64, start: Start) -> End {
        let mut told = Vec::new();
        let mut end = End::Broken;
        while let Some(line) = lines.next().await {
            let (at, object) = (self.shared.now(), &line["object"]);
            let happened = match line["type"].as_str().unwrap() {
                "ADDED" => Happened::Added,
                "MODIFIED" => Happened::Modified,
                "DELETED" => Happened::Deleted,
                "BOOKMARK" => {
                    let revision = revision(object);
                    self.told = Some(revision);
                    told.push(Told::Bookmark { at, revision });
                    continue;
                }
                "ERROR" if object["code"] == 410 => {
                    told.push(Told::Gone { at, message: object["message"].to_string() });
                    end = End::Gone;
                    break;
                }
                // It says why it ends.
                "ERROR" => break,
                other => panic!("an event of type {other}: {line}"),
            };
            self.told = Some(revision(object));
            let Some(object) = version(self.kind, object) else { continue };
            let over = object.name == LAST;
            told.push(Told::Event(Event { at, happened, object }));
            if over {
                end = End::Over;
                break;
            }
            // As if it were killed itself, between one event and the next.
            if self.breaks && self.random.percent(BREAKS_PERCENT) {
                break;
            }
        }
        self.note(coordinator, begun, start, told, end == End::Over);
        end
    }

    fn note(&mut self, coordinator: usize, begun: u64, start: Start, told: Vec<Told>, to_the_end: bool) {
        let (client, kind) = (self.number, self.kind);
        self.watches.push(Watch { client, coordinator, kind, begun, start, told, to_the_end });
    }
}

/// The lines of an answer, each a JSON object.
struct Lines {
    response: Response,
    read: Vec<u8>,
}

impl Lines {
    fn of(response: Response) -> Self {
        Self { response, read: Vec::new() }
    }

    /// The next one; none where the answer ends, breaks off or falls silent.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = tokio::time::timeout(SILENCE, self.response.chunk()).await.ok()?.ok()??;
            self.read.extend_from_slice(&chunk);
        }
    }
}
