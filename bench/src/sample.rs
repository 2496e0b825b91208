//! What a measurement gives: samples, how many came before them, and a peer where there is one.

/// Samples of one value.
#[derive(Debug)]
pub(crate) struct Samples {
    /// In the unit of the budget.
    pub(crate) values: Vec<f64>,
    /// Rounds that came before and were thrown away.
    pub(crate) warmup: usize,
    /// Which of the samples, in order, is the value; the median where nothing else is said.
    pub(crate) percentile: usize,
    /// The same thing done by another program, in the same run.
    pub(crate) peer: Option<Peer>,
}

/// The same thing done by another program.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
}

/// The percentile of a value that is one in the middle.
const MEDIAN: usize = 50;

impl Default for Samples {
    fn default() -> Self {
        Self { values: Vec::new(), warmup: 0, percentile: MEDIAN, peer: None }
    }
}

impl Samples {
    /// The value that is reported.
    pub(crate) fn value(&self) -> f64 {
        self.rank(self.percentile)
    }

    /// The median beside it, where the value is another one.
    pub(crate) fn p50(&self) -> Option<f64> {
        (self.percentile != MEDIAN).then(|| self.rank(MEDIAN))
    }

    /// By nearest rank.
    fn rank(&self, percentile: usize) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percentile).div_ceil(100).max(1) - 1;
        sorted.get(rank).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_by_nearest_rank() {
        let samples = |percentile| Samples { values: vec![4.0, 1.0, 3.0, 2.0], percentile, ..Samples::default() };
        assert_eq!([50, 99, 100].map(|percentile| samples(percentile).value()), [2.0, 4.0, 4.0]);
        assert!(Samples::default().value().is_nan());
    }
}
