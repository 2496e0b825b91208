//! Which ways a connection has and had, and when the one that is used has died. Pure: what is seen goes in, with its time.

use std::time::Duration;

use futures::{future::BoxFuture, stream::BoxStream};
use jiff::Timestamp;
use stead_model::{MachinePath, PathKind, PathResult, PathTried};

/// Ways that are remembered of one connection: all that iroh keeps at once, and as many that went.
pub const PATHS_REMEMBERED_MAX: usize = 16;

/// Datagrams that nothing answers: a packet and the two probes that follow it. After fewer the last may have been a mere
/// acknowledgement, which nobody answers.
const UNANSWERED_DATAGRAMS: u64 = 3;

/// How long a way may leave datagrams unanswered before the others are asked too, in milliseconds.
pub const SUSPECT_MILLISECONDS: u64 = 750;

/// How long a way has to answer when all are asked, in milliseconds, or three times its round trip. Whichever answers meanwhile is
/// alive. Both waits, twice the pause between two looks, and the new dial together stay below 3 seconds.
pub const ANSWER_MILLISECONDS: u64 = 750;

/// One way of a connection at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSeen {
    /// Tells the ways of one connection apart; none has the number of an earlier one.
    pub number: u32,
    /// How packets go.
    pub kind: PathKind,
    /// The other side's address, or the relay's URL.
    pub remote: String,
    /// This side's address, where it is known.
    pub local: Option<String>,
    /// Whether it is the one that is used.
    pub in_use: bool,
    /// How long a packet takes there and back.
    pub round_trip: Duration,
    /// Datagrams sent by it.
    pub sent: u64,
    /// Datagrams received by it.
    pub received: u64,
}

/// The ways of one connection.
pub trait Paths: Send + Sync + 'static {
    /// Those that it has now; none once it is gone.
    fn seen(&self) -> Vec<PathSeen>;

    /// Says each time that they are others, or that another one is used.
    fn changes(&self) -> BoxStream<'static, ()>;

    /// Ends when the way that is used answers nothing any more while another one does, and says which it was.
    fn dead(&self) -> BoxFuture<'static, String>;
}

/// The ways of a connection that knows of none.
#[derive(Debug, Clone, Copy)]
pub struct NoPaths;

impl Paths for NoPaths {
    fn seen(&self) -> Vec<PathSeen> {
        Vec::new()
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        Box::pin(futures::stream::pending())
    }

    fn dead(&self) -> BoxFuture<'static, String> {
        Box::pin(std::future::pending())
    }
}

/// What is remembered of the ways of a connection, or of several that followed each other.
#[derive(Debug, Clone, Default)]
pub struct PathLog {
    used: Option<(PathKind, String, Timestamp)>,
    tried: Vec<PathTried>,
}

impl PathLog {
    /// These addresses are tried. What is known of one already stays.
    pub fn dialled(&mut self, addresses: impl IntoIterator<Item = (PathKind, String)>, now: Timestamp) {
        for (kind, remote) in addresses {
            if !self.tried.iter().any(|tried| tried.remote == remote) {
                self.remember(PathTried { kind, remote, result: PathResult::NoAnswer, time: now });
            }
        }
    }

    /// The ways as they are now. Says whether another one is used than before.
    pub fn see(&mut self, seen: &[PathSeen], now: Timestamp) -> bool {
        for path in seen {
            let result = if path.in_use { PathResult::InUse } else { PathResult::Ready };
            self.note(path.kind, &path.remote, result, now);
        }
        for tried in &mut self.tried {
            let open = seen.iter().any(|path| path.remote == tried.remote);
            if !open && matches!(tried.result, PathResult::InUse | PathResult::Ready) {
                (tried.result, tried.time) = (PathResult::Closed, now);
            }
        }
        let Some(path) = seen.iter().find(|path| path.in_use) else { return false };
        if self.used.as_ref().is_some_and(|(kind, remote, _)| *kind == path.kind && *remote == path.remote) {
            return false;
        }
        self.used = Some((path.kind, path.remote.clone(), now));
        true
    }

    /// How packets went last.
    pub fn kind(&self) -> Option<PathKind> {
        self.used.as_ref().map(|(kind, _, _)| *kind)
    }

    /// What can be told of it, with the ways as they are now; none where there was never one.
    pub fn told(&self, seen: &[PathSeen]) -> Option<MachinePath> {
        let (kind, remote, since) = self.used.clone()?;
        let live = seen.iter().find(|path| path.in_use && path.remote == remote);
        let round_trip = live.map_or(Duration::ZERO, |path| path.round_trip);
        Some(MachinePath {
            kind,
            remote,
            local: live.and_then(|path| path.local.clone()),
            round_trip_microseconds: u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX),
            since,
            tried: self.tried.clone(),
        })
    }

    fn note(&mut self, kind: PathKind, remote: &str, result: PathResult, now: Timestamp) {
        match self.tried.iter_mut().find(|tried| tried.remote == remote) {
            Some(tried) if tried.result == result => {}
            Some(tried) => (tried.result, tried.time) = (result, now),
            None => self.remember(PathTried { kind, remote: remote.to_owned(), result, time: now }),
        }
    }

    /// Where there are too many, the oldest goes of which nothing came, or which went.
    fn remember(&mut self, tried: PathTried) {
        if self.tried.len() >= PATHS_REMEMBERED_MAX {
            let idle = |tried: &PathTried| matches!(tried.result, PathResult::NoAnswer | PathResult::Closed);
            let oldest = self.tried.iter().position(idle).unwrap_or(0);
            self.tried.remove(oldest);
        }
        self.tried.push(tried);
    }
}

/// What a look at the ways of a connection finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The one that is used answers.
    Answers,
    /// It has not answered for a little while.
    Waits,
    /// Time to ask all ways at once whether they live.
    Ask,
    /// It is dead, and another one is not.
    Dead,
}

/// Finds out that the way in use is dead, by what goes out and what comes in.
///
/// Silence alone proves nothing: the other side may be busy, or everything may be down. Only where another way of the same connection
/// answers is it the way that is at fault, and only then is it of use to leave it.
#[derive(Debug, Default)]
pub(crate) struct DeadPathWatch {
    number: Option<u32>,
    received: u64,
    sent: u64,
    unanswered_since: Option<u64>,
    asked: Option<Asked>,
}

/// When all ways were asked, and what each had received by then.
#[derive(Debug)]
struct Asked {
    at: u64,
    received: Vec<(u32, u64)>,
}

impl DeadPathWatch {
    /// Looks, at this many milliseconds of a clock that never goes back.
    pub(crate) fn look(&mut self, seen: &[PathSeen], at: u64) -> Finding {
        let Some(used) = seen.iter().find(|path| path.in_use) else {
            *self = Self::default();
            return Finding::Answers;
        };
        if self.number != Some(used.number) || self.received != used.received {
            *self = Self { number: Some(used.number), received: used.received, sent: used.sent, ..Self::default() };
            return Finding::Answers;
        }
        if used.sent < self.sent.saturating_add(UNANSWERED_DATAGRAMS) {
            return Finding::Answers;
        }
        let since = *self.unanswered_since.get_or_insert(at);
        let Some(asked) = &self.asked else {
            if at.saturating_sub(since) < SUSPECT_MILLISECONDS {
                return Finding::Waits;
            }
            let received = seen.iter().map(|path| (path.number, path.received)).collect();
            self.asked = Some(Asked { at, received });
            return Finding::Ask;
        };
        let round_trips = u64::try_from(used.round_trip.as_millis()).unwrap_or(u64::MAX).saturating_mul(3);
        let waited = at.saturating_sub(asked.at) >= ANSWER_MILLISECONDS.max(round_trips);
        if waited && seen.iter().any(|path| !path.in_use && asked.answered(path)) { Finding::Dead } else { Finding::Waits }
    }
}

impl Asked {
    fn answered(&self, path: &PathSeen) -> bool {
        let before = self.received.iter().find(|(number, _)| *number == path.number).map_or(0, |(_, received)| *received);
        path.received > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn path(number: u32, kind: PathKind, remote: &str, in_use: bool) -> PathSeen {
        let round_trip = Duration::from_millis(5);
        PathSeen { number, kind, remote: remote.to_owned(), local: None, in_use, round_trip, sent: 0, received: 0 }
    }

    fn direct(in_use: bool) -> PathSeen {
        path(1, PathKind::Direct, "192.0.2.1:6444", in_use)
    }

    fn relayed(in_use: bool) -> PathSeen {
        path(0, PathKind::Relayed, "http://192.0.2.2:6445/", in_use)
    }

    #[test]
    fn the_log_tells_what_was_tried_and_what_came_of_it() {
        let mut log = PathLog::default();
        assert_eq!(log.told(&[]), None);
        let dialled = [direct(false), relayed(false), path(0, PathKind::Direct, "10.0.0.1:1", false)];
        log.dialled(dialled.map(|path| (path.kind, path.remote)), at(1));
        assert!(log.see(&[relayed(true)], at(2)), "the first way is another one than none");
        assert!(log.see(&[relayed(false), direct(true)], at(3)));
        assert!(!log.see(&[relayed(false), direct(true)], at(4)), "nothing changed");
        assert!(log.see(&[relayed(true)], at(5)));
        assert!(!log.see(&[], at(6)), "a connection that is gone uses no other way");
        let told = log.told(&[]).unwrap();
        assert_eq!((told.kind, told.remote.as_str(), told.since), (PathKind::Relayed, "http://192.0.2.2:6445/", at(5)));
        let tried: Vec<_> = told.tried.iter().map(|tried| (tried.remote.as_str(), tried.result, tried.time)).collect();
        let expected = [
            ("192.0.2.1:6444", PathResult::Closed, at(5)),
            ("http://192.0.2.2:6445/", PathResult::Closed, at(6)),
            ("10.0.0.1:1", PathResult::NoAnswer, at(1)),
        ];
        assert_eq!(tried, expected);
    }

    #[test]
    fn the_log_is_bounded_and_keeps_what_is_used() {
        let mut log = PathLog::default();
        log.see(&[relayed(true)], at(1));
        let many = (0..100u32).map(|number| (PathKind::Direct, format!("10.0.0.1:{number}")));
        log.dialled(many, at(2));
        let tried = log.told(&[]).unwrap().tried;
        assert_eq!(tried.len(), PATHS_REMEMBERED_MAX);
        assert!(tried.iter().any(|tried| tried.result == PathResult::InUse));
    }

    /// Looks every quarter of a second, from `begin` on, at ways that each send and receive so much between two looks, and gives what
    /// was found.
    fn looks(watch: &mut DeadPathWatch, paths: &mut [PathSeen], steps: &[(u64, u64)], begin: u64, looks: u64) -> Vec<Finding> {
        let look = |index: u64| {
            for (path, (sent, received)) in paths.iter_mut().zip(steps) {
                path.sent += sent;
                path.received += received;
            }
            watch.look(paths, begin + index * 250)
        };
        (0..looks).map(look).collect()
    }

    #[test]
    fn a_dead_way_is_found_within_its_limits_where_another_one_lives() {
        let (mut watch, mut paths) = (DeadPathWatch::default(), [direct(true), relayed(false)]);
        assert!(looks(&mut watch, &mut paths, &[(1, 1), (0, 0)], 0, 20).iter().all(|found| *found == Finding::Answers));
        let found = looks(&mut watch, &mut paths, &[(3, 0), (1, 1)], 5_000, 8);
        use Finding::{Ask, Dead, Waits};
        assert_eq!(found, [Waits, Waits, Waits, Ask, Waits, Waits, Dead, Dead]);
    }

    #[test]
    fn silence_of_everything_and_a_slow_answer_are_no_dead_way() {
        let never_dead = |found: Vec<Finding>| assert!(!found.contains(&Finding::Dead), "{found:?}");
        // Nothing answers: the coordinator is busy, or the cable is out.
        let (mut watch, mut paths) = (DeadPathWatch::default(), [direct(true), relayed(false)]);
        never_dead(looks(&mut watch, &mut paths, &[(3, 0), (3, 0)], 0, 100));
        // There is no other way.
        let (mut watch, mut paths) = (DeadPathWatch::default(), [direct(true)]);
        never_dead(looks(&mut watch, &mut paths, &[(3, 0)], 0, 100));
        // Nobody answers an acknowledgement, and an idle way sends nothing.
        let (mut watch, mut paths) = (DeadPathWatch::default(), [direct(true), relayed(false)]);
        never_dead(looks(&mut watch, &mut paths, &[(1, 1), (1, 1)], 0, 2));
        never_dead(looks(&mut watch, &mut paths, &[(1, 0), (1, 1)], 500, 1));
        never_dead(looks(&mut watch, &mut paths, &[(0, 0), (1, 1)], 750, 100));
        // A long way has three round trips to answer.
        let (mut watch, mut paths) = (DeadPathWatch::default(), [direct(true), relayed(false)]);
        paths[0].round_trip = Duration::from_secs(2);
        never_dead(looks(&mut watch, &mut paths, &[(3, 0), (1, 1)], 0, 20));
    }

    #[test]
    fn a_way_that_answers_late_is_forgiven() {
        let (mut watch, mut paths) = (DeadPathWatch::default(), [direct(true), relayed(false)]);
        looks(&mut watch, &mut paths, &[(1, 1), (0, 0)], 0, 1);
        let found = looks(&mut watch, &mut paths, &[(3, 0), (1, 1)], 250, 5);
        assert!(found.contains(&Finding::Ask), "{found:?}");
        assert_eq!(looks(&mut watch, &mut paths, &[(1, 1), (1, 1)], 1_500, 1), [Finding::Answers]);
        assert!(!looks(&mut watch, &mut paths, &[(3, 0), (1, 1)], 1_750, 3).contains(&Finding::Dead), "it begins anew");
    }
}
