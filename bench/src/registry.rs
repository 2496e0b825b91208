//! The table of what is measured, with the budgets of the design. Only what can be measured today is in it.

use crate::failure::BenchError;
use crate::sample::Samples;
use crate::{binary, record, wire};

/// A limit from the design.
pub(crate) struct Budget {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// The value that must not be passed.
    pub(crate) at_most: f64,
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

/// Everything that can be measured.
pub(crate) const BENCHES: &[Bench] = &[
    Bench {
        budgets: &[Budget { id: "binary_mib", what: "the stripped release binary", unit: "MiB", at_most: 40.0 }],
        run: binary::size,
    },
    Bench {
        budgets: &[
            Budget {
                id: "load_sqlite_100k_seconds",
                what: "100,000 objects of 1.5 KiB from SQLite into the view",
                unit: "s",
                at_most: 3.0,
            },
            Budget { id: "view_100k_mib", what: "resident, with them loaded", unit: "MiB", at_most: 512.0 },
        ],
        run: record::load,
    },
    Bench {
        budgets: &[
            Budget {
                id: "wire_overhead_percent",
                what: "a request in a session over a raw iroh stream, p50, one at a time",
                unit: "%",
                at_most: 10.0,
            },
            Budget {
                id: "wire_overhead_cpu_percent",
                what: "the same, CPU of both sides with many at once",
                unit: "%",
                at_most: 30.0,
            },
        ],
        run: wire::overhead,
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
