//! What strikes coordinators, PostgreSQL and the way between them; a fault counts where it hit somebody at work.

use std::time::Duration;

use stead_peers::{Passage, Shutdown};

use super::history::{Started, Struck};
use super::http::{Random, Shared};
use super::pair::Pair;
use crate::fleet::harness::until;

/// How long a coordinator is stopped in the middle of what it does: longer than PostgreSQL lets anybody think in their turn.
const PAUSE: Duration = Duration::from_millis(6_500);
/// How long the way to the database is cut, or stalls.
const CUT: Duration = Duration::from_millis(1_500);
/// The longest time that anything is away, in milliseconds.
const AWAY_MILLISECONDS_MAX: u64 = 600;
/// The longest time between two faults, in milliseconds.
const QUIET_MILLISECONDS_MAX: u64 = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// SIGKILL, and started again.
    CoordinatorKilled,
    BothCoordinatorsKilled,
    /// SIGTERM, and started again.
    CoordinatorStopped,
    /// SIGSTOP until long after it was given up on, then SIGCONT: what it was about to write comes late.
    CoordinatorPaused,
    /// PostgreSQL's processes are gone at once, and recovers from its log.
    DatabaseKilled,
    /// PostgreSQL is restarted in good order.
    DatabaseRestarted,
    /// Both at once.
    CoordinatorAndDatabaseKilled,
    /// `pg_terminate_backend` on every session of the coordinators.
    SessionsEnded,
    /// A coordinator's way to PostgreSQL ends, and nobody gets through for a while.
    WayCut,
    /// Nothing passes on a coordinator's way to PostgreSQL for a while.
    WayStalled,
    /// A COMMIT does not reach PostgreSQL.
    CommitLost,
    /// A COMMIT reaches PostgreSQL, and its answer does not come back.
    AnswerLost,
}

impl Fault {
    pub(crate) const ALL: [Self; 12] = [
        Self::CoordinatorKilled,
        Self::BothCoordinatorsKilled,
        Self::CoordinatorStopped,
        Self::CoordinatorPaused,
        Self::DatabaseKilled,
        Self::DatabaseRestarted,
        Self::CoordinatorAndDatabaseKilled,
        Self::SessionsEnded,
        Self::WayCut,
        Self::WayStalled,
        Self::CommitLost,
        Self::AnswerLost,
    ];
    /// How many a round has.
    const PER_ROUND: usize = Self::ALL.len() / 2;

    /// The faults of a round: an even seed and the next one have all of them, in an order of theirs.
    pub(crate) fn of_round(seed: u64) -> Vec<Self> {
        let (mut random, mut left, mut order) = (Random::new(seed / 2, u64::MAX), Self::ALL.to_vec(), Vec::new());
        while !left.is_empty() {
            order.push(left.swap_remove(usize::try_from(random.below(left.len() as u64)).unwrap()));
        }
        let half = if seed.is_multiple_of(2) { 0..Self::PER_ROUND } else { Self::PER_ROUND..Self::ALL.len() };
        order[half].to_vec()
    }
}

/// Strikes, and waits until both coordinators are at work again.
pub(crate) struct Striker<'a> {
    pub(crate) pair: &'a mut Pair,
    pub(crate) shared: &'a Shared,
    pub(crate) random: Random,
    pub(crate) started: Vec<Started>,
    pub(crate) struck: Vec<Struck>,
}

impl Striker<'_> {
    pub(crate) fn strike(&mut self, fault: Fault) {
        let victim = self.random.pick(&[0, 1]);
        std::thread::sleep(Duration::from_millis(self.random.below(QUIET_MILLISECONDS_MAX)));
        until("requests are under way", || (self.shared.in_flight(victim) > 0).then_some(()));
        let at = self.shared.now();
        let occurred = self.carry_out(fault, victim);
        println!("history: {:>5} ms: {fault:?} at {victim}{}", at / 1_000, if occurred { "" } else { ": nobody was hit" });
        self.struck.push(Struck { at, fault: format!("{fault:?} at {victim}"), occurred });
        for index in [0, 1] {
            let before = self.shared.acknowledged(index);
            until("writes are acknowledged again", || (self.shared.acknowledged(index) > before).then_some(()));
        }
    }

    /// Whether it hit anybody.
    fn carry_out(&mut self, fault: Fault, victim: usize) -> bool {
        let away = Duration::from_millis(self.random.below(AWAY_MILLISECONDS_MAX));
        let mut at_work = self.pair.process(victim).is_running() && self.shared.in_flight(victim) > 0;
        match fault {
            Fault::CoordinatorKilled => {
                self.pair.process(victim).kill();
                std::thread::sleep(away);
                self.start(&[victim]);
            }
            Fault::BothCoordinatorsKilled => {
                [0, 1].into_iter().for_each(|index| self.pair.process(index).kill());
                std::thread::sleep(away);
                self.start(&[0, 1]);
            }
            Fault::CoordinatorStopped => {
                assert!(self.pair.process(victim).stop().success(), "{}", self.pair.log(victim));
                self.start(&[victim]);
            }
            Fault::CoordinatorPaused => {
                self.pair.process(victim).signal("STOP");
                at_work &= self.shared.in_flight(victim) > 0;
                std::thread::sleep(PAUSE);
                self.pair.process(victim).signal("CONT");
            }
            Fault::DatabaseKilled => self.restart_database(Shutdown::Immediate, away),
            Fault::DatabaseRestarted => self.restart_database(Shutdown::Fast, away),
            Fault::CoordinatorAndDatabaseKilled => {
                self.pair.process(victim).kill();
                self.restart_database(Shutdown::Immediate, away);
                self.start(&[victim]);
            }
            Fault::SessionsEnded => at_work &= self.end_sessions() > 0,
            Fault::WayCut => self.hold_up(Passage::Cut, victim),
            Fault::WayStalled => self.hold_up(Passage::Stalls, victim),
            Fault::CommitLost => self.lose(Passage::LosesCommit, victim),
            Fault::AnswerLost => self.lose(Passage::LosesAnswer, victim),
        }
        at_work
    }

    fn start(&mut self, indices: &[usize]) {
        let begun = self.shared.now();
        indices.iter().for_each(|index| self.pair.spawn(*index));
        for index in indices {
            self.pair.await_ready(*index);
            self.started.push(Started { coordinator: *index, begun, ended: self.shared.now() });
        }
    }

    fn restart_database(&mut self, shutdown: Shutdown, away: Duration) {
        self.pair.postgres.stop(shutdown);
        std::thread::sleep(away);
        self.pair.postgres.start_again();
    }

    /// How many there were.
    fn end_sessions(&self) -> u64 {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'stead'";
        let output = self.pair.postgres.psql().args(["--command", sql]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    fn hold_up(&self, passage: Passage, victim: usize) {
        self.pair.places[victim].way.set(passage);
        std::thread::sleep(CUT);
        self.pair.places[victim].way.set(Passage::Sound);
    }

    /// It has happened when everything passes again.
    fn lose(&self, passage: Passage, victim: usize) {
        let way = &self.pair.places[victim].way;
        way.set(passage);
        until("a commit is lost", || (way.passage() == Passage::Sound).then_some(()));
    }
}
