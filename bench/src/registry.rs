//! The table of what is measured, with the budgets of the design. Only what can be measured today is in it.

use crate::failure::BenchError;
use crate::sample::Samples;
use crate::{applied, binary, herd, idle, reads, record, sim, start, watch, wire, writes};

/// A limit from the design.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// The value must not pass it.
    AtMost(f64),
    /// The value must reach it.
    AtLeast(f64),
}

impl Limit {
    pub(crate) const fn number(self) -> f64 {
        let (Self::AtMost(number) | Self::AtLeast(number)) = self;
        number
    }

    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(number) => value <= number,
            Self::AtLeast(number) => value >= number,
        }
    }
}

/// A value with its limit.
pub(crate) struct Budget {
    pub(crate) id: &'static str,
    /// What exactly is measured.
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) limit: Limit,
}

/// One measurement, which may give several values at once.
pub(crate) struct Bench {
    pub(crate) budgets: &'static [Budget],
    /// The samples of each budget, in their order.
    pub(crate) run: fn() -> Result<Vec<Samples>, BenchError>,
}

impl Bench {
    /// The ids of what it gives.
    pub(crate) fn name(&self) -> String {
        self.budgets.iter().map(|budget| budget.id).collect::<Vec<_>>().join(", ")
    }
}

const fn budget(id: &'static str, unit: &'static str, limit: Limit, what: &'static str) -> Budget {
    Budget { id, what, unit, limit }
}

/// Everything that can be measured.
pub(crate) const BENCHES: &[Bench] = &[
    Bench { budgets: &[budget("binary_mib", "MiB", Limit::AtMost(40.0), "the stripped release binary")], run: binary::size },
    Bench {
        budgets: &[
            budget("load_sqlite_100k_seconds", "s", Limit::AtMost(3.0), "100,000 objects of 1.5 KiB from SQLite into the view"),
            budget("view_100k_mib", "MiB", Limit::AtMost(512.0), "resident, with them loaded"),
        ],
        run: record::load,
    },
    Bench {
        budgets: &[budget(
            "load_postgres_100k_seconds",
            "s",
            Limit::AtMost(5.0),
            "the same objects from PostgreSQL, over a Unix socket, into the view",
        )],
        run: record::load_postgres,
    },
    Bench {
        budgets: &[
            budget(
                "wire_overhead_percent",
                "%",
                Limit::AtMost(10.0),
                "a request in a session over a raw iroh stream, p50, one at a time",
            ),
            budget("wire_overhead_cpu_percent", "%", Limit::AtMost(30.0), "the same, CPU of both sides with many at once"),
        ],
        run: wire::overhead,
    },
    Bench {
        budgets: &[budget(
            "coordinator_start_ms",
            "ms",
            Limit::AtMost(200.0),
            "from the start of the process, on an empty database with a trust root in a file, to the first 200 on /livez",
        )],
        run: start::coordinator,
    },
    Bench {
        budgets: &[budget(
            "applied_1_p99_ms",
            "ms",
            Limit::AtMost(50.0),
            "one agent on disk, one file: from just before a signed Change is posted (so its admission, signatures and commit are \
             in it) to the machine's signed acknowledgement of that sequence, Applied, on a watch over HTTP",
        )],
        run: applied::one_machine,
    },
    Bench {
        budgets: &[budget(
            "applied_1k_p99_ms",
            "ms",
            Limit::AtMost(500.0),
            "the same with 1,000 agents on tmpfs, in processes on the same cores: to the last machine's acknowledgement",
        )],
        run: herd::thousand,
    },
    Bench {
        budgets: &[
            budget(
                "coordinator_10k_rss_mib",
                "MiB",
                Limit::AtMost(1_228.0),
                "VmRSS of the coordinator of 10,000 agents that have settled",
            ),
            budget(
                "coordinator_10k_idle_core_percent",
                "%",
                Limit::AtMost(15.0),
                "CPU time of the same over 60 s in which nothing is changed, of one core",
            ),
            budget(
                "applied_10k_p99_ms",
                "ms",
                Limit::AtMost(2_000.0),
                "a change applied and acknowledged by the last of the 10,000",
            ),
            budget(
                "reattach_10k_seconds",
                "s",
                Limit::AtMost(60.0),
                "from the coordinator's SIGKILL, started again at once, to the last of the 10,000 having its session",
            ),
        ],
        run: herd::ten_thousand,
    },
    Bench {
        budgets: &[
            budget("agent_idle_rss_mib", "MiB", Limit::AtMost(16.0), "Rss of a joined agent with one profile applied, settled"),
            budget(
                "agent_idle_private_mib",
                "MiB",
                Limit::AtMost(6.0),
                "Private_Dirty of the same: what is neither shared nor on disk; whether the code counts as shared depends on who else runs it",
            ),
        ],
        run: idle::agent,
    },
    Bench {
        budgets: &[
            budget(
                "write_p99_ms",
                "ms",
                Limit::AtMost(20.0),
                "200 signed Changes of one Profile a second over plain HTTP, from the moment each is due to its answer",
            ),
            budget(
                "group_commit_per_second",
                "1/s",
                Limit::AtLeast(5_000.0),
                "signed Changes of one Profile from 64 clients over plain HTTP, each with the next one at once",
            ),
        ],
        run: writes::changes,
    },
    Bench {
        budgets: &[budget(
            "write_postgres_p99_ms",
            "ms",
            Limit::AtMost(20.0),
            "the same 200 a second with the record in PostgreSQL, over a Unix socket, its log on a disk",
        )],
        run: writes::changes_postgres,
    },
    Bench {
        budgets: &[
            budget(
                "list_page_500_p99_ms",
                "ms",
                Limit::AtMost(15.0),
                "a page of 500 of 100,000 objects of 1.5 KiB as a Table over plain HTTP, 500 requests a second, from due to read",
            ),
            budget(
                "count_labels_p99_ms",
                "ms",
                Limit::AtMost(25.0),
                "limit=1 with a label selector that selects 500 of 100,000, remainingItemCount checked, 500 requests a second",
            ),
            budget(
                "list_everything_100k_seconds",
                "s",
                Limit::AtMost(10.0),
                "all 100,000 as JSON, page after page of 500; of etcd with one request",
            ),
        ],
        run: reads::lists,
    },
    Bench {
        budgets: &[budget(
            "watch_1000_ms",
            "ms",
            Limit::AtMost(100.0),
            "from just before a signed Change is posted to the last of 1,000 watchers over plain HTTP having it; the worst of all",
        )],
        run: watch::thousand,
    },
    Bench {
        budgets: &[budget(
            "sim_speed",
            "times real time",
            Limit::AtLeast(500.0),
            "the production code over an hour of faults from a seed, 20 machines, on one core; each sample another seed",
        )],
        run: sim::speed,
    },
];

/// Whether something has this id.
pub(crate) fn is_known(id: &str) -> bool {
    BENCHES.iter().flat_map(|bench| bench.budgets).any(|budget| budget.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique() {
        let mut ids: Vec<&str> = BENCHES.iter().flat_map(|bench| bench.budgets).map(|budget| budget.id).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
